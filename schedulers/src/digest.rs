//! Digestion of a verdict: what each outcome means for the job that lost or won. Step 8 (answer) of a placement's
//! life, as its author sees it.
//!
//! | conflict | what follows |
//! |---|---|
//! | the machine changed (coarse detection) | avoid it until the copy shows the change, try again |
//! | it doesn't fit | avoid it until the copy shows why (from then on the fit rule does), try again |
//! | it doesn't fit a machine that has not changed since the basis | avoid it until it changes, and an alarm: the plan was wrong when it was made |
//! | the machine isn't in the cell | the same |
//! | a victim is gone, or waited for by another | avoid the machine until the copy shows it, try again |
//! | the task is elsewhere in its life, at another epoch, gone or unwanted | nothing: the copy will say what is left to do |
//! | the team's quota is used up | the group waits until there is quota |
//! | an assertion doesn't hold | try again once the copy shows what the server saw |
//!
//! "Try again" is after a pause that doubles with each lost race in a row, up to a bound, and is drawn at random so
//! that losers don't meet again.

use std::collections::BTreeSet;
use std::sync::Arc;

use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::{Conflict, ConflictKind, Outcome};
use cell_state::{MachineId, Seq, TaskId};
use rand::RngExt;

use crate::bounds::{BACKOFF_FIRST_US, BACKOFF_MAX_US};
use crate::exclude::{Exclusions, Until};
use crate::plan::Rng;

/// The server's answer to a transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// The entry it was judged in.
    pub at: Seq,
    /// One per op.
    pub outcomes: Arc<[Outcome]>,
    /// The assertion that failed, if one did.
    pub failed_assertion: Option<Box<Conflict>>,
}

/// What the server said to a transaction.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// It was judged.
    Verdict(Verdict),
    /// It was not looked at: the server has too much to do.
    Busy,
    /// It was judged too long ago for the answer to be remembered, or its session is gone: the copy will tell.
    Forgotten,
    /// It is no good transaction: a mistake of the policy.
    Rejected,
}

/// A plan that was wrong when it was made: a bug here or in the server, to be shown to a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// The task.
    pub task: Option<TaskId>,
    /// The machine.
    pub machine: Option<MachineId>,
    /// What stood in the way.
    pub kind: ConflictKind,
    /// The entry it was judged in.
    pub at: Seq,
}

/// What a verdict comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// Placements that took effect.
    pub placed: u64,
    /// Other ops that took effect.
    pub changed: u64,
    /// Words of the conflicts, see [`ConflictKind::word`].
    pub conflicts: Vec<&'static str>,
    /// Ops that were lost only because their transaction was.
    pub aborted: u64,
    /// Coarse conflicts that fine detection would not have called one.
    pub spurious: u64,
    /// Groups whose team has no quota left.
    pub no_quota: BTreeSet<u16>,
    /// Plans that were wrong when they were made.
    pub alarms: Vec<Alarm>,
}

impl Digest {
    /// True when a race was lost that is worth another try.
    pub fn lost(&self) -> bool {
        !self.conflicts.is_empty()
    }
}

/// Digests a verdict, and notes in `exclusions` where the job is not to try again for now.
pub fn digest(txn: &Transaction, verdict: &Verdict, exclusions: &mut Exclusions) -> Digest {
    let mut digest = Digest::default();
    for (op, outcome) in txn.ops.iter().zip(verdict.outcomes.iter()) {
        match outcome {
            Outcome::Placed(_) => digest.placed += 1,
            Outcome::Stopping { .. } | Outcome::Resized { .. } => digest.changed += 1,
            Outcome::Aborted => digest.aborted += 1,
            Outcome::Conflict(conflict) => {
                digest.conflict(conflict, verdict.at);
                if let Op::Place { machines, .. } = op {
                    exclude(conflict, machines, verdict.at, exclusions);
                }
                if matches!(conflict.kind, ConflictKind::Quota { .. }) {
                    digest.no_quota.insert(op.task().group);
                }
            }
        }
    }
    if let Some(conflict) = &verdict.failed_assertion {
        digest.conflict(conflict, verdict.at);
    }
    digest
}

impl Digest {
    fn conflict(&mut self, conflict: &Conflict, at: Seq) {
        self.conflicts.push(conflict.kind.word());
        self.spurious += u64::from(conflict.spurious);
        if conflict.divergence || matches!(conflict.kind, ConflictKind::NoMachine) {
            let (task, machine, kind) = (conflict.task, conflict.machine, conflict.kind.clone());
            self.alarms.push(Alarm { task, machine, kind, at });
        }
    }
}

/// Notes which machines of a lost placement the job is to keep off. The verdict names the first choice; the fallbacks
/// were lost too, for reasons the copy will show.
fn exclude(conflict: &Conflict, machines: &[MachineId], at: Seq, exclusions: &mut Exclusions) {
    let first = match &conflict.kind {
        ConflictKind::Misfit(_) if conflict.divergence => Until::Changed(at),
        ConflictKind::NoMachine => Until::Changed(at),
        ConflictKind::Misfit(_)
        | ConflictKind::Changed { .. }
        | ConflictKind::Victim(_)
        | ConflictKind::Waiting(_) => Until::Copy(at),
        ConflictKind::TaskState(_)
        | ConflictKind::Epoch { .. }
        | ConflictKind::NoTask
        | ConflictKind::Unwanted
        | ConflictKind::Quota { .. }
        | ConflictKind::Assertion { .. } => return,
    };
    for machine in machines {
        let until = if Some(*machine) == conflict.machine { first } else { Until::Copy(at) };
        exclusions.add(*machine, until);
    }
}

/// Microseconds a job pauses after so many lost races in a row: none after the first, then doubling, with jitter.
pub fn back_off_us(losses: u32, rng: &mut Rng) -> u64 {
    if losses < 2 {
        return 0;
    }
    let full = (BACKOFF_FIRST_US << (losses - 2).min(20)).min(BACKOFF_MAX_US);
    rng.random_range(full / 2..=full)
}

#[cfg(test)]
mod tests {
    use cell_state::fit::Misfit;
    use cell_state::job::Band;
    use cell_state::task::TaskState;
    use cell_state::transaction::{Atomicity, Detection};
    use cell_state::{Dimension, JobId, SessionId, TxnId};
    use rand::SeedableRng;

    use super::*;

    const TASK: TaskId = TaskId { job: JobId(4), group: 2, index: 7 };

    fn txn() -> Transaction {
        Transaction {
            id: TxnId { session: SessionId(1), number: 1 },
            basis: Seq(10),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: vec![Op::Place {
                task: TASK,
                machines: [MachineId(3), MachineId(5)].into(),
                preempt: Vec::new(),
            }],
            assertions: Vec::new(),
        }
    }

    fn conflict(kind: ConflictKind, divergence: bool) -> Conflict {
        let (task, machine) = (Some(TASK), Some(MachineId(3)));
        Conflict { task, machine, kind, winner: None, stale_entries: 1, spurious: false, divergence }
    }

    /// Kind, divergence, then: what is excluded of m3 and m5, groups without quota, alarms.
    #[test]
    fn each_kind_of_conflict() {
        let misfit =
            || ConflictKind::Misfit(Misfit::Resource { dimension: Dimension::CPU, wanted: 2, free: 1 });
        let quota = ConflictKind::Quota {
            team: "a".into(),
            band: Band::Batch,
            dimension: Dimension::CPU,
            wanted: 2,
            free: 1,
        };
        let (changed, copy) = (Some(Until::Changed(Seq(20))), Some(Until::Copy(Seq(20))));
        let table = [
            (misfit(), false, [copy, copy], 0, 0),
            (misfit(), true, [changed, copy], 0, 1),
            (ConflictKind::NoMachine, false, [changed, copy], 0, 1),
            (ConflictKind::Changed { version: Seq(15) }, false, [copy, copy], 0, 0),
            (ConflictKind::Victim(TASK), false, [copy, copy], 0, 0),
            (ConflictKind::Waiting(TASK), false, [copy, copy], 0, 0),
            (ConflictKind::TaskState(TaskState::Placed), false, [None, None], 0, 0),
            (ConflictKind::Epoch { epoch: 3 }, false, [None, None], 0, 0),
            (ConflictKind::NoTask, false, [None, None], 0, 0),
            (ConflictKind::Unwanted, false, [None, None], 0, 0),
            (quota, false, [None, None], 1, 0),
        ];
        for (kind, divergence, excluded, no_quota, alarms) in table {
            let outcomes = [Outcome::Conflict(Box::new(conflict(kind.clone(), divergence)))].into();
            let verdict = Verdict { at: Seq(20), outcomes, failed_assertion: None };
            let mut exclusions = Exclusions::default();
            let digest = digest(&txn(), &verdict, &mut exclusions);
            let mut expected = Exclusions::default();
            for (machine, until) in [3, 5].into_iter().zip(excluded) {
                if let Some(until) = until {
                    expected.add(MachineId(machine), until);
                }
            }
            assert_eq!(exclusions, expected, "{kind}");
            assert_eq!(digest.conflicts, [kind.word()]);
            assert_eq!((digest.no_quota.len(), digest.alarms.len()), (no_quota, alarms), "{kind}");
        }
    }

    #[test]
    fn a_failed_assertion_is_one_conflict_and_the_rest_is_aborted() {
        let failed = conflict(ConflictKind::Assertion { index: 0, found: 3, allowed: 2 }, false);
        let verdict = Verdict {
            at: Seq(20),
            outcomes: [Outcome::Aborted].into(),
            failed_assertion: Some(Box::new(failed)),
        };
        let digest = digest(&txn(), &verdict, &mut Exclusions::default());
        assert_eq!(
            (digest.conflicts.as_slice(), digest.aborted, digest.lost()),
            (&["assertion"][..], 1, true)
        );
    }

    #[test]
    fn pauses_grow_to_their_bound_and_differ_by_seed() {
        let mut rng = Rng::seed_from_u64(1);
        assert_eq!((back_off_us(0, &mut rng), back_off_us(1, &mut rng)), (0, 0));
        for losses in 2..100 {
            let pause = back_off_us(losses, &mut rng);
            assert!((BACKOFF_FIRST_US / 2..=BACKOFF_MAX_US).contains(&pause), "{losses}: {pause}");
        }
        let draw = |seed| back_off_us(12, &mut Rng::seed_from_u64(seed));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
