//! The simulated driver: tasks without processes, for studies and load tests. They start at once, end by themselves after
//! the time their spec says, and obey every signal at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use agent::{Input, PlacementId, Signal, Start};
use cell_state::Time;
use cell_state::job::Run;
use cell_state::task::{Exit, NotStarted};

/// An end to come: when, of which machine, which placement, how.
type End = (Time, usize, PlacementId, i32);

#[derive(Default)]
pub(crate) struct Simulated {
    ends: BinaryHeap<Reverse<End>>,
}

impl Simulated {
    /// Pretends to start a placement.
    pub(crate) fn start(&mut self, now: Time, slot: usize, start: &Start) -> Input<'static> {
        let id = start.intent.id;
        let group = start.spec.job.groups.get(usize::from(id.task.group));
        match group.map(|group| &group.run) {
            Some(Run::Simulated { run_for_us, exit_code }) => {
                let end = run_for_us.map(|run_for| Reverse((now.plus(run_for), slot, id, *exit_code)));
                self.ends.extend(end);
                Input::Started(id)
            }
            Some(Run::Exec(_)) | None => Input::NotStarted(id, NotStarted::NoDriver),
        }
    }

    /// Pretends that a placement obeys.
    pub(crate) fn signal(&self, id: PlacementId, signal: Signal) -> Input<'static> {
        let number = match signal {
            Signal::Term => 15,
            Signal::Kill => 9,
        };
        Input::Ended(id, Exit::Signal(number))
    }

    /// The next placement that has ended by now. One that was told to end before is named all the same; its machine
    /// knows that it is gone.
    pub(crate) fn ended(&mut self, now: Time) -> Option<(usize, Input<'static>)> {
        let Reverse((at, slot, id, code)) = *self.ends.peek()?;
        (at <= now).then(|| {
            self.ends.pop();
            (slot, Input::Ended(id, Exit::Code(code)))
        })
    }

    /// When the next one ends.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.ends.peek().map(|Reverse((at, ..))| *at)
    }
}
