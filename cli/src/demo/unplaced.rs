//! Tasks that have no place once everything is decided, and why: asked of the one fit rule, job by job.

use std::collections::BTreeMap;

use cell_state::{Cell, JobId};
use schedulers::explain::{GroupWhy, explain};
use serde::Serialize;

use crate::bounds::DEMO_EXPLAINED_MAX;

/// Tasks without a place for one reason.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Unplaced {
    /// The most frequent reason, over all machines.
    pub(super) reason: String,
    /// How many tasks.
    pub(super) tasks: u32,
    /// Of how many jobs.
    pub(super) jobs: u32,
    /// One of them, in full.
    pub(super) example: String,
    /// Whether they would have fitted somewhere: then somebody forgot them.
    pub(super) forgotten: bool,
}

/// All pending tasks of the cell, by reason, most tasks first.
pub(super) fn all(cell: &Cell) -> Vec<Unplaced> {
    let pending = cell.jobs().filter(|job| job.counts().pending > 0);
    let pending: Vec<(JobId, u32)> = pending.map(|job| (job.id, job.counts().pending)).collect();
    let mut found: BTreeMap<String, Unplaced> = BTreeMap::new();
    for (number, (id, tasks)) in pending.iter().enumerate() {
        let why = if number < DEMO_EXPLAINED_MAX { explain(cell, *id, cell.time(), None) } else { None };
        let Some(why) = why else {
            add(&mut found, "not looked into: too many jobs".to_owned(), *tasks, String::new(), false);
            continue;
        };
        for group in &why.groups {
            let example = format!("job {}, {group}", why.job);
            add(&mut found, reason(group), group.pending, example, group.fits > 0 && group.delayed == 0);
        }
    }
    let mut found: Vec<Unplaced> = found.into_values().collect();
    found.sort_by_key(|u| std::cmp::Reverse(u.tasks));
    found
}

fn add(found: &mut BTreeMap<String, Unplaced>, reason: String, tasks: u32, example: String, forgotten: bool) {
    let new = Unplaced { reason: reason.clone(), tasks: 0, jobs: 0, example, forgotten };
    let sum = found.entry(reason).or_insert(new);
    sum.tasks += tasks;
    sum.jobs += 1;
}

fn reason(group: &GroupWhy) -> String {
    if group.fits > 0 {
        return "would fit".to_owned();
    }
    let kinds: Vec<String> = group.reasons.iter().map(|r| r.kind.to_string()).collect();
    if kinds.is_empty() { "no machines".to_owned() } else { kinds.join(", else ") }
}
