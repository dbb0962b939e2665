//! On an up-to-date copy a plan is feasible exactly when the server accepts it: random cells, random jobs, both
//! policies, every op judged by the server's own code.

use std::collections::BTreeMap;

use cell_state::audit::audit;
use cell_state::constraint::{Constraint, Test};
use cell_state::job::{Band, JobSpec, PortAsk, Spread};
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::overlay::Overlay;
use cell_state::transaction::{Atomicity, Detection};
use cell_state::verdict::ConflictKind;
use cell_state::{Dimension, Resources};
use proptest::prelude::*;
use schedulers::built_in;
use schedulers::explain::explain;
use schedulers::plan::Terms;
use schedulers::sandbox::{Sandbox, simulated_job};

fn machines() -> impl Strategy<Value = Vec<(MachineSpec, MachineState)>> {
    let devices = prop_oneof![3 => Just(0usize), 1 => 1..3usize];
    let state = prop_oneof![8 => Just(MachineState::Ready), 1 => Just(MachineState::Draining), 1 => Just(MachineState::Down)];
    let machine = (1..20u64, 1..20u64, 0..4u32, devices, 0..4u16, state);
    prop::collection::vec(machine, 1..25).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, (cpu, memory, rack, devices, ports, state))| {
                let mut attributes = BTreeMap::from([("n".to_owned(), i.to_string())]);
                if rack > 0 {
                    attributes.insert("rack".to_owned(), format!("r{rack}"));
                }
                let capacity = Resources::cpu_memory(cpu * 100, memory * 100)
                    .with(Dimension::GPU, devices as u64 * 1_000);
                let devices = (0..devices).map(|d| format!("gpu{d}")).collect();
                let ports = (20_000, 20_000 + ports);
                (MachineSpec { name: format!("m{i}"), capacity, attributes, devices, ports }, state)
            })
            .collect()
    })
}

fn constraint() -> impl Strategy<Value = Constraint> {
    let test = prop_oneof![
        Just(("rack", Test::Exists)),
        (1..4u32).prop_map(|r| ("rack", Test::Equal(format!("r{r}")))),
        (1..4u32).prop_map(|r| ("rack", Test::NotEqual(format!("r{r}")))),
        (0..25i64).prop_map(|n| ("n", Test::Less(n))),
        Just(("name", Test::Regex("[02468]$".into()))),
    ];
    test.prop_map(|(attribute, test)| Constraint { attribute: attribute.into(), test })
}

fn job(i: usize) -> impl Strategy<Value = JobSpec> {
    let gpu = prop_oneof![4 => Just(0u64), 1 => Just(300u64), 1 => Just(1_000u64)];
    let ports = prop::collection::vec(prop::option::weighted(0.3, 8_000..8_003u16), 0..3);
    let spread = prop::option::weighted(0.3, 0..4u32);
    let constraints = prop::collection::vec(constraint(), 0..2);
    let shape = (1..30u32, 0..800u64, 1..800u64, gpu, any::<bool>());
    (shape, ports, spread, constraints, 0..400u16).prop_map(
        move |((count, cpu, memory, gpu, distinct), ports, spread, constraints, priority)| {
            let resources = Resources::cpu_memory(cpu, memory).with(Dimension::GPU, gpu);
            let mut spec = simulated_job(&format!("j{i}"), "s", count, resources);
            spec.priority = priority;
            let group = &mut spec.groups[0];
            group.distinct_machines = distinct;
            let mut fixed = std::collections::BTreeSet::new();
            let usable = ports.into_iter().filter(|p| p.is_none_or(|n| fixed.insert(n)));
            group.ports =
                usable.enumerate().map(|(p, number)| PortAsk { name: format!("p{p}"), number }).collect();
            group.spread = spread.map(|max| Spread { attribute: "rack".into(), max_per_value: max });
            group.constraints = constraints;
            spec
        },
    )
}

fn jobs() -> impl Strategy<Value = Vec<JobSpec>> {
    (1..6usize).prop_flat_map(|count| (0..count).map(job).collect::<Vec<_>>())
}

fn terms() -> impl Strategy<Value = Terms> {
    let atomicity = prop_oneof![Just(Atomicity::Incremental), Just(Atomicity::AllOrNothing)];
    let detection = prop_oneof![Just(Detection::Fit), Just(Detection::Version)];
    (atomicity, detection).prop_map(|(atomicity, detection)| Terms { atomicity, detection })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_policy_plans_is_accepted_and_what_it_leaves_fits_nowhere(
        machines in machines(),
        jobs in jobs(),
        seed in any::<u64>(),
        name in prop_oneof![Just("batch"), Just("service")],
        terms in terms(),
        quota in prop::option::weighted(0.3, 0..4_000u64),
    ) {
        let mut sandbox = Sandbox::new(seed);
        for (spec, state) in machines {
            let machine = sandbox.machine_of(spec);
            sandbox.set_state(machine, state);
        }
        if let Some(limit) = quota {
            sandbox.quota("team", Band::Batch, Some(Resources([limit; 8])));
        }
        let mut policy = built_in(name).unwrap();
        for spec in jobs {
            let job = sandbox.job(spec);
            let placed = sandbox.place_on_terms(policy.as_mut(), job, terms);
            prop_assert_eq!(&placed.conflicts, &[], "a feasible plan was refused");
            let violations: Vec<String> = audit(sandbox.cell()).iter().map(ToString::to_string).collect();
            prop_assert_eq!(violations, Vec::<String>::new());

            let cell = sandbox.cell();
            let found = cell.job(job).unwrap();
            let limited = found.spec().groups[0].spread.as_ref().is_some_and(|s| s.max_per_value > 0);
            let Some(task) = found.pending().next() else { continue };
            let overlay = Overlay::new();
            let open = cell.machines().iter().find(|m| overlay.fits(cell, task, m.id, &[]).is_ok());
            let honoured = name == "service" && limited;
            prop_assert!(open.is_none() || honoured, "{} was left out but fits {:?}", task, open.map(|m| &m.spec.name));

            // The explanation agrees: it finds no machine, or the quota is used up.
            let why = explain(cell, job, sandbox.now(), None).unwrap();
            let short = matches!(
                overlay.fits(cell, task, cell.machines()[0].id, &[]),
                Err(ConflictKind::Quota { .. })
            );
            if !limited || name == "service" {
                prop_assert!(why.groups[0].fits == 0 || why.groups[0].quota.is_some() || short, "{}", why);
            }
        }
    }
}
