//! A stand-in for the server: its log and checkpoints in a real directory, written in the order the server does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cell_server::checkpoint::{Observer, SaveError};
use cell_server::data_dir::DataDir;
use cell_server::log::{Group, Log, LogId, Options};
use cell_server::recovery::{Recovered, RecoveryError, recover_with};
use cell_state::page::{PageKey, StateHash};
use cell_state::{Cell, Seq, record};

use crate::history::History;

pub(crate) struct Server {
    pub(crate) recovered: Recovered,
    pub(crate) history: History,
    /// The hash of the state at each seq.
    pub(crate) hashes: Vec<StateHash>,
    /// Whether the log is trimmed after each save as far as it may be.
    pub(crate) trims: bool,
}

pub(crate) fn recover(dir: &Path) -> Result<Recovered, RecoveryError> {
    let data = DataDir::lock(dir)?;
    let mut options = Options::new(data.log(), "dev", LogId(77));
    options.segment_bytes = 4096 + 24_000;
    options.ahead = false;
    recover_with(data, options)
}

impl Server {
    pub(crate) fn new(dir: &Path, seed: u64) -> Server {
        let history = History::new(seed);
        let hashes = vec![Cell::new().hash()];
        Server { recovered: recover(dir).unwrap(), history, hashes, trims: true }
    }

    /// Commits this many entries, in groups of different sizes.
    pub(crate) fn run(&mut self, entries: u64) {
        let mut left = entries;
        while left > 0 {
            let first = self.history.cell.seq().next();
            let size = (1 + first.0 % 5).min(left);
            let mut bytes = Vec::new();
            for _ in 0..size {
                let (seq, event) = self.history.step();
                record::append_event(&mut bytes, seq, &event);
                self.recovered.cell.apply(seq, &event);
                self.hashes.push(self.history.cell.hash());
            }
            let last = self.history.cell.seq();
            self.recovered.log.append(&Group { first, last, bytes: Bytes::from(bytes) }).unwrap();
            left -= size;
        }
    }

    /// The pages that changed since this was last called; after a restart, all.
    pub(crate) fn changed(&mut self) -> Vec<(PageKey, Option<Bytes>)> {
        let cell = &mut self.recovered.cell;
        let keys = cell.take_changed();
        keys.into_iter().map(|key| (key, cell.encode_page(&key).map(Bytes::from))).collect()
    }

    pub(crate) fn save(&mut self) -> Result<(), SaveError> {
        self.save_observed(&mut |_, _| {})
    }

    pub(crate) fn save_observed(&mut self, observe: &mut Observer<'_>) -> Result<(), SaveError> {
        let (seq, hash) = (self.recovered.cell.seq(), self.recovered.cell.hash());
        let changed = self.changed();
        self.recovered.checkpoints.save_observed(seq, hash, &changed, observe)?;
        if self.trims {
            self.recovered.log.trim(self.recovered.checkpoints.trim_to()).unwrap();
        }
        Ok(())
    }

    /// Restarts on the same directory, after a clean end or as if killed.
    pub(crate) fn restart(self, killed: bool) -> Server {
        let Server { recovered, history, hashes, trims } = self;
        let dir = recovered.data.path().to_owned();
        let Recovered { data, log, checkpoints, .. } = recovered;
        if killed {
            // Without the closing mark.
            std::mem::forget(log);
        } else {
            drop(log);
        }
        drop((checkpoints, data));
        let recovered = recover(&dir).unwrap();
        let server = Server { recovered, history, hashes, trims };
        server.assert_recovered(&server.recovered);
        server
    }

    /// What was recovered is the state at the last entry.
    pub(crate) fn assert_recovered(&self, recovered: &Recovered) {
        let mut cell = recovered.cell.clone();
        assert_eq!(cell.seq(), self.history.cell.seq());
        assert_eq!(cell.hash(), self.hashes[cell.seq().0 as usize]);
        assert_eq!(recovered.report.last, cell.seq());
    }

    pub(crate) fn hash_at(&self, seq: Seq) -> StateHash {
        self.hashes[seq.0 as usize]
    }
}

/// Every file below a directory.
pub(crate) type Image = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) fn image(dir: &Path) -> Image {
    let mut found = Image::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

pub(crate) fn write_image(image: &Image, dir: &Path) {
    for (path, bytes) in image {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
