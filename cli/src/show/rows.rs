//! The tables of every view.

use cell_state::job::Desired;
use cell_state::machine::MachineState;
use cell_state::resources::Schema;
use cell_state::verdict::Outcome;
use cell_state::{Dimension, TaskId, Time};
use transport::view::{Attempt, ConflictCount, JobRow, MachineRow, SchedulerView, TaskRow};

use super::{Cell, Column, Listing, Tone, json, text};

const JOBS: [Column; 13] = [
    Column::text("NAME"),
    Column::text("KIND"),
    Column::number("PRIO"),
    Column::text("TEAM").wide(),
    Column::text("SCHEDULER").wide(),
    Column::number("VERSION").wide(),
    Column::text("DESIRED"),
    Column::text("STATUS"),
    Column::number("WANTED"),
    Column::number("PENDING"),
    Column::number("RUNNING"),
    Column::number("ENDED").wide(),
    Column::text("SUBMITTED"),
];

/// A list of jobs.
pub(crate) fn jobs(rows: &[JobRow], now: Time) -> Listing {
    let mut listing = Listing::new(&JOBS);
    for row in rows {
        let (status, tone) = text::status(row.desired, &row.counts);
        let ended = row.counts.completed + row.counts.failed + row.counts.stopped;
        let wanted = if row.desired == Desired::Stop { 0 } else { row.wanted };
        let cells = vec![
            (&row.name).into(),
            text::kind(row.kind).into(),
            row.priority.into(),
            (&row.team).into(),
            (&row.scheduler).into(),
            row.version.into(),
            text::desired(row.desired).into(),
            Cell::toned(status, tone),
            wanted.into(),
            row.counts.pending.into(),
            row.counts.running.into(),
            ended.into(),
            text::ago(row.submitted, now).into(),
        ];
        listing.push(&row.name, cells, json::job(row));
    }
    listing
}

const TASKS: [Column; 12] = [
    Column::text("TASK"),
    Column::text("JOB").wide(),
    Column::text("ID").wide(),
    Column::text("DESIRED"),
    Column::text("STATUS"),
    Column::text("MACHINE"),
    Column::text("EXIT"),
    Column::number("RESTARTS"),
    Column::number("EPOCH").wide(),
    Column::text("PLACED BY").wide(),
    Column::text("PORTS").wide(),
    Column::text("CHANGED"),
];

/// A list of tasks of one job: whether it is meant to run, how many of each group, and the groups' names.
pub(crate) fn tasks(rows: &[TaskRow], desired: Desired, groups: &[(&str, u32)], now: Time) -> Listing {
    let mut listing = Listing::new(&TASKS);
    let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
    for row in rows {
        let beyond = groups.get(usize::from(row.id.group)).is_some_and(|(_, count)| row.id.index >= *count);
        let meant = if desired == Desired::Stop || beyond { "stop" } else { "run" };
        task(&mut listing, row, text::task(row.id, &names), meant, json::task(row, &names), now);
    }
    listing
}

/// A list of tasks of several jobs: those of one machine.
pub(crate) fn tasks_of_machine(rows: &[TaskRow], now: Time) -> Listing {
    let mut listing = Listing::new(&TASKS);
    for row in rows {
        let meant = match row.task.state {
            cell_state::task::TaskState::Stopping(_) => "stop",
            cell_state::task::TaskState::Pending
            | cell_state::task::TaskState::Placed
            | cell_state::task::TaskState::Running
            | cell_state::task::TaskState::Completed
            | cell_state::task::TaskState::Failed
            | cell_state::task::TaskState::Stopped => "run",
        };
        let name = format!("{} {}", row.job, text::task(row.id, &[] as &[&str]));
        task(&mut listing, row, name, meant, json::task(row, &[]), now);
    }
    listing
}

fn task(listing: &mut Listing, row: &TaskRow, name: String, meant: &str, json: serde_json::Value, now: Time) {
    let state = row.task.state;
    let cells = vec![
        (&name).into(),
        (&row.job).into(),
        row.id.into(),
        meant.into(),
        Cell::toned(state.word(), text::tone(state)),
        row.machine.as_deref().unwrap_or("-").into(),
        row.task.exit.map_or_else(|| "-".to_owned(), text::exit).into(),
        row.task.restarts.into(),
        row.task.epoch.into(),
        row.task.placed_by.map_or_else(|| "-".to_owned(), |t| t.to_string()).into(),
        row.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into(),
        text::ago(row.task.changed, now).into(),
    ];
    listing.push(name, cells, json);
}

const MACHINES: [Column; 10] = [
    Column::text("NAME"),
    Column::number("ID").wide(),
    Column::text("STATUS"),
    Column::number("TASKS"),
    Column::text("CPU"),
    Column::text("MEMORY"),
    Column::text("DISK").wide(),
    Column::text("GPU").wide(),
    Column::number("VERSION").wide(),
    Column::text("HEARD"),
];

/// A list of machines.
pub(crate) fn machines(rows: &[MachineRow], schema: &Schema) -> Listing {
    let mut listing = Listing::new(&MACHINES);
    for row in rows {
        let tone = match row.state {
            MachineState::Ready => Tone::Good,
            MachineState::Draining => Tone::Notable,
            MachineState::Down => Tone::Bad,
        };
        let share = |d| text::share(d, &row.used, &row.limit);
        let heard = row.silent_us.map_or_else(|| "-".to_owned(), |us| format!("{} ago", text::span(us)));
        let cells = vec![
            (&row.name).into(),
            row.id.0.into(),
            Cell::toned(row.state.to_string(), tone),
            row.tasks.into(),
            share(Dimension::CPU).into(),
            share(Dimension::MEMORY).into(),
            share(Dimension::DISK).into(),
            share(Dimension::GPU).into(),
            row.version.into(),
            heard.into(),
        ];
        listing.push(&row.name, cells, json::machine(row, schema));
    }
    listing
}

const SCHEDULERS: [Column; 13] = [
    Column::text("NAME"),
    Column::number("SESSION"),
    Column::text("STATUS"),
    Column::text("POLICY"),
    Column::number("LAG"),
    Column::number("QUEUED"),
    Column::number("TXNS"),
    Column::number("PLACED"),
    Column::number("LOST"),
    Column::number("CONFLICTS"),
    Column::number("BUSY"),
    Column::text("MEMORY").wide(),
    Column::number("MISMATCHES").wide(),
];

/// A list of schedulers.
pub(crate) fn schedulers(views: &[SchedulerView]) -> Listing {
    let mut listing = Listing::new(&SCHEDULERS);
    let dash = || "-".to_owned();
    for view in views {
        let told = view.telemetry.as_ref();
        let live =
            if view.live { Cell::toned("live", Tone::Good) } else { Cell::toned("ended", Tone::Plain) };
        let mismatches = told.map_or(0, |t| t.hash_mismatches);
        let cells = vec![
            (&view.name).into(),
            view.session.0.into(),
            live,
            told.map_or_else(dash, |t| t.policy.clone()).into(),
            view.lag_entries.map_or_else(dash, |n| n.to_string()).into(),
            told.map_or_else(dash, |t| t.queued.to_string()).into(),
            view.transactions.into(),
            view.accepted.into(),
            view.conflicts.into(),
            text::percent(view.conflicts, view.accepted + view.conflicts).into(),
            told.map_or_else(dash, |t| text::percent(t.busy_us, t.uptime_us)).into(),
            told.map_or_else(dash, |t| text::bytes(t.memory_bytes)).into(),
            Cell::toned(mismatches.to_string(), if mismatches > 0 { Tone::Bad } else { Tone::Plain }),
        ];
        listing.push(&view.name, cells, json::scheduler(view));
    }
    listing
}

const ATTEMPTS: [Column; 11] = [
    Column::text("TXN"),
    Column::text("SCHEDULER"),
    Column::number("SEQ"),
    Column::number("BASIS").wide(),
    Column::text("ATOMICITY").wide(),
    Column::text("DETECTION").wide(),
    Column::number("ACCEPTED"),
    Column::number("LOST"),
    Column::number("ABORTED").wide(),
    Column::text("FIRST CONFLICT"),
    Column::text("WHEN"),
];

/// A list of transactions.
pub(crate) fn attempts(attempts: &[Attempt], schema: &Schema, now: Time) -> Listing {
    let mut listing = Listing::new(&ATTEMPTS);
    for attempt in attempts {
        let count = |f: fn(&Outcome) -> bool| attempt.outcomes.iter().filter(|o| f(o)).count();
        let lost = count(|o| matches!(o, Outcome::Conflict(_)));
        let first = attempt.outcomes.iter().find_map(|o| match o {
            Outcome::Conflict(conflict) => Some(&**conflict),
            Outcome::Placed(_) | Outcome::Stopping { .. } | Outcome::Resized { .. } | Outcome::Aborted => {
                None
            }
        });
        let first = attempt.failed_assertion.as_deref().or(first).map_or_else(
            || "-".to_owned(),
            |conflict| {
                let at = conflict.machine.and_then(|m| json::machine_name(attempt, m));
                let at = at.map_or_else(String::new, |name| format!("{name}: "));
                format!("{at}{}", text::obstacle(&conflict.kind, schema))
            },
        );
        let tone = if lost > 0 { Tone::Notable } else { Tone::Plain };
        let cells = vec![
            attempt.txn.into(),
            (&attempt.scheduler).into(),
            attempt.at.into(),
            attempt.basis.into(),
            text::atomicity(attempt.atomicity).into(),
            text::detection(attempt.detection).into(),
            count(Outcome::is_accepted).into(),
            Cell::toned(lost.to_string(), tone),
            count(|o| matches!(o, Outcome::Aborted)).into(),
            first.into(),
            text::ago(attempt.time, now).into(),
        ];
        listing.push(attempt.txn.to_string(), cells, json::attempt(attempt, schema));
    }
    listing
}

const OUTCOMES: [Column; 4] =
    [Column::text("TASK"), Column::text("OUTCOME"), Column::text("MACHINE"), Column::text("DETAIL")];

/// The ops of a transaction.
pub(crate) fn outcomes(attempt: &Attempt, schema: &Schema) -> Listing {
    let mut listing = Listing::new(&OUTCOMES);
    let task = |id: TaskId| {
        let job = json::job_name(attempt, id).unwrap_or("?");
        format!("{job} {}", text::task(id, &[] as &[&str]))
    };
    for outcome in attempt.outcomes.iter() {
        let cells: Vec<Cell> = match outcome {
            Outcome::Placed(placed) => {
                let preempted = placed.extra.as_ref().map_or(0, |e| e.preempted.len());
                let detail = match preempted {
                    0 => format!("epoch {}", placed.epoch),
                    n => format!("epoch {}, preempts {n}", placed.epoch),
                };
                let machine = json::machine_name(attempt, placed.machine).unwrap_or("?");
                vec![
                    task(placed.task).into(),
                    Cell::toned("placed", Tone::Good),
                    machine.into(),
                    detail.into(),
                ]
            }
            Outcome::Stopping { task: id, reason } => {
                vec![task(*id).into(), "stopping".into(), "-".into(), text::reason(*reason).into()]
            }
            Outcome::Resized { task: id, resources } => {
                vec![
                    task(*id).into(),
                    "resized".into(),
                    "-".into(),
                    text::resources(resources, schema).into(),
                ]
            }
            Outcome::Conflict(conflict) => {
                let machine = conflict.machine.and_then(|m| json::machine_name(attempt, m)).unwrap_or("-");
                let detail =
                    format!("{}; {}", text::obstacle(&conflict.kind, schema), text::circumstances(conflict));
                let name = conflict.task.map_or_else(|| "-".to_owned(), task);
                vec![name.into(), Cell::toned("conflict", Tone::Bad), machine.into(), detail.into()]
            }
            Outcome::Aborted => vec!["-".into(), "aborted".into(), "-".into(), "another op was lost".into()],
        };
        listing.push("", cells, serde_json::Value::Null);
    }
    listing
}

const CONFLICTS: [Column; 5] = [
    Column::number("COUNT"),
    Column::text("KIND"),
    Column::text("LOSER"),
    Column::text("WINNER"),
    Column::number("SPURIOUS"),
];

/// Conflicts, counted.
pub(crate) fn conflicts(counts: &[ConflictCount]) -> Listing {
    let mut listing = Listing::new(&CONFLICTS);
    for count in counts {
        let winner = if count.winner.is_empty() { "-" } else { &count.winner };
        let cells = vec![
            count.count.into(),
            (&count.kind).into(),
            (&count.loser).into(),
            winner.into(),
            count.spurious.into(),
        ];
        listing.push(&count.kind, cells, json::conflict_count(count));
    }
    listing
}
