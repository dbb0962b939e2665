//! A copy of a cell made from the records of a full subscription, compared with the server's hash at every mark.

use cell_state::event::Event;
use cell_state::page::{Restore, StateHash};
use cell_state::record::{Kind, Record};
use cell_state::{Cell, Seq};

use crate::witness::WitnessError;

/// The copy, and the snapshot it is being restored from while one arrives.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    cell: Cell,
    restoring: Option<Restore>,
    compared: u64,
    snapshots: u64,
}

/// What a record was.
pub(crate) enum Taken {
    /// An entry of the log, applied.
    Entry(Event),
    /// The server's hash, which is the copy's too.
    Compared(StateHash),
    /// A part of a snapshot, or a mark without a hash.
    Part,
}

impl Replica {
    /// The copy as it stands.
    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    /// How many times it was compared with the server's hash.
    pub(crate) fn compared(&self) -> u64 {
        self.compared
    }

    /// Snapshots received: what happened in the entries they stand for was not seen.
    pub(crate) fn snapshots(&self) -> u64 {
        self.snapshots
    }

    /// Applies the next entry, for those who decode several ahead.
    ///
    /// # Errors
    /// It isn't the next one.
    pub(crate) fn apply(&mut self, seq: Seq, event: &Event) -> Result<(), WitnessError> {
        if self.restoring.is_some() || seq != self.cell.seq().next() {
            return Err(WitnessError::Gap { at: self.cell.seq(), found: seq });
        }
        self.cell.apply(seq, event);
        Ok(())
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// It isn't the next one, doesn't decode, or the copy differs from the server's state.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> Result<Taken, WitnessError> {
        let gap = || WitnessError::Gap { at: self.cell.seq(), found: record.seq };
        match record.kind {
            Kind::Event => {
                let event = record.event()?;
                self.apply(record.seq, &event)?;
                return Ok(Taken::Entry(event));
            }
            Kind::SnapshotStart => self.restoring = Some(Restore::new(record.seq)),
            Kind::Page => {
                let page = record.page()?;
                self.restoring.as_mut().ok_or_else(gap)?.add(page.key, &page.bytes)?;
            }
            Kind::SnapshotEnd => {
                let whole = self.restoring.take().ok_or_else(gap)?;
                self.cell = whole.finish()?;
                self.snapshots += 1;
                return self.compare(record);
            }
            Kind::Mark => return self.compare(record),
            Kind::Loads => return Err(gap()),
        }
        Ok(Taken::Part)
    }

    fn compare(&mut self, record: &Record<'_>) -> Result<Taken, WitnessError> {
        let Some(theirs) = record.hash()? else { return Ok(Taken::Part) };
        if record.seq != self.cell.seq() {
            return Err(WitnessError::Gap { at: self.cell.seq(), found: record.seq });
        }
        let ours = self.cell.hash();
        if ours != theirs {
            return Err(WitnessError::Differs { at: record.seq, ours, theirs });
        }
        self.compared += 1;
        Ok(Taken::Compared(theirs))
    }
}
