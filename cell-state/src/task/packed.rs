//! Tasks as the cell keeps them: 40 bytes each, whatever has happened to them.
//!
//! A live task has no exit yet and an ended one no place in a machine's list, so the two share a field.

use crate::ids::{Epoch, MachineId, SessionId, Time, TxnId};
use crate::verdict::Placed;

use super::{Exit, Lack, MemoryKill, NotStarted, StopReason, Task, TaskState};

/// The tasks of one group, by index.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    records: Vec<Packed>,
}

/// One task. The bits of `flags`: its state (0 to 3), whether it has a machine (4), whether a transaction placed it (5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    changed: Time,
    txn_number: u64,
    txn_session: u32,
    epoch: Epoch,
    machine: u32,
    version: u32,
    /// Of a live task its position in its machine's list, of others the number that belongs to the exit.
    tail: u32,
    restarts: u16,
    flags: u8,
    exit: u8,
}

const STATE: u8 = 0x0f;
const HAS_MACHINE: u8 = 0x10;
const HAS_TXN: u8 = 0x20;

/// The bit of an exit's kind that says that the rest of kind and number are a [`MemoryKill`].
const OUT_OF_MEMORY: u8 = 0x80;

const _: () = assert!(size_of::<Packed>() == 40, "the memory of a cell is mostly these");

/// The position in [`TaskState::ALL`].
fn code_of_state(state: TaskState) -> u8 {
    match state {
        TaskState::Pending => 0,
        TaskState::Placed => 1,
        TaskState::Running => 2,
        TaskState::Stopping(StopReason::Stop) => 3,
        TaskState::Stopping(StopReason::Evict) => 4,
        TaskState::Stopping(StopReason::Drain) => 5,
        TaskState::Completed => 6,
        TaskState::Failed => 7,
        TaskState::Stopped => 8,
    }
}

/// The kind and the number of an exit; kind 0 is none.
fn code_of_exit(exit: Option<Exit>) -> (u8, i32) {
    match exit {
        None => (0, 0),
        Some(Exit::Code(code)) => (1, code),
        Some(Exit::Signal(signal)) => (2, signal),
        Some(Exit::NotStarted(why)) => match why {
            NotStarted::CommandNotFound => (3, 0),
            NotStarted::PermissionDenied => (4, 0),
            NotStarted::DirectoryNotFound => (5, 0),
            NotStarted::NoDriver => (6, 0),
            NotStarted::StoppedFirst => (7, 0),
            NotStarted::Os(error) => (8, error),
            NotStarted::Unfit => (9, 0),
            NotStarted::NoUser => (11, 0),
            NotStarted::NotIsolated => (12, 0),
            NotStarted::NoImage => (14, 0),
            NotStarted::Lacks(lack) => (13, lack.to_bits()),
        },
        Some(Exit::Unseen) => (10, 0),
        Some(Exit::OutOfMemory(kill)) => {
            let (high, low) = kill.to_bits();
            (OUT_OF_MEMORY | high, low as i32)
        }
    }
}

fn exit_of_code(kind: u8, number: i32) -> Option<Exit> {
    Some(match kind {
        1 => Exit::Code(number),
        2 => Exit::Signal(number),
        3 => Exit::NotStarted(NotStarted::CommandNotFound),
        4 => Exit::NotStarted(NotStarted::PermissionDenied),
        5 => Exit::NotStarted(NotStarted::DirectoryNotFound),
        6 => Exit::NotStarted(NotStarted::NoDriver),
        7 => Exit::NotStarted(NotStarted::StoppedFirst),
        8 => Exit::NotStarted(NotStarted::Os(number)),
        9 => Exit::NotStarted(NotStarted::Unfit),
        10 => Exit::Unseen,
        13 => Exit::NotStarted(NotStarted::Lacks(Lack::from_bits(number)?)),
        11 => Exit::NotStarted(NotStarted::NoUser),
        12 => Exit::NotStarted(NotStarted::NotIsolated),
        14 => Exit::NotStarted(NotStarted::NoImage),
        kind if kind & OUT_OF_MEMORY != 0 => {
            Exit::OutOfMemory(MemoryKill::from_bits(kind & !OUT_OF_MEMORY, number as u32))
        }
        _ => return None,
    })
}

impl Tasks {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<Task> {
        self.records.get(index).map(Packed::task)
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Task> {
        self.records.iter().map(Packed::task)
    }

    pub(crate) fn records(&self) -> &[Packed] {
        &self.records
    }

    #[inline]
    pub(crate) fn record_mut(&mut self, index: u32) -> Option<&mut Packed> {
        self.records.get_mut(index as usize)
    }

    /// Grows to `count` with new tasks.
    pub(crate) fn grow(&mut self, count: usize, now: Time) {
        self.records.reserve_exact(count.saturating_sub(self.records.len()));
        self.records.resize(count, Packed::new(&Task::pending(now)));
    }

    pub(crate) fn extend(&mut self, tasks: impl ExactSizeIterator<Item = Task>) {
        self.records.extend(tasks.map(|task| Packed::new(&task)));
    }

    pub(crate) fn reserve(&mut self, count: usize) {
        self.records.reserve_exact(count);
    }
}

impl Packed {
    fn new(task: &Task) -> Packed {
        let mut flags = code_of_state(task.state);
        if task.machine.is_some() {
            flags |= HAS_MACHINE;
        }
        if task.placed_by.is_some() {
            flags |= HAS_TXN;
        }
        let (exit, number) = code_of_exit(task.exit);
        Packed {
            changed: task.changed,
            txn_number: task.placed_by.map_or(0, |txn| txn.number),
            txn_session: task.placed_by.map_or(0, |txn| txn.session.0),
            epoch: task.epoch,
            machine: task.machine.map_or(0, |machine| machine.0),
            version: task.version,
            tail: number as u32,
            restarts: task.restarts,
            flags,
            exit,
        }
    }

    #[inline]
    pub(crate) fn task(&self) -> Task {
        Task {
            state: self.state(),
            restarts: self.restarts,
            epoch: self.epoch,
            machine: self.machine(),
            version: self.version,
            exit: exit_of_code(self.exit, self.tail as i32),
            changed: self.changed,
            placed_by: (self.flags & HAS_TXN != 0)
                .then_some(TxnId { session: SessionId(self.txn_session), number: self.txn_number }),
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> TaskState {
        TaskState::ALL[usize::from(self.flags & STATE).min(TaskState::ALL.len() - 1)]
    }

    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.flags & STATE == 0
    }

    #[inline]
    pub(crate) fn machine(&self) -> Option<MachineId> {
        (self.flags & HAS_MACHINE != 0).then_some(MachineId(self.machine))
    }

    #[inline]
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    #[inline]
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn restarts(&self) -> u16 {
        self.restarts
    }

    /// A live task's position in the list of its machine.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.tail as usize
    }

    /// Notes where a live task is in the list of its machine.
    #[inline]
    pub(crate) fn set_position(&mut self, position: usize) {
        self.exit = 0;
        self.tail = position as u32;
    }

    /// A change of state; a task that leaves its machine no longer has a position.
    #[inline]
    pub(crate) fn set_state(&mut self, state: TaskState, changed: Time) {
        if self.state().is_live() && !state.is_live() {
            (self.exit, self.tail) = (0, 0);
        }
        self.flags = (self.flags & !STATE) | code_of_state(state);
        self.changed = changed;
    }

    pub(crate) fn set_restarts(&mut self, restarts: u16) {
        self.restarts = restarts;
    }

    /// How a task that is no longer live has ended.
    pub(crate) fn set_exit(&mut self, exit: Option<Exit>) {
        let (kind, number) = code_of_exit(exit);
        (self.exit, self.tail) = (kind, number as u32);
    }

    /// A pending task is placed, at this position of its machine's list.
    #[inline]
    pub(crate) fn place(&mut self, placed: &Placed, txn: TxnId, time: Time, position: usize) {
        *self = Packed {
            changed: time,
            txn_number: txn.number,
            txn_session: txn.session.0,
            epoch: placed.epoch,
            machine: placed.machine.0,
            version: placed.version,
            tail: position as u32,
            restarts: self.restarts,
            flags: code_of_state(TaskState::Placed) | HAS_MACHINE | HAS_TXN,
            exit: 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_reads_back_as_it_was_written() {
        let exits = [
            None,
            Some(Exit::Code(-7)),
            Some(Exit::Signal(9)),
            Some(Exit::NotStarted(NotStarted::CommandNotFound)),
            Some(Exit::NotStarted(NotStarted::PermissionDenied)),
            Some(Exit::NotStarted(NotStarted::DirectoryNotFound)),
            Some(Exit::NotStarted(NotStarted::NoDriver)),
            Some(Exit::NotStarted(NotStarted::StoppedFirst)),
            Some(Exit::NotStarted(NotStarted::Os(i32::MIN))),
            Some(Exit::NotStarted(NotStarted::Unfit)),
            Some(Exit::Unseen),
        ];
        let txn = TxnId { session: SessionId(u32::MAX), number: u64::MAX };
        for state in TaskState::ALL {
            for exit in exits {
                for (machine, placed_by) in [(None, None), (Some(MachineId(u32::MAX)), Some(txn))] {
                    let changed = Time(u64::MAX);
                    let (restarts, epoch, version) = (u16::MAX, u32::MAX, u32::MAX);
                    let task = Task { state, restarts, epoch, machine, version, exit, changed, placed_by };
                    assert_eq!(Packed::new(&task).task(), task);
                }
            }
        }
    }
}
