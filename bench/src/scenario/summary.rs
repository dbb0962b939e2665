//! A scenario in figures: how much of everything there is, and how much of the cell it asks for.

use std::collections::BTreeMap;

use cell_state::Resources;
use cell_state::resources::DIMENSIONS;

use super::{Change, Packing, Scenario};

/// The figures of a scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// Machines, those that come later included.
    pub machines: u64,
    /// Machines that are there at the start.
    pub machines_at_start: u64,
    /// Machines going down.
    pub downs: u64,
    /// What the machines that are there at the start have together.
    pub capacity: Resources,
    /// Microseconds from the start to the last submission or change.
    pub span_us: u64,
    /// Jobs.
    pub jobs: u64,
    /// Of these, there before the start.
    pub initial_jobs: u64,
    /// Tasks.
    pub tasks: u64,
    /// Of these, there before the start.
    pub initial_tasks: u64,
    /// What the tasks that were there before ask for, as a share of the capacity; 0 where there is none.
    pub asked_at_start: [f64; DIMENSIONS],
    /// What all tasks would hold if each started when it was submitted: the mean over the span, as a share of the
    /// capacity. Tasks count up to the end of the span only.
    pub offered: [f64; DIMENSIONS],
    /// The classes of work, by name.
    pub classes: Vec<ClassSummary>,
    /// What the recorded placement does to the machines, if there is one.
    pub packing: Option<Packing>,
}

/// The figures of one class of work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClassSummary {
    /// Its name.
    pub class: String,
    /// Jobs.
    pub jobs: u64,
    /// Of these, submitted after the start.
    pub arriving_jobs: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Scenario {
    /// Its figures.
    pub fn summary(&self) -> Summary {
        let there = self.there_at_start();
        let at_start = || self.machines.iter().zip(&there).filter(|(_, there)| **there);
        let capacity = at_start().fold(Resources::ZERO, |sum, (m, _)| sum.plus(&m.capacity));
        let span_us = self.span_us();
        let mut classes: BTreeMap<&str, ClassSummary> = BTreeMap::new();
        let mut asked = Resources::ZERO;
        let mut held = [0.0; DIMENSIONS];
        for job in &self.jobs {
            let class = classes.entry(&job.class).or_default();
            class.jobs += 1;
            class.tasks += job.count();
            class.arriving_jobs += u64::from(job.submit_us.is_some());
            for tasks in &job.tasks {
                if job.submit_us.is_none() {
                    asked = asked.plus(&tasks.asked());
                }
                let left = span_us - job.submit_us.unwrap_or(0);
                let seconds = tasks.run_for_us.unwrap_or(left).min(left) as f64 / 1e6;
                for (sum, amount) in held.iter_mut().zip(tasks.asked().0) {
                    *sum += amount as f64 * seconds;
                }
            }
        }
        let named = |(name, class): (&str, ClassSummary)| ClassSummary { class: name.to_owned(), ..class };
        let initial = &self.jobs[..self.initial_jobs()];
        Summary {
            machines: self.machines.len() as u64,
            machines_at_start: at_start().count() as u64,
            downs: self.changes.iter().filter(|c| c.change == Change::Down).count() as u64,
            capacity,
            span_us,
            jobs: self.jobs.len() as u64,
            initial_jobs: initial.len() as u64,
            tasks: self.jobs.iter().map(super::Job::count).sum(),
            initial_tasks: initial.iter().map(super::Job::count).sum(),
            asked_at_start: shares(&asked.0.map(|amount| amount as f64), &capacity),
            offered: shares(&held.map(|sum| sum / (span_us.max(1) as f64 / 1e6)), &capacity),
            classes: classes.into_iter().map(named).collect(),
            packing: self.packing(),
        }
    }
}

/// Amounts as shares of a capacity; 0 where there is none.
pub(crate) fn shares(amounts: &[f64; DIMENSIONS], capacity: &Resources) -> [f64; DIMENSIONS] {
    std::array::from_fn(|d| if capacity.0[d] == 0 { 0.0 } else { amounts[d] / capacity.0[d] as f64 })
}
