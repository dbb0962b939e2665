//! A tally of a cell's log: fed with its entries in order, it counts what happened.

use std::collections::BTreeMap;

use cell_state::event::{Committed, Event, Report, Seen};
use cell_state::job::Band;
use cell_state::verdict::{Conflict, Outcome};
use cell_state::{JobId, SessionId, Time};
use hdrhistogram::Histogram;

use crate::bounds::{DELAY_US_MAX, SECONDS_MAX};
use crate::figures::{Figures, PairFigures, Percentiles, SchedulerFigures};

/// Counts what happens in a log, in stretches: see [`Tally::take`].
#[derive(Debug)]
pub struct Tally {
    sessions: BTreeMap<SessionId, String>,
    jobs: BTreeMap<JobId, (Time, Band)>,
    stretch: Stretch,
}

/// What is counted anew in each stretch.
#[derive(Debug)]
struct Stretch {
    figures: Figures,
    pairs: BTreeMap<(String, String, &'static str), (u64, u64)>,
    waits: [Histogram<u64>; 4],
    first_placed: Option<Time>,
    per_second: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally::new()
    }
}

impl Tally {
    /// Nothing seen yet.
    pub fn new() -> Tally {
        Tally { sessions: BTreeMap::new(), jobs: BTreeMap::new(), stretch: Stretch::new() }
    }

    /// What happened since the last call, or since the start.
    pub fn take(&mut self) -> Figures {
        std::mem::replace(&mut self.stretch, Stretch::new()).into_figures()
    }

    /// Tasks placed, started and ended in this stretch so far.
    pub fn progress(&self) -> [u64; 3] {
        let figures = &self.stretch.figures;
        [figures.placed, figures.started, figures.ended_well + figures.ended_badly]
    }

    /// Counts the next entry of the log.
    pub fn observe(&mut self, event: &Event) {
        self.stretch.figures.entries += 1;
        match event {
            Event::SessionOpened { session, scheduler, .. } => {
                self.sessions.insert(*session, scheduler.clone());
            }
            Event::JobSubmitted { job, spec, time } => {
                // A new version of a job known already waits from the new submission on.
                self.jobs.insert(*job, (*time, Band::of(spec.priority)));
            }
            Event::JobsForgotten { jobs } => {
                for job in jobs {
                    self.jobs.remove(job);
                }
            }
            Event::Committed(committed) => self.committed(committed),
            Event::Reported { reports, .. } => reports.iter().for_each(|r| self.stretch.reported(r)),
            Event::Configured { .. }
            | Event::QuotaSet { .. }
            | Event::MachineRegistered { .. }
            | Event::MachineStateSet { .. }
            | Event::JobStopped { .. }
            | Event::SessionEnded { .. } => {}
        }
    }

    fn committed(&mut self, committed: &Committed) {
        let session = committed.txn.session;
        // A session opened before the tally began is known by its number only.
        let name = self.sessions.entry(session).or_insert_with(|| format!("session {}", session.0)).clone();
        let stretch = &mut self.stretch;
        stretch.figures.transactions += 1;
        let mut sums = SchedulerFigures { transactions: 1, ..SchedulerFigures::default() };
        for outcome in committed.outcomes.iter() {
            sums.accepted += u64::from(outcome.is_accepted());
            match outcome {
                Outcome::Placed(placed) => {
                    let preempted = placed.extra.as_ref().map_or(0, |extra| extra.preempted.len());
                    stretch.figures.preempted += preempted as u64;
                    let job = self.jobs.get(&placed.task.job).filter(|_| placed.epoch == 1);
                    stretch.placed(committed.time, job.copied());
                }
                Outcome::Conflict(conflict) => {
                    sums.conflicts += 1;
                    stretch.conflict(&name, conflict);
                }
                Outcome::Stopping { .. } | Outcome::Resized { .. } | Outcome::Aborted => {}
            }
        }
        if let Some(failed) = &committed.failed_assertion {
            sums.conflicts += 1;
            stretch.conflict(&name, failed);
        }
        let scheduler = stretch.figures.schedulers.entry(name).or_default();
        scheduler.transactions += sums.transactions;
        scheduler.accepted += sums.accepted;
        scheduler.conflicts += sums.conflicts;
        scheduler.conflicted += u64::from(sums.conflicts > 0);
    }
}

impl Stretch {
    fn new() -> Stretch {
        let histogram = || Histogram::new_with_bounds(1, DELAY_US_MAX, 3).expect("the bounds are valid");
        Stretch {
            figures: Figures::default(),
            pairs: BTreeMap::new(),
            waits: [histogram(), histogram(), histogram(), histogram()],
            first_placed: None,
            per_second: Vec::new(),
        }
    }

    fn placed(&mut self, at: Time, job: Option<(Time, Band)>) {
        let first = *self.first_placed.get_or_insert(at);
        self.figures.placed += 1;
        self.figures.placing_us = self.figures.placing_us.max(at.since(first));
        let second = (at.since(first) / 1_000_000) as usize;
        if second < SECONDS_MAX {
            if self.per_second.len() <= second {
                self.per_second.resize(second + 1, 0);
            }
            self.per_second[second] += 1;
        }
        if let Some((submitted, band)) = job {
            self.waits[band as usize].saturating_record(at.since(submitted).max(1));
        }
    }

    fn conflict(&mut self, loser: &str, conflict: &Conflict) {
        self.figures.conflicts += 1;
        self.figures.spurious += u64::from(conflict.spurious);
        self.figures.divergences += u64::from(conflict.divergence);
        let winner = conflict.winner.as_ref().map_or("", |w| w.scheduler.as_str());
        let key = (loser.to_owned(), winner.to_owned(), conflict.kind.word());
        let (count, spurious) = self.pairs.entry(key).or_default();
        *count += 1;
        *spurious += u64::from(conflict.spurious);
    }

    fn reported(&mut self, report: &Report) {
        match report.seen {
            Seen::Started => self.figures.started += 1,
            Seen::Ended(exit) if exit.is_success() => self.figures.ended_well += 1,
            Seen::Ended(_) => self.figures.ended_badly += 1,
        }
    }

    fn into_figures(self) -> Figures {
        let mut figures = self.figures;
        figures.busiest_second = self.per_second.into_iter().max().unwrap_or(0);
        let pair = |((loser, winner, kind), (count, spurious)): ((String, String, &str), (u64, u64))| {
            PairFigures { loser, winner, kind: kind.to_owned(), count, spurious }
        };
        figures.pairs = self.pairs.into_iter().map(pair).collect();
        figures.pairs.sort_by_key(|p| std::cmp::Reverse(p.count));
        let waits = Band::ALL.into_iter().zip(&self.waits).filter(|(_, waits)| !waits.is_empty());
        figures.waits = waits.map(|(band, waits)| (band.to_string(), percentiles(waits))).collect();
        figures
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    Percentiles {
        count: histogram.len(),
        p50_us: histogram.value_at_quantile(0.5),
        p95_us: histogram.value_at_quantile(0.95),
        p99_us: histogram.value_at_quantile(0.99),
        max_us: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use cell_state::event::Report;
    use cell_state::fit::Misfit;
    use cell_state::task::Exit;
    use cell_state::transaction::{Atomicity, Detection};
    use cell_state::verdict::{ConflictKind, Placed, Winner};
    use cell_state::{Dimension, MachineId, Seq, TaskId, TxnId};

    use super::*;
    use crate::workload::{self, Batch};

    fn task(index: u32) -> TaskId {
        TaskId { job: JobId(0), group: 0, index }
    }

    fn opened(session: u32, name: &str) -> Event {
        let session = SessionId(session);
        Event::SessionOpened { session, scheduler: name.into(), instance: 1, time: Time(0) }
    }

    fn committed(session: u32, time: u64, outcomes: Vec<Outcome>) -> Event {
        Event::Committed(Committed {
            txn: TxnId { session: SessionId(session), number: 1 },
            basis: Seq(0),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            time: Time(time),
            outcomes: outcomes.into(),
            failed_assertion: None,
        })
    }

    fn placed(index: u32) -> Outcome {
        Outcome::Placed(Placed {
            task: task(index),
            machine: MachineId(0),
            epoch: 1,
            version: 1,
            extra: None,
        })
    }

    fn lost(winner: &str) -> Outcome {
        let kind = ConflictKind::Misfit(Misfit::Resource { dimension: Dimension::CPU, wanted: 2, free: 1 });
        let txn = TxnId { session: SessionId(0), number: 1 };
        Outcome::Conflict(Box::new(Conflict {
            task: Some(task(9)),
            machine: Some(MachineId(0)),
            kind,
            winner: Some(Winner { txn, scheduler: winner.into() }),
            stale_entries: 3,
            spurious: false,
            divergence: false,
        }))
    }

    fn submitted(time: u64) -> Event {
        let batch = Batch { size: [1, 1, 1], run_for_us: None, exit_code: 0, count: 10 };
        let spec = workload::job("j".into(), 9, "a".into(), false, &[batch]);
        Event::JobSubmitted { job: JobId(0), spec: spec.into(), time: Time(time) }
    }

    #[test]
    fn placements_conflicts_and_waits_are_counted_by_scheduler_and_pair() {
        let mut tally = Tally::new();
        let log = [
            opened(0, "a"),
            opened(1, "b"),
            submitted(1_000),
            committed(0, 2_000, vec![placed(0), placed(1)]),
            committed(1, 2_500_000, vec![lost("a"), lost("a"), placed(2), Outcome::Aborted]),
        ];
        log.iter().for_each(|event| tally.observe(event));
        assert_eq!(tally.progress(), [3, 0, 0]);
        let figures = tally.take();
        assert_eq!((figures.entries, figures.transactions, figures.placed, figures.conflicts), (5, 2, 3, 2));
        assert_eq!((figures.placing_us, figures.busiest_second), (2_498_000, 2));
        let b = figures.schedulers["b"];
        assert_eq!((b.transactions, b.accepted, b.conflicts, b.conflicted), (1, 1, 2, 1));
        let pairs: Vec<_> =
            figures.pairs.iter().map(|p| (&*p.loser, &*p.winner, &*p.kind, p.count)).collect();
        assert_eq!(pairs, [("b", "a", "resource", 2)]);
        assert_eq!(figures.waits["production"].count, 3);
        assert_eq!(figures.kinds(), BTreeMap::from([("resource", 2)]));
    }

    #[test]
    fn a_stretch_starts_anew_but_remembers_names() {
        let mut tally = Tally::new();
        tally.observe(&opened(4, "d"));
        assert_eq!(tally.take().entries, 1);
        tally.observe(&committed(4, 1, vec![placed(0)]));
        let figures = tally.take();
        assert_eq!((figures.entries, figures.schedulers.keys().next().map(String::as_str)), (1, Some("d")));
        assert_eq!(tally.take(), Figures::default());
    }

    #[test]
    fn reports_are_counted_by_how_tasks_ended() {
        let mut tally = Tally::new();
        let seen = [
            Seen::Started,
            Seen::Ended(Exit::Code(0)),
            Seen::Ended(Exit::Code(1)),
            Seen::Ended(Exit::Unseen),
        ];
        let reports = seen.map(|seen| Report { task: task(0), epoch: 1, seen }).to_vec();
        tally.observe(&Event::Reported {
            machine: MachineId(0),
            incarnation: 1,
            first: 1,
            reports,
            time: Time(9),
        });
        let figures = tally.take();
        assert_eq!((figures.started, figures.ended_well, figures.ended_badly), (1, 1, 2));
    }
}
