//! The words of the commit tables: job settings read from a line, and answers, verdicts and state written as one.

use cell_state::admit::Answer;
use cell_state::constraint::{Constraint, Test};
use cell_state::endpoint;
use cell_state::job::{GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn, Run, Spread};
use cell_state::machine::Grant;
use cell_state::resources::{Dimension, Schema};
use cell_state::task::{StopReason, TaskState};
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{Cell, MachineId, Resources, TaskId};

use crate::script;

/// A group that asks for nothing and restarts for ever.
pub(crate) fn group(name: &str) -> GroupSpec {
    GroupSpec {
        name: name.into(),
        count: 1,
        resources: Resources::ZERO,
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart: Restart { on: RestartOn::Failure, attempts: 2, delay_us: 0 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 1_000_000,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    }
}

/// `job NAME key=value… [++ key=value…]`.
pub(crate) fn job(words: &[&str]) -> JobSpec {
    let mut spec = JobSpec {
        name: words[0].into(),
        kind: JobKind::Service,
        priority: 100,
        team: "team".into(),
        scheduler: "s1".into(),
        groups: vec![group("g0")],
    };
    for word in &words[1..] {
        if *word == "++" {
            spec.groups.push(group(&format!("g{}", spec.groups.len())));
            continue;
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "priority" => spec.priority = value.parse().expect("a priority"),
            "team" => spec.team = value.into(),
            "scheduler" => spec.scheduler = value.into(),
            "batch" => spec.kind = JobKind::Batch,
            _ => set_group(spec.groups.last_mut().expect("one at least"), key, value),
        }
    }
    spec
}

fn set_group(group: &mut GroupSpec, key: &str, value: &str) {
    let pair = || value.split_once(':').expect("key:value");
    let mut condition = |attribute: &str, test| {
        group.constraints.push(Constraint { attribute: attribute.into(), test });
    };
    match key {
        "count" => group.count = value.parse().expect("a count"),
        "distinct" => group.distinct_machines = true,
        "port" => {
            let (name, number) = value.split_once(':').map_or((value, None), |(n, p)| (n, Some(p)));
            let number = number.map(|p| p.parse().expect("a port"));
            group.ports.push(PortAsk { name: name.into(), number });
        }
        "attempts" => group.restart.attempts = value.parse().expect("a number"),
        "delay" => group.restart.delay_us = value.parse().expect("microseconds"),
        "restart" => {
            group.restart.on = match value {
                "always" => RestartOn::Always,
                "failure" => RestartOn::Failure,
                _ => RestartOn::Never,
            }
        }
        "spread" => {
            let (attribute, max) = pair();
            group.spread =
                Some(Spread { attribute: attribute.into(), max_per_value: max.parse().expect("a number") });
        }
        "is" => condition(pair().0, Test::Equal(pair().1.into())),
        "not" => condition(pair().0, Test::NotEqual(pair().1.into())),
        "in" => condition(pair().0, Test::In(pair().1.split(',').map(Into::into).collect())),
        "less" => condition(pair().0, Test::Less(pair().1.parse().expect("a number"))),
        "more" => condition(pair().0, Test::Greater(pair().1.parse().expect("a number"))),
        "has" => condition(value, Test::Exists),
        "match" => condition(pair().0, Test::Regex(pair().1.into())),
        _ => {
            let dimension =
                Schema::default().dimension(key).unwrap_or_else(|| panic!("unknown setting {key:?}"));
            group.resources = group.resources.with(dimension, value.parse().expect("an amount"));
        }
    }
}

pub(crate) fn answer(answer: Answer, unchanged: bool) -> String {
    let text = match answer {
        Answer::Done => "done".to_owned(),
        Answer::Machine(machine) => format!("machine {}", machine.0),
        Answer::Job { job, version, .. } => format!("job {job} version {version}"),
        Answer::Session { session, last_number } => format!("session {} after {last_number}", session.0),
        Answer::Reported { upto } => format!("reported up to {upto}"),
    };
    if unchanged { format!("{text}, unchanged") } else { text }
}

/// Where the tasks that a name means can be reached.
pub(crate) fn resolve(cell: &Cell, name: &str) -> String {
    let Some(meant) = endpoint::meaning(cell, name) else { return "unknown".to_owned() };
    let found = endpoint::endpoints(cell, &meant);
    let words = found.iter().map(|at| {
        let address = at.address.as_deref().unwrap_or("?");
        let port = at.port.as_ref().map(|(name, number)| format!(":{number}({name})")).unwrap_or_default();
        format!("{}-{}@{address}{port}", at.group, at.task.index)
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "nobody".to_owned() } else { words.join(" ") }
}

fn machine_name(cell: &Cell, machine: MachineId) -> String {
    cell.machine(machine).map_or_else(|| format!("#{}", machine.0), |m| m.spec.name.clone())
}

fn task_name(cell: &Cell, task: TaskId) -> String {
    let job = cell.job(task.job).map_or_else(|| task.job.to_string(), |j| j.spec().name.clone());
    if task.group == 0 {
        format!("{job}.{}", task.index)
    } else {
        format!("{job}.{}.{}", task.group, task.index)
    }
}

fn amounts(resources: &Resources) -> String {
    let schema = Schema::default();
    let named = Dimension::all().filter(|d| resources.get(*d) > 0);
    let words: Vec<String> = named.map(|d| format!("{}={}", schema.name(d), resources.get(d))).collect();
    if words.is_empty() { "nothing".into() } else { words.join(" ") }
}

fn grant_words(grant: &Grant) -> String {
    let mut text = String::new();
    if !grant.ports.is_empty() {
        let ports: Vec<String> = grant.ports.iter().map(ToString::to_string).collect();
        text += &format!(" ports {}", ports.join(","));
    }
    if !grant.devices.is_empty() {
        let devices: Vec<String> = grant.devices.iter().map(|(d, milli)| format!("{d}:{milli}")).collect();
        text += &format!(" devices {}", devices.join(","));
    }
    text
}

pub(crate) fn outcome(cell: &Cell, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Placed(placed) => {
            let mut text = format!("placed on {} epoch {}", machine_name(cell, placed.machine), placed.epoch);
            if let Some(extra) = &placed.extra {
                text += &grant_words(&extra.grant);
                let victims: Vec<String> = extra.preempted.iter().map(|t| task_name(cell, *t)).collect();
                if !victims.is_empty() {
                    text += &format!(" after {}", victims.join(","));
                }
            }
            text
        }
        Outcome::Stopping { reason, .. } => reason_word(*reason).to_owned(),
        Outcome::Resized { resources, .. } => format!("resized to {}", amounts(resources)),
        Outcome::Conflict(found) => conflict(cell, found),
        Outcome::Aborted => "aborted".into(),
    }
}

fn reason_word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Stop => "stopping",
        StopReason::Evict => "evicting",
        StopReason::Drain => "draining",
    }
}

pub(crate) fn conflict(cell: &Cell, conflict: &Conflict) -> String {
    let mut text = format!("conflict: {}", conflict.kind);
    if let Some(machine) = conflict.machine {
        text += &format!(", on {}", machine_name(cell, machine));
    }
    if let Some(winner) = &conflict.winner {
        text += &format!(", won by {} in {}", winner.scheduler, winner.txn);
    }
    text += &format!(", {} behind", conflict.stale_entries);
    if conflict.spurious {
        text += ", spurious";
    }
    if conflict.divergence {
        text += ", divergence";
    }
    text
}

/// A machine or a task as it is now.
pub(crate) fn show(cell: &Cell, name: &str) -> String {
    if let Some(machine) = cell.machine_named(name) {
        let mut tasks: Vec<TaskId> = machine.load.tasks.clone();
        tasks.sort();
        let tasks: Vec<String> = tasks.into_iter().map(|t| task_name(cell, t)).collect();
        let holds = if tasks.is_empty() { "no task".into() } else { tasks.join(",") };
        return format!("{}, used {}, {holds}", machine.state, amounts(&machine.load.used));
    }
    if let Some(job) = cell.job_named(name) {
        return format!("version {}, {:?}", job.current().version, job.desired).to_lowercase();
    }
    let id = script::task(cell, name);
    let Some(task) = cell.task(id) else { return "gone".into() };
    let state = match task.state {
        TaskState::Stopping(reason) => reason_word(reason),
        other => other.word(),
    };
    let place = task.machine.filter(|_| task.state.is_live());
    let place = place.map_or(String::new(), |m| format!(" on {}", machine_name(cell, m)));
    format!("{state}{place}, epoch {}, restarts {}", task.epoch, task.restarts)
}
