//! The intake: the bounded queue between the sessions and the commit thread.
//!
//! Full means [`Refusal::Busy`], at once: nothing waits here, and nothing grows. Two bounds hold, one on requests and
//! one on their weight (ops and reports), since a request may be a thousand times another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cell_state::admit::Command;
use cell_state::transaction::Transaction;
use crossbeam::channel::{Receiver, Sender, TryRecvError, TrySendError};
use transport::message::{MachineReports, Refusal};
use transport_quic::Responder;

use crate::bounds::INTAKE_WEIGHT_MAX;
use crate::connection::Connection;

/// A request to change the cell.
pub(crate) enum Ask {
    /// A scheduler's proposal.
    Transaction(Transaction),
    /// Anything else.
    Command(Command),
    /// Reports about several machines: a command each, answered together.
    Reports(Vec<MachineReports>),
}

/// Whom to answer.
pub(crate) enum AnswerTo {
    /// The server asked itself.
    Nobody,
    /// A party, over the connection it asked on.
    Party {
        /// Sends the reply.
        responder: Responder,
        /// Remembers what the answer gives the party: a session, a machine.
        connection: Arc<Connection>,
    },
}

/// One request on its way to the commit thread.
pub(crate) struct Item {
    /// What is asked.
    pub(crate) ask: Ask,
    /// Whom to answer.
    pub(crate) to: AnswerTo,
}

enum Message {
    Item(Item),
    /// Everything before this is still judged, nothing after it.
    Stop,
}

/// The sending end; shared by all sessions.
pub(crate) struct Intake {
    queue: Sender<Message>,
    weight: Arc<AtomicUsize>,
    stopping: AtomicBool,
}

/// The receiving end; the commit thread's.
pub(crate) struct Outlet {
    queue: Receiver<Message>,
    weight: Arc<AtomicUsize>,
}

/// Makes both ends; `items` is the bound on requests.
pub(crate) fn intake(items: usize) -> (Intake, Outlet) {
    let (sender, receiver) = crossbeam::channel::bounded(items.max(1));
    let weight = Arc::new(AtomicUsize::new(0));
    let intake = Intake { queue: sender, weight: Arc::clone(&weight), stopping: AtomicBool::new(false) };
    (intake, Outlet { queue: receiver, weight })
}

impl Ask {
    fn weight(&self) -> usize {
        match self {
            Ask::Transaction(txn) => 1 + txn.ops.len(),
            Ask::Command(Command::Report { reports, .. }) => 1 + reports.len(),
            Ask::Command(_) => 1,
            Ask::Reports(all) => all.iter().map(|of| 1 + of.reports.len()).sum(),
        }
    }
}

impl Intake {
    /// Hands a request to the commit thread, or gives back whom to tell that this isn't possible now, and why.
    pub(crate) fn offer(&self, item: Item) -> Result<(), (AnswerTo, Refusal)> {
        if self.stopping.load(Ordering::Acquire) {
            return Err((item.to, Refusal::Unavailable("the server is shutting down".into())));
        }
        let weight = item.ask.weight();
        if self.weight.fetch_add(weight, Ordering::AcqRel) > INTAKE_WEIGHT_MAX {
            self.weight.fetch_sub(weight, Ordering::AcqRel);
            return Err((item.to, Refusal::Busy));
        }
        self.queue.try_send(Message::Item(item)).map_err(|error| {
            self.weight.fetch_sub(weight, Ordering::AcqRel);
            let (message, refusal) = match error {
                TrySendError::Full(message) => (message, Refusal::Busy),
                TrySendError::Disconnected(message) => {
                    (message, Refusal::Unavailable("the server stopped".into()))
                }
            };
            match message {
                Message::Item(item) => (item.to, refusal),
                Message::Stop => unreachable!("an item was offered"),
            }
        })
    }

    /// The server's own requests: when there is no room now, the next look at the state asks again.
    pub(crate) fn offer_own(&self, command: Command) -> bool {
        self.offer(Item { ask: Ask::Command(command), to: AnswerTo::Nobody }).is_ok()
    }

    /// Refuses everything from now on and ends the commit thread once it has judged what is queued. Blocks while the
    /// queue is full.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // An error means that the commit thread is gone already.
        let _ = self.queue.send(Message::Stop);
    }
}

impl Outlet {
    /// Waits for a request; `None` ends the commit thread.
    pub(crate) fn wait(&self) -> Option<Item> {
        match self.queue.recv() {
            Ok(message) => self.unwrap(message),
            Err(_) => None,
        }
    }

    /// The next request, if one is waiting. `Err` ends the commit thread.
    pub(crate) fn next(&self) -> Result<Option<Item>, Stopped> {
        match self.queue.try_recv() {
            Ok(message) => self.unwrap(message).map(Some).ok_or(Stopped),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Stopped),
        }
    }

    fn unwrap(&self, message: Message) -> Option<Item> {
        match message {
            Message::Item(item) => {
                self.weight.fetch_sub(item.ask.weight(), Ordering::AcqRel);
                Some(item)
            }
            Message::Stop => None,
        }
    }
}

/// The intake was stopped, and all of it has been handed out.
pub(crate) struct Stopped;

#[cfg(test)]
mod tests {
    use cell_state::ids::SessionId;
    use cell_state::transaction::{Atomicity, Detection, Op};
    use cell_state::{JobId, Seq, TaskId, TxnId};

    use super::*;

    fn command() -> Item {
        Item { ask: Ask::Command(Command::EndSession { session: SessionId(0) }), to: AnswerTo::Nobody }
    }

    fn transaction(ops: usize) -> Item {
        let task = TaskId { job: JobId(0), group: 0, index: 0 };
        let txn = Transaction {
            id: TxnId { session: SessionId(0), number: 1 },
            basis: Seq(0),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: vec![Op::Stop { task, epoch: 0 }; ops],
            assertions: Vec::new(),
        };
        Item { ask: Ask::Transaction(txn), to: AnswerTo::Nobody }
    }

    #[test]
    fn a_full_queue_is_busy_and_room_comes_back() {
        let (intake, outlet) = intake(2);
        assert!(intake.offer(command()).is_ok() && intake.offer(command()).is_ok());
        assert!(matches!(intake.offer(command()), Err((_, Refusal::Busy))));
        assert!(outlet.wait().is_some());
        assert!(intake.offer(command()).is_ok());
    }

    #[test]
    fn few_heavy_requests_are_busy_too() {
        let (intake, outlet) = intake(1_000);
        let mut taken = 0;
        while intake.offer(transaction(10_000)).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 100);
        while let Ok(Some(_)) = outlet.next() {}
        assert!(intake.offer(transaction(10_000)).is_ok());
    }

    #[test]
    fn stopping_refuses_the_new_and_hands_out_the_old() {
        let (intake, outlet) = intake(4);
        assert!(intake.offer(command()).is_ok());
        intake.stop();
        assert!(matches!(intake.offer(command()), Err((_, Refusal::Unavailable(_)))));
        assert!(outlet.wait().is_some());
        assert!(outlet.wait().is_none());
    }
}
