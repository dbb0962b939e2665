//! A copy of the cell, built from the records of a full subscription. Step 3 (see) of a placement's life.
//!
//! ```text
//!   nothing ──SnapshotStart──▶ restoring ──SnapshotEnd──▶ following ◀─┐ Event, Mark
//!                 ▲               │ Page ▲                   │  └─────┘
//!                 │               └──────┘                   │
//!                 └──────────────── SnapshotStart ───────────┘
//! ```
//!
//! A snapshot may come at any time: the subscriber fell behind what the log keeps. A mark carries the hash of the
//! server's state; a copy whose own hash differs is wrong, is dropped, and a new snapshot must be asked for.

use cell_state::codec::DecodeError;
use cell_state::event::Event;
use cell_state::page::{Restore, RestoreError, StateHash};
use cell_state::record::{self, Kind, Record, RecordError};
use cell_state::{Cell, Seq};

/// What a record means for the holder of the copy.
#[derive(Debug)]
pub enum Step {
    /// The copy was rebuilt: whatever was derived from the old one is void.
    Restored,
    /// The next entry, to be applied to [`Copy::cell_mut`].
    Event(Seq, Event),
    /// The copy's hash was compared with the server's, and equals it.
    Checked(Seq, StateHash),
    /// Nothing to be done.
    Nothing,
}

/// Why a copy can't go on. It is dropped, but for [`CopyError::Record`] and [`CopyError::Gap`], where it is still right.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A record that isn't one.
    #[error("reading the subscription: {0}")]
    Record(#[from] RecordError),
    /// A record whose body isn't what its kind says.
    #[error("reading the subscription: {0}")]
    Body(#[from] DecodeError),
    /// An entry is missing, or a snapshot is incomplete.
    #[error("the subscription sent {found:?} at {seq}, which does not follow what the copy has ({at:?})")]
    Gap {
        /// What came.
        found: Kind,
        /// Where it belongs.
        seq: Seq,
        /// Where the copy is.
        at: Option<Seq>,
    },
    /// The snapshot doesn't make a state.
    #[error("restoring the snapshot: {0}")]
    Restore(#[from] RestoreError),
    /// The copy isn't what the server has.
    #[error("at {seq} the copy's hash is {own}, the server's {server}")]
    Mismatch {
        /// Where they were compared.
        seq: Seq,
        /// The copy's.
        own: StateHash,
        /// The server's.
        server: StateHash,
    },
}

/// A copy of the cell that follows a full subscription.
#[derive(Default)]
pub struct Copy {
    cell: Option<Cell>,
    restoring: Option<(Seq, Restore)>,
}

impl Copy {
    /// Nothing yet.
    pub fn new() -> Copy {
        Copy::default()
    }

    /// Where the copy is: what a subscription must go on after. `None` asks for a snapshot.
    pub fn seq(&self) -> Option<Seq> {
        self.cell.as_ref().map(Cell::seq)
    }

    /// The cell, once there is one.
    pub fn cell(&self) -> Option<&Cell> {
        self.cell.as_ref()
    }

    /// The cell, to apply the entry of a [`Step::Event`] to.
    pub fn cell_mut(&mut self) -> Option<&mut Cell> {
        self.cell.as_mut()
    }

    /// The cell itself, for those who need no more of the stream.
    pub fn into_cell(self) -> Option<Cell> {
        self.cell
    }

    /// A new subscription starts: a snapshot cut short by the end of the old one is given up.
    pub fn resubscribed(&mut self) {
        self.restoring = None;
    }

    /// Takes the first record of `bytes`, and moves `bytes` past it. `None` when no whole record is left.
    ///
    /// # Errors
    /// See [`CopyError`]. The subscription is of no more use; [`Copy::seq`] says where the next one must start.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Step>, CopyError> {
        let Some((record, length)) = record::read(bytes)? else { return Ok(None) };
        *bytes = &bytes[length..];
        self.record(&record).map(Some)
    }

    fn record(&mut self, record: &Record<'_>) -> Result<Step, CopyError> {
        match record.kind {
            Kind::SnapshotStart => {
                self.cell = None;
                self.restoring = Some((record.seq, Restore::new(record.seq)));
                Ok(Step::Nothing)
            }
            Kind::Page => {
                let page = record.page()?;
                let Some((_, restore)) = &mut self.restoring else { return Err(self.gap(record)) };
                restore.add(page.key, &page.bytes)?;
                Ok(Step::Nothing)
            }
            Kind::SnapshotEnd => {
                let hash = record.hash()?;
                let begun = self.restoring.take().filter(|(seq, _)| *seq == record.seq);
                let Some((_, restore)) = begun else { return Err(self.gap(record)) };
                self.cell = Some(restore.finish()?);
                self.check(record.seq, hash)?;
                Ok(Step::Restored)
            }
            Kind::Event => {
                let event = record.event()?;
                match self.seq() {
                    Some(at) if record.seq == at.next() => Ok(Step::Event(record.seq, event)),
                    // A resumed subscription may begin with what the copy has already.
                    Some(at) if record.seq <= at => Ok(Step::Nothing),
                    Some(_) | None => Err(self.gap(record)),
                }
            }
            Kind::Mark => {
                let hash = record.hash()?;
                match self.seq() {
                    Some(at) if record.seq == at => self.check(record.seq, hash),
                    Some(at) if record.seq < at => Ok(Step::Nothing),
                    Some(_) | None => Err(self.gap(record)),
                }
            }
        }
    }

    fn check(&mut self, seq: Seq, server: Option<StateHash>) -> Result<Step, CopyError> {
        let (Some(server), Some(cell)) = (server, &mut self.cell) else { return Ok(Step::Nothing) };
        let own = cell.hash();
        if own != server {
            self.cell = None;
            return Err(CopyError::Mismatch { seq, own, server });
        }
        Ok(Step::Checked(seq, own))
    }

    fn gap(&self, record: &Record<'_>) -> CopyError {
        CopyError::Gap { found: record.kind, seq: record.seq, at: self.seq() }
    }
}
