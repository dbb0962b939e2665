//! A disk in memory that misbehaves on request, for tests and soaks of the log: it fails, tears or fills up at the
//! n-th operation, has only so much room, and forgets at a power cut whatever was not synced, in any order.
//!
//! The model: a file's bytes are durable once it is synced; until then each 512-byte sector that was written may or
//! may not survive. Names (files made, renamed, deleted) survive in order, up to some point, once the directory is
//! synced all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The operation has no effect and fails.
    Fails,
    /// Half of a write takes effect, then it fails; other operations take effect and fail.
    Tears,
    /// All of a write but its last byte takes effect, then it fails; other operations take effect and fail.
    Short,
    /// A sync fails, and what wasn't durable by then is forgotten, as if it had never been written: some kernels drop
    /// such pages and report the next sync as fine. Other operations have no effect and fail.
    Drops,
    /// A write or a new file finds the disk full; other operations go on.
    Full,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] = [Fault::Fails, Fault::Tears, Fault::Short, Fault::Drops, Fault::Full];
}

/// The disk. A clone is the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since the last sync of a directory.
    pending: Vec<NameChange>,
    next_file: u64,
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// After its fault the disk stays broken, unless that is switched off.
    heals: bool,
    broken: bool,
    /// Bytes that all files together may have, if there is a limit.
    room: Option<usize>,
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Sectors that differ, or may differ, from the durable ones.
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum NameChange {
    Add(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

struct FaultyFile {
    disk: Arc<Mutex<State>>,
    file: u64,
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> FaultyDisk {
        FaultyDisk::default()
    }

    /// Operations that change something, so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Makes the `n`-th changing operation from now on (from 0) go wrong; all after it fail too, unless it `heals`.
    pub fn break_at(&self, n: u64, fault: Fault, heals: bool) {
        let mut state = self.0.lock();
        state.fault = Some((state.operations + n, fault));
        state.heals = heals;
        state.broken = false;
    }

    /// Bytes that all files together may have from now on. A write that goes beyond takes effect as far as there is room,
    /// then it fails; what is there stays, and deleting files makes room again.
    pub fn limit_to(&self, bytes: Option<usize>) {
        self.0.lock().room = bytes;
    }

    /// Bytes of all files together.
    pub fn bytes_used(&self) -> usize {
        self.0.lock().used()
    }

    /// The disk as it is found after a power cut at this moment, with the survivors drawn from `seed`.
    pub fn after_power_cut(&self, seed: u64) -> FaultyDisk {
        let state = self.0.lock();
        let mut chance = Chance(seed);
        let mut names = state.durable_names.clone();
        let survivors = chance.below(state.pending.len() as u64 + 1) as usize;
        for change in &state.pending[..survivors] {
            change.apply(&mut names);
        }
        let mut files = BTreeMap::new();
        for file in names.values() {
            let bytes = state.files[file].survivors(&mut chance);
            files.insert(*file, Content { durable: bytes.clone(), current: bytes, dirty: BTreeSet::new() });
        }
        let (durable_names, next_file, room) = (names.clone(), state.next_file, state.room);
        let state = State { files, names, durable_names, next_file, room, ..State::default() };
        FaultyDisk(Arc::new(Mutex::new(state)))
    }

    /// The bytes of a file as a reader sees them.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        Some(state.files[state.names.get(path)?].current.clone())
    }

    /// Replaces the bytes of a file, durably: for flipping bits.
    ///
    /// # Panics
    /// There is no such file.
    pub fn set_bytes(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let file = state.names[path];
        state.files.insert(file, Content { durable: bytes.clone(), current: bytes, dirty: BTreeSet::new() });
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }
}

impl State {
    /// Counts an operation; says what goes wrong with it.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.broken {
            return Err(io::Error::other("the disk is broken"));
        }
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == number => {
                self.broken = !self.heals;
                match fault {
                    Fault::Fails => Err(io::Error::other("the disk failed")),
                    Fault::Tears | Fault::Short | Fault::Drops | Fault::Full => Ok(Some(fault)),
                }
            }
            Some(_) | None => Ok(None),
        }
    }

    fn change(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.begin()?;
        match fault {
            Some(Fault::Full) if matches!(change, NameChange::Add(..)) => return Err(full()),
            Some(Fault::Drops) => return torn(fault),
            Some(Fault::Fails | Fault::Tears | Fault::Short | Fault::Full) | None => {}
        }
        change.apply(&mut self.names);
        self.pending.push(change);
        torn(fault)
    }

    /// Bytes of the files that have a name.
    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[file].current.len()).sum()
    }

    /// How much of a write there is room for.
    fn fits(&self, file: u64, offset: usize, length: usize) -> usize {
        let Some(room) = self.room else { return length };
        let has = self.files[&file].current.len();
        let left = room.saturating_sub(self.used());
        length.min((has + left).saturating_sub(offset))
    }
}

fn torn(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::Tears | Fault::Short | Fault::Drops) => {
            Err(io::Error::other("the disk failed after the fact"))
        }
        Some(Fault::Fails | Fault::Full) | None => Ok(()),
    }
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    /// The durable bytes with some of the dirty sectors.
    fn survivors(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for sector in &self.dirty {
            if chance.below(2) == 0 {
                continue;
            }
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.current.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(&self.current[start..end]);
        }
        bytes
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        // Directories come and go with their files in this model.
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        if state.names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Content::default());
        state.change(NameChange::Add(path.to_owned(), file))?;
        Ok(Box::new(FaultyFile { disk: self.0.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.0.lock();
        match state.names.get(path) {
            Some(file) => Ok(Box::new(FaultyFile { disk: self.0.clone(), file: *file })),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.names.contains_key(from) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        state.change(NameChange::Remove(path.to_owned()))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let fault = state.begin()?;
        if fault == Some(Fault::Drops) {
            state.names = state.durable_names.clone();
        } else {
            state.durable_names = state.names.clone();
        }
        state.pending.clear();
        torn(fault)
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let fault = state.begin()?;
        let (offset, fits) = (offset as usize, state.fits(self.file, offset as usize, bytes.len()));
        let content = state.files.get_mut(&self.file).expect("an open file has content");
        match fault {
            Some(Fault::Full) => return Err(full()),
            Some(Fault::Drops) => {}
            Some(Fault::Fails | Fault::Tears) => content.write(&bytes[..bytes.len() / 2], offset),
            Some(Fault::Short) => content.write(&bytes[..bytes.len().saturating_sub(1)], offset),
            None => content.write(&bytes[..fits], offset),
        }
        torn(fault)?;
        if fits < bytes.len() { Err(full()) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let current = &state.files[&self.file].current;
        let start = (offset as usize).min(current.len());
        let read = buffer.len().min(current.len() - start);
        buffer[..read].copy_from_slice(&current[start..start + read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let fault = state.begin()?;
        let content = state.files.get_mut(&self.file).expect("an open file has content");
        if fault == Some(Fault::Drops) {
            content.current.clone_from(&content.durable);
        } else {
            content.durable.clone_from(&content.current);
        }
        content.dirty.clear();
        torn(fault)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[&self.file].current.len() as u64)
    }
}

/// Numbers that look random and depend on the seed alone (SplitMix64).
#[derive(Clone, Copy, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
