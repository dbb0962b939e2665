//! Pages: the state cut into pieces of bounded size. Snapshots, checkpoints and the state hash all use them, so what
//! a checkpoint or a hash costs is what changed, not what exists.
//!
//! | page | holds |
//! |---|---|
//! | `Meta` | settings, limits of quotas, counters |
//! | `Specs(n)` | descriptions of 64 machines |
//! | `Machines(n)` | state, version, grants of 64 machines |
//! | `Jobs(n)` | specs of 4 jobs |
//! | `Tasks(n)` | tasks of the small groups (up to 32 tasks) of 32 jobs |
//! | `Group(job, group, n)` | 512 tasks of a larger group |
//! | `Session(id)` | one session with its remembered answers |
//!
//! The sizes are chosen so that no page, at the bounds of what it holds, is larger than one record.
//!
//! What can be derived isn't stored: loads are added up again from the tasks, counters counted again.

mod encode;
mod narrow;
mod restore;
mod tracking;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::codec;
use crate::event::CellConfig;
use crate::ids::{Epoch, JobId, MachineId, Seq, SessionId, TaskId, Time, TxnId};
use crate::job::{Band, Desired, JobSpec};
use crate::machine::{Grant, MachineSpec, MachineState, Waiting};
use crate::resources::Resources;
use crate::task::{Task, TaskState};

pub use narrow::Narrow;
pub use restore::{Restore, RestoreError};
pub(crate) use tracking::Tracking;

/// Machines per page.
const MACHINES: u32 = 64;
/// Jobs per page of specs.
const JOBS: u32 = 4;
/// Jobs per page of small groups' tasks.
const SMALL_JOBS: u32 = 32;
/// Tasks of a group up to which it counts as small.
const SMALL_GROUP: usize = 32;
/// Tasks per page of a larger group.
const GROUP_TASKS: u32 = 512;

/// The name of a page. The order of names is the order of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PageKey {
    /// Settings and counters.
    Meta,
    /// Descriptions of machines.
    Specs(u32),
    /// States of machines.
    Machines(u32),
    /// Specs of jobs.
    Jobs(u32),
    /// Tasks of small groups.
    Tasks(u32),
    /// Tasks of a larger group.
    Group(JobId, u16, u32),
    /// A session.
    Session(SessionId),
    /// What one machine is to run: only in the stream of an agent, never part of the state's own pages.
    Assigned(MachineId),
}

/// A page and its bytes; `None` when the state no longer has it.
pub type Page = (PageKey, Option<Vec<u8>>);

/// A hash of the whole state: equal on every copy at the same seq.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct StateHash(pub u64);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One placement as an agent needs to know it: an element of an [`PageKey::Assigned`] page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assigned {
    /// The task.
    pub task: TaskId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The job version it runs.
    pub version: u32,
    /// Placed, running or stopping.
    pub state: TaskState,
    /// What it is promised.
    pub resources: Resources,
    /// Its ports and devices.
    pub grant: Grant,
    /// Tasks that must be gone before it starts.
    pub waits_for: Vec<TaskId>,
}

#[derive(Serialize, Deserialize)]
struct MetaPage {
    time: Time,
    config: CellConfig,
    machines: u32,
    next_job: u32,
    next_session: u32,
    quotas: Vec<(String, Band, Resources)>,
}

#[derive(Serialize, Deserialize)]
struct MachinePage {
    state: MachineState,
    version: Seq,
    changed_by: Option<(Seq, TxnId)>,
    incarnation: u64,
    reports_seen: u64,
    grants: Vec<(TaskId, Grant)>,
    waiting: Vec<Waiting>,
}

#[derive(Serialize, Deserialize)]
struct JobPage {
    id: JobId,
    desired: Desired,
    submitted: Time,
    versions: Vec<(u32, Seq, JobSpec)>,
    resized: Vec<(TaskId, Resources)>,
    /// Tasks per group, so that a restore knows when it has them all.
    sizes: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct SmallGroup {
    job: JobId,
    group: u16,
    tasks: Vec<Task>,
}

/// Each an allocation of its own at once, as the state keeps it: a page's would be left behind in pieces.
type SpecsPage = Vec<Arc<MachineSpec>>;

impl PageKey {
    /// The key as bytes whose order is the order of keys.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, a, b, c) = match *self {
            PageKey::Meta => (0, 0, 0, 0),
            PageKey::Specs(n) => (1, n, 0, 0),
            PageKey::Machines(n) => (2, n, 0, 0),
            PageKey::Jobs(n) => (3, n, 0, 0),
            PageKey::Tasks(n) => (4, n, 0, 0),
            PageKey::Group(job, group, n) => (5, job.0, group, n),
            PageKey::Session(id) => (6, id.0, 0, 0),
            PageKey::Assigned(id) => (7, id.0, 0, 0),
        };
        let mut bytes = vec![tag];
        bytes.extend(a.to_be_bytes());
        bytes.extend(b.to_be_bytes());
        bytes.extend(c.to_be_bytes());
        bytes
    }

    /// The key of these bytes, if they are one.
    pub fn from_bytes(bytes: &[u8]) -> Option<PageKey> {
        let bytes: [u8; 11] = bytes.try_into().ok()?;
        let a = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let b = u16::from_be_bytes([bytes[5], bytes[6]]);
        let c = u32::from_be_bytes([bytes[7], bytes[8], bytes[9], bytes[10]]);
        match bytes[0] {
            0 => Some(PageKey::Meta),
            1 => Some(PageKey::Specs(a)),
            2 => Some(PageKey::Machines(a)),
            3 => Some(PageKey::Jobs(a)),
            4 => Some(PageKey::Tasks(a)),
            5 => Some(PageKey::Group(JobId(a), b, c)),
            6 => Some(PageKey::Session(SessionId(a))),
            7 => Some(PageKey::Assigned(MachineId(a))),
            _ => None,
        }
    }

    pub(crate) fn of_machine(id: MachineId) -> PageKey {
        PageKey::Machines(id.0 / MACHINES)
    }

    pub(crate) fn of_machine_spec(id: MachineId) -> PageKey {
        PageKey::Specs(id.0 / MACHINES)
    }

    pub(crate) fn of_job(id: JobId) -> PageKey {
        PageKey::Jobs(id.0 / JOBS)
    }

    /// The page of a task whose group has `total` tasks.
    pub(crate) fn of_task(id: TaskId, total: usize) -> PageKey {
        if total <= SMALL_GROUP {
            PageKey::Tasks(id.job.0 / SMALL_JOBS)
        } else {
            PageKey::Group(id.job, id.group, id.index / GROUP_TASKS)
        }
    }

    /// The pages of a group of `total` tasks.
    pub(crate) fn of_group(job: JobId, group: u16, total: usize) -> Vec<PageKey> {
        if total <= SMALL_GROUP {
            return vec![PageKey::Tasks(job.0 / SMALL_JOBS)];
        }
        (0..(total as u32).div_ceil(GROUP_TASKS)).map(|n| PageKey::Group(job, group, n)).collect()
    }
}

/// The hashes of all pages, and their sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageHashes {
    by_key: BTreeMap<PageKey, u64>,
    sum: u64,
}

impl PageHashes {
    fn set(&mut self, key: PageKey, bytes: Option<&[u8]>) {
        let before = match bytes {
            Some(bytes) => {
                let seed = xxhash_rust::xxh3::xxh3_64(&key.to_bytes());
                let hash = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed);
                self.sum = self.sum.wrapping_add(hash);
                self.by_key.insert(key, hash)
            }
            None => self.by_key.remove(&key),
        };
        self.sum = self.sum.wrapping_sub(before.unwrap_or(0));
    }
}

impl Cell {
    /// The hash of the state. Costs what changed since the last call; the first one everything.
    pub fn hash(&mut self) -> StateHash {
        self.hash_pages(|_, _| {})
    }

    /// Keeps the names of changed pages from here on, for [`Cell::take_changed`]: somebody has the pages as they are
    /// now, and will want to know which of them are gone.
    pub fn list_changes(&mut self) {
        self.pages.start_listing();
    }

    /// Pages that changed since the last call, and possibly a few that did not; from the first call all that exist,
    /// and those that are gone since [`Cell::list_changes`]. A page that no longer exists encodes as `None`.
    pub fn take_changed(&mut self) -> Vec<PageKey> {
        let mut tracking = std::mem::take(&mut self.pages);
        let keys = tracking.take_changed(|| self.page_keys());
        self.pages = tracking;
        keys
    }

    /// The hash of the state together with the pages [`Cell::take_changed`] would name, each encoded once for both.
    pub fn take_pages(&mut self) -> (StateHash, Vec<Page>) {
        let mut pages = Vec::new();
        let hash = self.hash_pages(|key, bytes| pages.push((key, bytes)));
        // Those that an earlier hash had encoded are to be encoded again.
        let hashed = pages.len();
        for key in self.take_changed() {
            if pages[..hashed].binary_search_by_key(&key, |(key, _)| *key).is_err() {
                pages.push((key, self.encode_page(&key)));
            }
        }
        (hash, pages)
    }

    /// Stops noting which pages change, until somebody asks again: for a state that nobody hashes from here on.
    pub fn forget_pages(&mut self) {
        self.pages = Tracking::default();
        self.hashes = PageHashes::default();
    }

    fn hash_pages(&mut self, mut seen: impl FnMut(PageKey, Option<Vec<u8>>)) -> StateHash {
        let mut tracking = std::mem::take(&mut self.pages);
        let (keys, first) = tracking.take_stale(|| self.page_keys());
        self.pages = tracking;
        if first {
            self.hashes = PageHashes::default();
        }
        for key in keys {
            let bytes = self.encode_page(&key);
            self.hashes.set(key, bytes.as_deref());
            seen(key, bytes);
        }
        StateHash(self.hashes.sum ^ self.seq.0.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The placements one machine is to run, for its agent.
    pub fn assigned(&self, machine: MachineId) -> Vec<Assigned> {
        let Some(machine) = self.machine(machine) else { return Vec::new() };
        let load = &machine.load;
        let mut tasks = load.tasks.clone();
        tasks.sort_unstable();
        let assigned = tasks.into_iter().filter_map(|id| {
            let task = self.task(id)?;
            let waiting = load.extra().waiting.iter().find(|w| w.task == id);
            Some(Assigned {
                task: id,
                epoch: task.epoch,
                version: task.version,
                state: task.state,
                resources: self.charge(id),
                grant: load.extra().grants.get(&id).cloned().unwrap_or_default(),
                waits_for: waiting.map(|w| w.victims.iter().map(|(v, _)| *v).collect()).unwrap_or_default(),
            })
        });
        assigned.collect()
    }
}

/// Encodes the body of an [`PageKey::Assigned`] page.
pub fn encode_assigned(assigned: &[Assigned]) -> Vec<u8> {
    codec::encode(assigned)
}
