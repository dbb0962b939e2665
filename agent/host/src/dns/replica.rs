//! A copy of the whole cell, from the records of a full subscription.

use cell_state::Cell;
use cell_state::page::Restore;
use cell_state::record::{self, Kind, Record};

/// The snapshot that a copy is being restored from, while one arrives.
#[derive(Debug, Default)]
pub(super) struct Replica {
    restoring: Option<Restore>,
}

impl Replica {
    /// Takes records; the copy is there once a snapshot was whole.
    pub(super) fn take(&mut self, bytes: &[u8], cell: &mut Option<Cell>) -> Result<(), String> {
        let mut rest = bytes;
        while let Some((record, length)) = record::read(rest).map_err(|error| error.to_string())? {
            self.take_one(&record, cell)?;
            rest = &rest[length..];
        }
        Ok(())
    }

    fn take_one(&mut self, record: &Record<'_>, cell: &mut Option<Cell>) -> Result<(), String> {
        match record.kind {
            Kind::Event => {
                let cell = cell.as_mut().filter(|cell| record.seq == cell.seq().next());
                let cell = cell.ok_or_else(|| format!("entry {} doesn't follow", record.seq))?;
                cell.apply(record.seq, &record.event().map_err(|error| error.to_string())?);
            }
            Kind::SnapshotStart => self.restoring = Some(Restore::new(record.seq)),
            Kind::Page => {
                let page = record.page().map_err(|error| error.to_string())?;
                let restoring = self.restoring.as_mut().ok_or("a page outside of a snapshot")?;
                restoring.add(page.key, &page.bytes).map_err(|error| error.to_string())?;
            }
            Kind::SnapshotEnd => {
                let whole = self.restoring.take().ok_or("a snapshot ended that never began")?;
                *cell = Some(whole.finish().map_err(|error| error.to_string())?);
            }
            // The hash is compared by those who place tasks; a wrong name here is found out by whoever calls it. How much
            // schedulers have to do is nobody's address.
            Kind::Mark | Kind::Loads => {}
        }
        Ok(())
    }
}
