//! A copy of the cell, built from the records of a subscription: to everything, or to machines and one scheduler's jobs.
//! Step 3 (see) of a placement's life.
//!
//! ```text
//!   nothing ──SnapshotStart──▶ restoring ──SnapshotEnd──▶ following ◀─┐ Event, Mark
//!                 ▲               │ Page ▲                   │  └─────┘
//!                 │               └──────┘                   │
//!                 └──────────────── SnapshotStart ───────────┘
//! ```
//!
//! A snapshot may come at any time: the subscriber fell behind what the log keeps. A mark carries the hash of the
//! server's state; a copy whose own hash differs is wrong, is dropped, and a new snapshot must be asked for. A copy of one
//! scheduler's jobs moves on with the last loads of a position instead, and has no hash to compare.

mod scoped;

use cell_state::codec::DecodeError;
use cell_state::event::Event;
use cell_state::page::{Restore, RestoreError, StateHash};
use cell_state::record::{self, Kind, Record, RecordError};
use cell_state::scope::Loads;
use cell_state::{Cell, Seq};

use scoped::Scoped;

/// What a record means for the holder of the copy.
#[derive(Debug)]
pub enum Step {
    /// The copy was rebuilt: whatever was derived from the old one is void.
    Restored,
    /// The next entry, to be applied to [`Copy::cell_mut`] by [`Cell::follow`].
    Event(Seq, Event),
    /// What machines hold, to be applied by [`Cell::apply_loads`]. Until the last of them the copy isn't at rest; the
    /// bytes that hold one have all that comes before the last.
    Loads(Seq, Loads),
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

/// A copy of the cell that follows a subscription.
#[derive(Default)]
pub struct Copy {
    cell: Option<Cell>,
    restoring: Option<(Seq, Restore)>,
    scoped: Option<Scoped>,
}

impl Copy {
    /// Nothing yet of a copy of everything.
    pub fn new() -> Copy {
        Copy::default()
    }

    /// Nothing yet of a copy of the machines and the jobs of this scheduler.
    pub fn scoped(scheduler: &str) -> Copy {
        Copy { scoped: Some(Scoped::new(scheduler.to_owned())), ..Copy::default() }
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
        self.scoped.iter_mut().for_each(Scoped::give_up);
    }

    /// Takes the first record of `bytes`, and moves `bytes` past it. `None` when no whole record is left, and nothing of
    /// the ones before.
    ///
    /// # Errors
    /// See [`CopyError`]. The subscription is of no more use; [`Copy::seq`] says where the next one must start.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Step>, CopyError> {
        if let Some(step) = self.scoped.as_mut().and_then(Scoped::next) {
            return Ok(Some(step));
        }
        let Some((record, length)) = record::read(bytes)? else { return Ok(None) };
        *bytes = &bytes[length..];
        self.record(&record).map(Some)
    }

    fn record(&mut self, record: &Record<'_>) -> Result<Step, CopyError> {
        match record.kind {
            Kind::SnapshotStart => {
                self.cell = None;
                self.scoped.iter_mut().for_each(Scoped::give_up);
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
                let cell = restore.finish()?;
                if let Some(scoped) = &mut self.scoped {
                    scoped.join(cell);
                    return Ok(Step::Nothing);
                }
                self.cell = Some(cell);
                self.check(record.seq, hash)?;
                Ok(Step::Restored)
            }
            Kind::Event if self.scoped.is_some() => self.scoped_event(record),
            Kind::Loads => self.loads(record),
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

    /// Between the entries that concern one scheduler are those that don't.
    fn scoped_event(&mut self, record: &Record<'_>) -> Result<Step, CopyError> {
        let event = record.event()?;
        let at = self.scoped.as_ref().and_then(|scoped| scoped.at(self.cell.as_ref()));
        let (Some(at), Some(scoped)) = (at, &mut self.scoped) else { return Err(self.gap(record)) };
        if record.seq > at {
            scoped.event(record.seq, event);
        }
        Ok(Step::Nothing)
    }

    fn loads(&mut self, record: &Record<'_>) -> Result<Step, CopyError> {
        let loads = record.loads()?;
        let at = self.scoped.as_ref().and_then(|scoped| scoped.at(self.cell.as_ref()));
        let (Some(_), Some(scoped)) = (at.filter(|at| *at <= record.seq), &mut self.scoped) else {
            return Err(self.gap(record));
        };
        let Some(cell) = scoped.loads(record.seq, loads) else { return Ok(Step::Nothing) };
        self.cell = Some(cell);
        Ok(Step::Restored)
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
