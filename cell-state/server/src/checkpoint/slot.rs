//! One checkpoint database: what it holds, and the steps that make it hold a newer state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use cell_state::page::{PageKey, Restore, StateHash};
use cell_state::{Cell, Seq};

use super::database::{self, DatabaseError, guarded};
use super::layout::{self, META_KEY, Meta};
use super::{Observer, Step};
use crate::bounds::CHECKPOINT_CACHE_BYTES;
use crate::log::LogId;

/// An open checkpoint database.
pub(super) struct Slot {
    pub(super) dir: PathBuf,
    db: sled::Db,
    /// `None` until the first save is complete.
    pub(super) meta: Option<Meta>,
    /// The pages of that state.
    pub(super) pages: BTreeMap<PageKey, Stored>,
    /// Keys that belong to no state: superseded pages, and what an unfinished save left behind.
    stale: BTreeSet<Vec<u8>>,
}

/// How a page is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    /// The save that wrote it.
    pub(super) saved_at: Seq,
    /// Its checksum.
    crc: u32,
    /// Its length.
    pub(super) length: u32,
}

/// One version of a page, while its pieces are being found.
struct Version {
    page: PageKey,
    keys: Vec<Vec<u8>>,
    stored: Stored,
    gone: bool,
    /// What is wrong with it; of no interest if a newer version follows.
    fault: Option<String>,
    pieces: u16,
}

/// A page that a save has to write.
pub(super) struct Write {
    pub(super) page: PageKey,
    pub(super) saved_at: Seq,
    /// `None`: it is gone.
    pub(super) bytes: Option<Bytes>,
}

impl Slot {
    /// Opens the database and checks every page of the state it holds.
    pub(super) fn open(dir: &Path) -> Result<Slot, DatabaseError> {
        let fresh = !dir.exists();
        let db = database::open(dir, CHECKPOINT_CACHE_BYTES, None)?;
        if fresh {
            database::sync(&db, dir)?;
            let parent = dir.parent().expect("a checkpoint is inside the data directory");
            database::sync_directory(parent).map_err(|source| DatabaseError::Io {
                act: "sync",
                path: parent.to_owned(),
                source,
            })?;
        }
        let meta = guarded("read", dir, || db.get(META_KEY))?;
        let meta = meta.map(|bytes| Meta::from_bytes(&bytes)).transpose();
        let meta = meta.map_err(|what| damaged(dir, what))?;
        let mut slot = Slot { dir: dir.to_owned(), db, meta, pages: BTreeMap::new(), stale: BTreeSet::new() };
        slot.scan()?;
        Ok(slot)
    }

    fn scan(&mut self) -> Result<(), DatabaseError> {
        let upto = self.meta.map_or(Seq(0), |meta| meta.seq);
        let mut entries = self.db.iter();
        let mut current: Option<Version> = None;
        while let Some((key, value)) = guarded("read", &self.dir, || entries.next().transpose())? {
            if key == META_KEY {
                continue;
            }
            let Some((page, saved_at, piece)) = layout::parse_key(&key) else {
                return Err(damaged(&self.dir, format!("a key of {} bytes that names no page", key.len())));
            };
            if saved_at > upto {
                self.stale.insert(key.to_vec());
                continue;
            }
            let parsed = layout::parse_value(&key, &value);
            match &mut current {
                Some(version) if version.page == page && version.stored.saved_at == saved_at => {
                    version.add(&key, piece, parsed);
                }
                Some(_) | None => {
                    let mut version = Version::new(page, saved_at);
                    version.add(&key, piece, parsed);
                    let before = current.replace(version);
                    self.keep(before, Some(page))?;
                }
            }
        }
        self.keep(current, None)?;
        match self.meta {
            Some(meta) if meta.pages != self.pages.len() as u64 => {
                Err(damaged(&self.dir, format!("{} pages of {}", self.pages.len(), meta.pages)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Files a version whose pieces have all been seen; one of page `next` follows.
    fn keep(&mut self, version: Option<Version>, next: Option<PageKey>) -> Result<(), DatabaseError> {
        let Some(version) = version else { return Ok(()) };
        // Versions come oldest first, so another one of the same page supersedes this one.
        if version.gone || next == Some(version.page) {
            self.stale.extend(version.keys);
            return Ok(());
        }
        let missing = version.keys.len() != usize::from(version.pieces);
        let fault = version.fault.or_else(|| missing.then(|| "pieces are missing".to_owned()));
        if let Some(what) = fault {
            return Err(damaged(&self.dir, format!("page {:?}: {what}", version.page)));
        }
        self.pages.insert(version.page, version.stored);
        Ok(())
    }

    /// Whether the page is stored with exactly these bytes.
    pub(super) fn has(&self, page: &PageKey, bytes: &[u8]) -> Result<bool, DatabaseError> {
        let Some(stored) = self.pages.get(page) else { return Ok(false) };
        let alike = stored.length as usize == bytes.len() && stored.crc == crc32c::crc32c(bytes);
        Ok(alike && self.read(page)? == bytes)
    }

    /// The bytes of a page that is there, checked.
    pub(super) fn read(&self, page: &PageKey) -> Result<Bytes, DatabaseError> {
        let stored = self.pages[page];
        let read = self.read_version(page, stored.saved_at)?;
        read.ok_or_else(|| damaged(&self.dir, format!("page {page:?} is gone")))
    }

    fn read_version(&self, page: &PageKey, saved_at: Seq) -> Result<Option<Bytes>, DatabaseError> {
        let fault = |what: String| damaged(&self.dir, format!("page {page:?} of seq {saved_at}: {what}"));
        let mut bytes = BytesMut::new();
        let mut piece = 0;
        loop {
            let key = layout::key(page, saved_at, piece);
            let value = guarded("read", &self.dir, || self.db.get(&key))?;
            let value = value.ok_or_else(|| fault("a piece is missing".to_owned()))?;
            let parsed = layout::parse_value(&key, &value).map_err(fault)?;
            bytes.extend_from_slice(parsed.body);
            piece += 1;
            if piece == parsed.count {
                return Ok((!parsed.gone).then(|| bytes.freeze()));
            }
        }
    }

    /// Puts the cell together and compares its hash with the stored one.
    pub(super) fn load(&self) -> Result<Cell, DatabaseError> {
        let meta = self.meta.ok_or_else(|| damaged(&self.dir, "it holds no state yet".to_owned()))?;
        let mut restore = Restore::new(meta.seq);
        for page in self.pages.keys() {
            let bytes = self.read(page)?;
            restore
                .add(*page, &bytes)
                .map_err(|error| damaged(&self.dir, format!("page {page:?}: {error}")))?;
        }
        let mut cell = restore.finish().map_err(|error| damaged(&self.dir, error.to_string()))?;
        let hash: StateHash = cell.hash();
        if hash != meta.hash {
            let what = format!("its state at seq {} has hash {hash}, it should be {}", meta.seq, meta.hash);
            return Err(damaged(&self.dir, what));
        }
        Ok(cell)
    }

    /// Moves the database to a newer state. It holds the old one until the meta value is durable, and the new one
    /// from then on; a power cut at any moment leaves one of the two, whole.
    pub(super) fn advance(
        &mut self,
        log: LogId,
        (seq, hash, pages): (Seq, StateHash, u64),
        writes: impl Iterator<Item = Result<Write, DatabaseError>>,
        observe: &mut Observer<'_>,
    ) -> Result<(), DatabaseError> {
        self.remove_stale()?;
        observe(Step::Cleared, &self.dir);
        let mut written = Vec::new();
        for write in writes {
            let Write { page, saved_at, bytes } = write?;
            for (key, value) in layout::entries(page, saved_at, bytes.as_deref()) {
                guarded("write", &self.dir, || self.db.insert(key, value))?;
            }
            let stored = bytes.map(|bytes| Stored {
                saved_at,
                crc: crc32c::crc32c(&bytes),
                length: bytes.len() as u32,
            });
            written.push((page, saved_at, stored));
        }
        observe(Step::PagesWritten, &self.dir);
        database::sync(&self.db, &self.dir)?;
        observe(Step::PagesDurable, &self.dir);
        for (page, saved_at, stored) in &written {
            let found = self.read_version(page, *saved_at)?;
            if found.map(|bytes| crc32c::crc32c(&bytes)) != stored.map(|stored| stored.crc) {
                return Err(damaged(&self.dir, format!("page {page:?} reads back differently")));
            }
        }
        let meta = Meta { log, seq, hash, pages };
        guarded("write", &self.dir, || self.db.insert(META_KEY, meta.to_bytes()))?;
        observe(Step::MetaWritten, &self.dir);
        database::sync(&self.db, &self.dir)?;
        observe(Step::MetaDurable, &self.dir);
        self.meta = Some(meta);
        for (page, saved_at, stored) in written {
            let before = match stored {
                Some(stored) => self.pages.insert(page, stored),
                None => {
                    self.stale.insert(layout::key(&page, saved_at, 0));
                    self.pages.remove(&page)
                }
            };
            if let Some(before) = before.filter(|before| before.saved_at != saved_at) {
                let pieces = 0..layout::pieces(before.length as usize);
                self.stale.extend(pieces.map(|piece| layout::key(&page, before.saved_at, piece)));
            }
        }
        if self.pages.len() as u64 != pages {
            return Err(damaged(&self.dir, format!("{} pages after a save of {pages}", self.pages.len())));
        }
        self.remove_stale()?;
        observe(Step::Done, &self.dir);
        Ok(())
    }

    /// Damages a page behind everybody's back.
    #[cfg(test)]
    pub(super) fn spoil(&self, page: &PageKey) {
        let key = layout::key(page, self.pages[page].saved_at, 0);
        self.db.insert(key, b"spoilt").unwrap();
    }

    fn remove_stale(&mut self) -> Result<(), DatabaseError> {
        while let Some(key) = self.stale.pop_first() {
            guarded("write", &self.dir, || self.db.remove(&key))?;
        }
        Ok(())
    }
}

impl Version {
    fn new(page: PageKey, saved_at: Seq) -> Version {
        let stored = Stored { saved_at, crc: 0, length: 0 };
        Version { page, keys: Vec::new(), stored, gone: false, fault: None, pieces: 0 }
    }

    fn add(&mut self, key: &[u8], piece: u16, parsed: Result<layout::Piece<'_>, String>) {
        if usize::from(piece) != self.keys.len() {
            self.fault.get_or_insert_with(|| "a piece is missing".to_owned());
        }
        self.keys.push(key.to_vec());
        match parsed {
            Ok(found) => {
                self.gone = found.gone;
                self.pieces = found.count;
                self.stored.crc = crc32c::crc32c_append(self.stored.crc, found.body);
                self.stored.length += found.body.len() as u32;
            }
            Err(what) => {
                self.fault.get_or_insert(what);
            }
        }
    }
}

pub(super) fn damaged(dir: &Path, what: String) -> DatabaseError {
    DatabaseError::Damaged { path: dir.to_owned(), what }
}
