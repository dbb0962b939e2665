//! What people are told: why tasks are pending, and what a submission would lead to.

use cell_state::constraint::{Constraint, Test};
use cell_state::job::{Band, JobSpec, PortAsk, Spread};
use cell_state::machine::MachineState;
use cell_state::task::Exit;
use cell_state::{Dimension, JobId, Resources, Seq};
use schedulers::built_in;
use schedulers::explain::{JobState, explain};
use schedulers::preview::preview;
use schedulers::sandbox::{Sandbox, machine_spec, simulated_job};

fn cpu(milli: u64) -> Resources {
    Resources::cpu_memory(milli, milli)
}

/// Three racks of two machines with 1000 each; `m5` has only 400, `m4` is draining.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new(1);
    for i in 0..6 {
        let size = if i == 5 { 400 } else { 1_000 };
        sandbox.machine_in(&format!("m{i}"), cpu(size), ("rack", &format!("r{}", i / 2)));
    }
    let draining = sandbox.cell().machine_named("m4").expect("just made").id;
    sandbox.set_state(draining, MachineState::Draining);
    sandbox
}

/// The explanation of a job's first group, without the first line.
fn why(sandbox: &mut Sandbox, spec: JobSpec) -> String {
    sandbox.session("s");
    let job = sandbox.job(spec);
    let why = explain(sandbox.cell(), job, sandbox.now(), None).expect("just submitted");
    assert_eq!(why.state, JobState::Pending);
    let text = why.to_string();
    text.split_once('\n').expect("more than one line").1.to_owned()
}

#[test]
fn each_reason_in_words() {
    type Change = fn(&mut JobSpec);
    let rack = |test: Test| vec![Constraint { attribute: "rack".into(), test }];
    let table: [(&str, Change, &str); 6] = [
        (
            "too large",
            |spec| spec.groups[0].resources = cpu(1_500),
            "group main: 2 pending
  cpu short on 5 machines, closest m0: wanted 1500, free 1000
  draining on 1 machine (m4)",
        ),
        (
            "nearly fits",
            |spec| spec.groups[0].resources = cpu(1_000),
            "group main: 2 pending
  fits on 4 machines now (m0, m1, m2, …)
  draining on 1 machine (m4)
  cpu short on 1 machine, closest m5: wanted 1000, free 400",
        ),
        (
            "no gpu",
            |spec| spec.groups[0].resources = cpu(1).with(Dimension::GPU, 500),
            "group main: 2 pending
  gpu short on 5 machines, closest m0: wanted 500, free 0
  draining on 1 machine (m4)",
        ),
        (
            "ports to spare",
            |spec| {
                spec.groups[0].ports = vec![PortAsk { name: "http".into(), number: None }; 3];
                for (i, port) in spec.groups[0].ports.iter_mut().enumerate() {
                    port.name = format!("p{i}");
                }
            },
            "group main: 2 pending
  fits on 5 machines now (m0, m1, m2, …)
  draining on 1 machine (m4)",
        ),
        (
            "no such rack",
            |spec| spec.groups[0].resources = cpu(1),
            "group main: 2 pending
  constraint rack = r9 does not hold on 5 machines (m0, m1, m2, …)
  draining on 1 machine (m4)",
        ),
        (
            "limit without the attribute",
            |spec| {
                spec.groups[0].spread = Some(Spread { attribute: "zone".into(), max_per_value: 1 });
            },
            "group main: 2 pending
  attribute zone missing on 5 machines (m0, m1, m2, …)
  draining on 1 machine (m4)",
        ),
    ];
    for (name, change, expected) in table {
        let mut sandbox = sandbox();
        let mut spec = simulated_job("j", "s", 2, cpu(100));
        change(&mut spec);
        if name == "no such rack" {
            spec.groups[0].constraints = rack(Test::Equal("r9".into()));
        }
        assert_eq!(why(&mut sandbox, spec), expected, "{name}");
    }
}

#[test]
fn tasks_of_the_same_job_and_full_domains_are_named() {
    let mut sandbox = sandbox();
    sandbox.session("s");
    let mut spec = simulated_job("j", "s", 9, cpu(100));
    spec.groups[0].distinct_machines = true;
    spec.groups[0].spread = Some(Spread { attribute: "rack".into(), max_per_value: 1 });
    let job = sandbox.job(spec);
    sandbox.place(built_in("service").unwrap().as_mut(), job);
    let why = explain(sandbox.cell(), job, sandbox.now(), None).unwrap();
    let text = why.to_string();
    assert!(text.contains("group main: 6 pending"), "{text}");
    assert!(
        text.contains("another task of the job is there, which wants distinct machines, on 3 machines"),
        "{text}"
    );
    assert!(text.contains("rack r0 at its limit of 1 for the job on 1 machine"), "{text}");
}

#[test]
fn one_machine_can_be_asked_about() {
    let mut sandbox = sandbox();
    sandbox.session("s");
    let job = sandbox.job(simulated_job("j", "s", 2, cpu(500)));
    let machine = |name: &str| sandbox.cell().machine_named(name).unwrap().id;
    let on = |name: &str| {
        explain(sandbox.cell(), job, sandbox.now(), Some(machine(name))).unwrap().groups.remove(0)
    };
    assert_eq!((on("m0").machines, on("m0").fits), (1, 1));
    assert_eq!(on("m5").reasons[0].to_string(), "cpu short on 1 machine, closest m5: wanted 500, free 400");
    assert_eq!(on("m4").reasons[0].to_string(), "draining on 1 machine (m4)");
}

#[test]
fn the_job_as_a_whole_is_explained_first() {
    let mut sandbox = sandbox();
    let job = sandbox.job(simulated_job("j", "s", 2, cpu(500)));
    let state =
        |sandbox: &Sandbox, job: JobId| explain(sandbox.cell(), job, sandbox.now(), None).unwrap().state;
    assert_eq!(state(&sandbox, job), JobState::NoScheduler);
    sandbox.session("s");
    assert_eq!(state(&sandbox, job), JobState::Pending);
    sandbox.place(built_in("batch").unwrap().as_mut(), job);
    assert_eq!(state(&sandbox, job), JobState::NothingPending);
    sandbox.command(cell_state::admit::Command::StopJob { name: "j".into() });
    assert_eq!(state(&sandbox, job), JobState::Stopped);
    assert_eq!(explain(sandbox.cell(), JobId(99), sandbox.now(), None), None);
}

#[test]
fn restart_delays_and_quotas_are_told() {
    let mut sandbox = sandbox();
    sandbox.session("s");
    let job = sandbox.job(simulated_job("j", "s", 2, cpu(500)));
    let placed = sandbox.place(built_in("batch").unwrap().as_mut(), job).placed;
    sandbox.start(placed[0].0);
    sandbox.end(placed[0].0, Exit::Code(1));
    sandbox.quota("team", Band::Batch, Some(Resources::cpu_memory(600, 1_000)));
    let why = explain(sandbox.cell(), job, sandbox.now(), None).unwrap();
    assert_eq!((why.groups[0].delayed, why.groups[0].due_in_us), (1, 1_000_000));
    let text = why.to_string();
    assert!(text.contains("1 waiting out a restart delay, the first for 1 s more"), "{text}");
    assert!(text.contains("quota of team team in band batch is used up: cpu wanted 500, left 100"), "{text}");
}

#[test]
fn a_preview_says_what_would_happen_and_the_plan_holds() {
    let mut sandbox = sandbox();
    let session = sandbox.session("s");
    let spec = simulated_job("j", "s", 4, cpu(700));
    let mut policy = built_in("service").unwrap();
    let mut copy = sandbox.cell().clone();
    let seen = preview(&mut copy, policy.as_mut(), spec.clone(), sandbox.now(), 1).unwrap();
    assert_eq!((seen.version, seen.changed, seen.placements.len(), seen.unplaced), (1, true, 4, 0));
    assert_eq!((seen.why, sandbox.cell().job_named("j").is_none()), (None, true), "nothing is submitted");
    // What was shown can be committed as it is.
    sandbox.job(spec);
    let mut txn = seen.transactions[0].clone();
    txn.id.session = session;
    assert!(txn.basis <= sandbox.cell().seq() && sandbox.commit(&txn).iter().all(|o| o.is_accepted()));
}

#[test]
fn a_preview_of_too_much_says_why_and_of_less_what_stops() {
    let mut sandbox = sandbox();
    sandbox.session("s");
    let mut policy = built_in("batch").unwrap();
    let mut spec = simulated_job("j", "s", 6, cpu(700));
    let too_much =
        preview(&mut sandbox.cell().clone(), policy.as_mut(), spec.clone(), sandbox.now(), 1).unwrap();
    assert_eq!((too_much.placements.len(), too_much.unplaced), (4, 2));
    // The four placements are there already when it is said what the other two lack.
    let why = too_much.why.unwrap().to_string();
    assert!(why.contains("cpu short on 5 machines, closest m5: wanted 700, free 400"), "{why}");

    let job = sandbox.job(spec.clone());
    sandbox.place(policy.as_mut(), job);
    let same = preview(&mut sandbox.cell().clone(), policy.as_mut(), spec.clone(), sandbox.now(), 1).unwrap();
    assert!(!same.changed && same.placements.is_empty());
    spec.groups[0].count = 1;
    let less = preview(&mut sandbox.cell().clone(), policy.as_mut(), spec.clone(), sandbox.now(), 1).unwrap();
    assert_eq!((less.changed, less.version, less.stopping.len()), (true, 2, 3));
    spec.groups.clear();
    let wrong = preview(&mut sandbox.cell().clone(), policy.as_mut(), spec, sandbox.now(), 1);
    assert!(wrong.unwrap_err().field.starts_with("groups"));
}

#[test]
fn dimensions_go_by_the_names_the_cell_gives_them() {
    let mut sandbox = Sandbox::new(1);
    let schema = cell_state::resources::Schema { custom: vec!["fpga".into()] };
    let config = cell_state::event::CellConfig { schema, ..sandbox.cell().config().clone() };
    sandbox.command(cell_state::admit::Command::Configure(config));
    sandbox.machine_of(machine_spec("m0", cpu(100)));
    let text = why(&mut sandbox, simulated_job("j", "s", 1, Resources::ZERO.with(Dimension(5), 2)));
    assert_eq!(text, "group main: 1 pending\n  fpga short on 1 machine, closest m0: wanted 2, free 0");
    assert!(sandbox.cell().seq() > Seq(0));
}
