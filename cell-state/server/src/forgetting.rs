//! Forgetting: jobs that have been over for long enough leave the state, so that it doesn't grow for ever.

use std::time::Duration;

use cell_state::job::Job;
use cell_state::{Cell, JobId, Time};

use crate::bounds::{FORGET_BATCH, FORGET_SCAN, JOBS_OVER_MAX};

/// What the looks remember: they go round, a bounded piece of the jobs at a time.
pub(crate) struct Forgetting {
    retain: Duration,
    over_max: usize,
    next: JobId,
    /// Jobs over that this round has seen.
    over: usize,
    /// Jobs over that are too many, whatever their age; counted by the round before.
    excess: usize,
}

impl Forgetting {
    /// Keeps jobs that are over for `retain`.
    pub(crate) fn new(retain: Duration) -> Forgetting {
        Forgetting { retain, over_max: JOBS_OVER_MAX, next: JobId(0), over: 0, excess: 0 }
    }

    /// Looks at the next piece of the jobs, and returns those to forget.
    pub(crate) fn look(&mut self, cell: &Cell, now: Time) -> Vec<JobId> {
        let end = cell.next_job().0;
        let upto = self.next.0.saturating_add(FORGET_SCAN as u32).min(end);
        let mut forget = Vec::new();
        for id in (self.next.0..upto).map(JobId) {
            self.next = JobId(id.0 + 1);
            let Some(job) = cell.job(id).filter(|job| job.is_over()) else { continue };
            let old = now.since(ended(job)) >= self.retain.as_micros() as u64;
            if old || self.excess > 0 {
                self.excess = self.excess.saturating_sub(1);
                forget.push(id);
                if forget.len() == FORGET_BATCH {
                    return forget;
                }
            } else {
                self.over += 1;
            }
        }
        if upto == end {
            self.excess = self.over.saturating_sub(self.over_max);
            (self.next, self.over) = (JobId(0), 0);
        }
        forget
    }
}

/// When the last of its tasks ended.
fn ended(job: &Job) -> Time {
    job.tasks().map(|(_, task)| task.changed).max().unwrap_or(job.submitted).max(job.submitted)
}

#[cfg(test)]
mod tests {
    use cell_state::Resources;
    use cell_state::event::Event;
    use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};

    use super::*;

    fn spec(name: String) -> JobSpec {
        let group = GroupSpec {
            name: "g".into(),
            count: 1,
            resources: Resources::cpu_memory(1, 1),
            constraints: Vec::new(),
            distinct_machines: false,
            spread: None,
            ports: Vec::new(),
            restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
            data: cell_state::job::data::Data::default(),
            stop_grace_us: 0,
            run: Run::Simulated { run_for_us: None, exit_code: 0 },
        };
        JobSpec {
            name,
            kind: JobKind::Batch,
            priority: 100,
            team: "t".into(),
            scheduler: "batch".into(),
            groups: vec![group],
        }
    }

    /// Jobs 0..n, all stopped at the second of their number but for the last, which goes on.
    fn cell(n: u32) -> Cell {
        let mut cell = Cell::new();
        for id in 0..n {
            let time = Time(u64::from(id) * 1_000_000);
            let event = Event::JobSubmitted { job: JobId(id), spec: spec(format!("j-{id}")).into(), time };
            cell.apply(cell.seq().next(), &event);
            if id + 1 < n {
                cell.apply(cell.seq().next(), &Event::JobStopped { job: JobId(id), time });
            }
        }
        cell
    }

    #[test]
    fn jobs_over_for_long_enough_are_forgotten_and_others_stay() {
        let cell = cell(5);
        let mut forgetting = Forgetting::new(Duration::from_secs(8));
        assert_eq!(forgetting.look(&cell, Time(10_000_000)), [JobId(0), JobId(1), JobId(2)]);
        assert_eq!(forgetting.look(&cell, Time(7_000_000)), []);
    }

    #[test]
    fn too_many_are_forgotten_before_their_time() {
        let cell = cell(5);
        let mut forgetting = Forgetting::new(Duration::from_secs(3_600));
        forgetting.over_max = 1;
        assert_eq!(forgetting.look(&cell, Time(10_000_000)), []);
        assert_eq!(forgetting.look(&cell, Time(10_000_000)), [JobId(0), JobId(1), JobId(2)]);
    }
}
