//! The original files of the trace, which are logs of events: replayed to what runs at the start and what comes then.
//!
//! Events with time 0 describe what was there before. A task that was submitted again later (after an eviction, say)
//! arrives once: its first run is the one that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bench::Trace;
use bench::trace::{Arriving, Running, TraceChange, TraceMachine, TraceTask};
use bench::units;

use super::{TaskColumns, end, only_once};
use crate::rows::{Rows, TraceError};

/// Their names.
pub(super) const FILES: [&str; 2] =
    ["machine_events/part-00000-of-00001.csv", "task_events/part-00000-of-00500.csv"];

const MACHINE_COLUMNS: [&str; 6] = ["time", "machine ID", "event type", "platform ID", "CPUs", "Memory"];

const TASK_COLUMNS: [&str; 13] = [
    "time",
    "missing info",
    "job ID",
    "task index",
    "machine ID",
    "event type",
    "user",
    "scheduling class",
    "priority",
    "CPU request",
    "memory request",
    "disk space request",
    "different machines restriction",
];

const TASK: TaskColumns = TaskColumns { job: 2, index: 3, priority: 8, size: [9, 10, 11], distinct: 12 };

/// Google's event types of machines and of tasks.
const MACHINE_ADD: u8 = 0;
const MACHINE_REMOVE: u8 = 1;
const MACHINE_UPDATE: u8 = 2;
const SUBMIT: u8 = 0;
const SCHEDULE: u8 = 1;
const UPDATE_PENDING: u8 = 7;
const UPDATE_RUNNING: u8 = 8;

/// Reads the files of [`FILES`], in that order.
pub(super) fn read(files: &[PathBuf; 2]) -> Result<Trace, TraceError> {
    let (machines, changes) = machines(&files[0])?;
    let tasks = Replay::of(&files[1])?;
    let running = tasks.initial.into_values().filter_map(Initial::running).collect();
    Ok(Trace { machines, running, arriving: tasks.arriving, changes })
}

/// The machines added at time 0, and what happens to machines later. Platforms get letters, the most frequent one at
/// the start `P0`. Later changes of a machine's size are left out.
fn machines(path: &Path) -> Result<(Vec<TraceMachine>, Vec<TraceChange>), TraceError> {
    let mut rows = Rows::open(path, &MACHINE_COLUMNS, false)?;
    let (mut machines, mut changes) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    while rows.next()? {
        let at_us: u64 = rows.number(0)?;
        let event: u8 = rows.number(2)?;
        let id = rows.number(1)?;
        if at_us > 0 {
            changes.extend(changed(&rows, at_us, id, event)?);
        } else if event == MACHINE_ADD {
            only_once(&mut seen, id, &rows, 1)?;
            machines.push(machine(&rows, id)?);
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for machine in &machines {
        *counts.entry(machine.platform.clone()).or_default() += 1;
    }
    let mut platforms: Vec<String> = counts.keys().cloned().collect();
    platforms.sort_by_key(|p| std::cmp::Reverse(counts[p]));
    let added = changes.iter_mut().filter_map(|change| change.added.as_mut());
    for machine in machines.iter_mut().chain(added) {
        let rank = platforms.iter().position(|p| *p == machine.platform).unwrap_or_else(|| {
            platforms.push(machine.platform.clone());
            platforms.len() - 1
        });
        machine.platform = format!("P{rank}");
    }
    changes.sort_by_key(|change| change.at_us);
    Ok((machines, changes))
}

fn machine(rows: &Rows, id: u64) -> Result<TraceMachine, TraceError> {
    let sizes = (rows.text(4), rows.text(5));
    let capacity =
        units::machine_capacity(sizes.0, sizes.1).map_err(|e| rows.field_error(4, e.to_string()))?;
    Ok(TraceMachine { id, platform: rows.text(3).to_owned(), capacity })
}

/// A machine going or coming; `None` for a change of its size, and for one that comes without a size (32 do).
fn changed(rows: &Rows, at_us: u64, id: u64, event: u8) -> Result<Option<TraceChange>, TraceError> {
    let sized = !rows.text(4).is_empty() && !rows.text(5).is_empty();
    let added = match event {
        MACHINE_ADD if !sized => return Ok(None),
        MACHINE_ADD => Some(machine(rows, id)?),
        MACHINE_REMOVE => None,
        MACHINE_UPDATE => return Ok(None),
        other => return Err(rows.field_error(2, format!("{other} is no event type of machines; 0 to 2 are"))),
    };
    Ok(Some(TraceChange { at_us, machine: id, added }))
}

/// A task that was there before, as the events at time 0 leave it.
#[derive(Clone, Copy)]
struct Initial {
    task: TraceTask,
    running: bool,
    machine: Option<u64>,
}

impl Initial {
    fn running(self) -> Option<Running> {
        let machine = self.machine.filter(|_| self.running)?;
        Some(Running { task: self.task, machine })
    }
}

/// What the task events up to some row amount to.
#[derive(Default)]
struct Replay {
    initial: BTreeMap<(u64, u32), Initial>,
    arriving: Vec<Arriving>,
    arrived: BTreeMap<(u64, u32), usize>,
}

impl Replay {
    fn of(path: &Path) -> Result<Replay, TraceError> {
        let mut rows = Rows::open(path, &TASK_COLUMNS, false)?;
        let mut replay = Replay::default();
        while rows.next()? {
            let key = (rows.number(TASK.job)?, rows.number(TASK.index)?);
            match rows.number(0)? {
                0 => replay.before(&rows, key)?,
                time => replay.later(&rows, key, time)?,
            }
        }
        Ok(replay)
    }

    fn before(&mut self, rows: &Rows, key: (u64, u32)) -> Result<(), TraceError> {
        let nothing = TraceTask { job: key.0, index: key.1, priority: 0, size: [0; 3], distinct: false };
        let new = Initial { task: nothing, running: false, machine: None };
        let initial = self.initial.entry(key).or_insert(new);
        initial.task.priority = TASK.priority(rows)?;
        // Rows that Google reconstructed lack the requests: then those of an earlier row hold.
        if !rows.text(TASK.size[0]).is_empty() {
            initial.task = TASK.read(rows)?;
        }
        let machine = rows.optional(4)?;
        let event: u8 = rows.number(5)?;
        initial.running = match event {
            SUBMIT | UPDATE_PENDING => false,
            SCHEDULE | UPDATE_RUNNING => {
                initial.machine = machine.or(initial.machine);
                true
            }
            other if end(other).is_some() => false,
            other => return Err(unknown_event(rows, other)),
        };
        Ok(())
    }

    fn later(&mut self, rows: &Rows, key: (u64, u32), time: u64) -> Result<(), TraceError> {
        let event: u8 = rows.number(5)?;
        let known = self.arrived.get(&key).map(|at| &mut self.arriving[*at]);
        match (event, known) {
            (SUBMIT, None) if !self.initial.contains_key(&key) => {
                self.arrived.insert(key, self.arriving.len());
                let task = TASK.read(rows)?;
                self.arriving.push(Arriving {
                    task,
                    submit_us: time,
                    schedule_us: None,
                    machine: None,
                    end: None,
                });
            }
            (SCHEDULE, Some(task)) => {
                if task.schedule_us.is_none() {
                    (task.schedule_us, task.machine) = (Some(time), rows.optional(4)?);
                }
            }
            (SUBMIT | SCHEDULE | UPDATE_PENDING | UPDATE_RUNNING, _) => {}
            (other, known) => {
                let how = end(other).ok_or_else(|| unknown_event(rows, other))?;
                if let Some(task) = known {
                    task.end.get_or_insert((time, how));
                }
            }
        }
        Ok(())
    }
}

fn unknown_event(rows: &Rows, event: u8) -> TraceError {
    rows.field_error(5, format!("{event} is no event type; 0 to 8 are"))
}
