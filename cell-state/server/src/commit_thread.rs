//! The commit thread: the one writer of the cell. Step 6 (commit) of a placement's life.
//!
//! It takes what waits in the intake, judges it in order, applies it at once and hands the records on. It never does
//! IO and never waits for the disk while there is room in front of the log thread: while one group is being flushed,
//! the next is being judged. What it has applied is not durable yet, so nobody is told and nobody can see it: all
//! answers travel behind their records, and all reads come from the mirror.

use cell_state::admit::{self, Answer, Command, Rejection};
use cell_state::bounds::RECORD_BYTES_MAX;
use cell_state::commit::{Judge, Judged, read_ahead};
use cell_state::event::Event;
use cell_state::record::{self, HEADER_BYTES};
use cell_state::transaction::Transaction;
use cell_state::{Cell, Seq, Time};
use crossbeam::channel::Sender;
use transport::message::{Acknowledged, MachineReports, Refusal};

use crate::bounds::{GROUP_BYTES_MAX, GROUP_ITEMS_MAX};
use crate::clock::Monotonic;
use crate::group::{Entry, Extent, Group, Outcomes, Pending};
use crate::intake::{Ask, Item, Outlet};
use crate::stages::{Sampled, Stage, Stages};

/// Machines whose reports are read ahead of being applied: their reads wait for memory together.
const REPORTS_AHEAD: usize = 8;

/// The writer's own state.
pub(crate) struct Writer {
    cell: Cell,
    clock: Monotonic,
    judge: Judge,
    encoding: Sampled,
    /// Taken from the intake, and to be judged first in the next group.
    next: Option<Item>,
    /// How large the last group was: the next one mostly is as large, and room for it needn't be made bit by bit.
    last: Extent,
}

/// Judges until the intake is stopped or the log thread is gone.
pub(crate) fn run(cell: Cell, intake: &Outlet, log: &Sender<Group>, stages: &Stages) {
    let mut writer = Writer::new(cell);
    let mut clock = stages.clock();
    while let Some(first) = writer.next.take().or_else(|| intake.wait()) {
        let (group, stopped) = writer.judge(first, intake);
        clock.lap_split(Stage::Judge, Stage::Encode, writer.encoding.share());
        if log.send(group).is_err() || stopped {
            return;
        }
    }
}

impl Writer {
    fn new(mut cell: Cell) -> Writer {
        let clock = Monotonic::after(cell.time());
        // The mirror hashes; here nobody asks which pages change.
        cell.forget_pages();
        Writer {
            cell,
            clock,
            judge: Judge::new(),
            encoding: Sampled::default(),
            next: None,
            last: Extent::default(),
        }
    }

    /// Judges `first` and what waits behind it, up to the bounds of a group, without waiting for more.
    fn judge(&mut self, first: Item, intake: &Outlet) -> (Group, bool) {
        let span = tracing::debug_span!("commit", seq = self.cell.seq().0, items = tracing::field::Empty);
        let _entered = span.enter();
        let time = self.clock.now();
        let mut group = Group::with_room_for(&self.last);
        let mut stopped = false;
        let mut item = first;
        loop {
            let following = intake.next().unwrap_or_else(|_| {
                stopped = true;
                None
            });
            if let Some(Item { ask: Ask::Transaction(txn), .. }) = &following {
                read_ahead(&self.cell, txn);
            }
            let what = self.decide(item.ask, time, &mut group);
            group.answers.push(Pending { to: item.to, what });
            if group.answers.len() >= GROUP_ITEMS_MAX || group.bytes.len() >= GROUP_BYTES_MAX {
                self.next = following;
                break;
            }
            match following {
                Some(next) => item = next,
                None => break,
            }
        }
        span.record("items", group.answers.len());
        self.last = group.extent();
        (group, stopped)
    }

    fn decide(&mut self, ask: Ask, time: Time, group: &mut Group) -> Outcomes {
        self.encoding.begin();
        let decided = match ask {
            Ask::Transaction(txn) => self.transaction(&txn, time, group),
            Ask::Command(command) => self.command(command, time, group),
            Ask::Reports(all) => Ok(self.reports(all, time, group)),
        };
        self.encoding.end();
        decided.unwrap_or_else(|rejection| Outcomes::Refused(Refusal::Rejected(rejection)))
    }

    fn transaction(
        &mut self,
        txn: &Transaction,
        time: Time,
        group: &mut Group,
    ) -> Result<Outcomes, Rejection> {
        match self.judge.judge(&self.cell, time, txn)? {
            Judged::New(committed) => {
                self.enter(Event::Committed(committed), group)?;
                Ok(Outcomes::Judged(group.entries.len() - 1))
            }
            Judged::Again { at, outcomes, failed_assertion } => {
                Ok(Outcomes::Again { at, outcomes, failed_assertion })
            }
        }
    }

    fn command(&mut self, command: Command, time: Time, group: &mut Group) -> Result<Outcomes, Rejection> {
        let admitted = admit::admit(&self.cell, time, command)?;
        let at = match admitted.event {
            Some(event) => self.enter(event, group)?,
            None => self.cell.seq(),
        };
        Ok(Outcomes::Done { at, answer: admitted.answer })
    }

    /// Each machine's reports are a command of their own; what is wrong with one is no concern of the others.
    fn reports(&mut self, all: Vec<MachineReports>, time: Time, group: &mut Group) -> Outcomes {
        let (mut answers, mut all) = (Vec::with_capacity(all.len()), all.into_iter());
        while let Some(MachineReports { machine, incarnation, first, reports }) = all.next() {
            if answers.len().is_multiple_of(REPORTS_AHEAD) {
                for later in all.as_slice().iter().take(REPORTS_AHEAD) {
                    self.cell.read_reports(later.machine, &later.reports);
                }
            }
            let command = Command::Report { machine, incarnation, first, reports };
            answers.push(match self.command(command, time, group) {
                Ok(Outcomes::Done { at, answer: Answer::Reported { upto } }) => Ok(Acknowledged { at, upto }),
                Ok(_) => unreachable!("reports are answered with how many there are"),
                Err(rejection) => Err(Refusal::Rejected(rejection)),
            });
        }
        Outcomes::Reported(answers)
    }

    /// Writes the event's record and applies it; a record over the bound changes nothing.
    fn enter(&mut self, event: Event, group: &mut Group) -> Result<Seq, Rejection> {
        let seq = self.cell.seq().next();
        let start = group.bytes.len();
        let length = self.encoding.part(|| record::append_event(&mut group.bytes, seq, &event));
        if length > RECORD_BYTES_MAX + HEADER_BYTES {
            group.bytes.truncate(start);
            let problem = format!(
                "it makes a record of {length} bytes, over the bound of {RECORD_BYTES_MAX}; split it"
            );
            return Err(Rejection::invalid("request", problem));
        }
        self.cell.apply(seq, &event);
        group.entries.push(Entry { seq, event, end: group.bytes.len() as u32 });
        Ok(seq)
    }
}

#[cfg(test)]
mod tests {
    use cell_state::event::CellConfig;

    use super::*;
    use crate::intake::{AnswerTo, intake};

    fn configure(name: &str) -> Item {
        let config = CellConfig { name: name.into(), ..CellConfig::default() };
        Item { ask: Ask::Command(Command::Configure(config)), to: AnswerTo::Nobody }
    }

    #[test]
    fn what_waits_is_judged_in_one_group_in_order() {
        let (intake, outlet) = intake(8);
        for name in ["a", "a", "b"] {
            assert!(intake.offer(configure(name)).is_ok());
        }
        let mut writer = Writer::new(Cell::new());
        let (group, stopped) = writer.judge(outlet.wait().unwrap(), &outlet);
        assert!(!stopped);
        let told: Vec<_> = group.answers.iter().map(|a| &a.what).collect();
        assert!(matches!(told[0], Outcomes::Done { at: Seq(1), answer: Answer::Done }));
        assert!(matches!(told[1], Outcomes::Done { at: Seq(1), answer: Answer::Done }));
        assert!(matches!(told[2], Outcomes::Refused(Refusal::Rejected(_))));
        assert_eq!((group.entries.len(), writer.cell.seq()), (1, Seq(1)));
    }

    #[test]
    fn stopping_ends_the_thread_after_what_was_queued() {
        let (intake, outlet) = intake(8);
        assert!(intake.offer(configure("a")).is_ok());
        intake.stop();
        let (sender, groups) = crossbeam::channel::bounded(8);
        run(Cell::new(), &outlet, &sender, &Stages::default());
        assert_eq!(groups.try_iter().map(|g| g.entries.len()).sum::<usize>(), 1);
    }
}
