//! The exec driver: tasks as processes of this machine, each under a shim that outlives the agent.

mod ended;
mod launch;
mod nursery;
mod starts;
mod supply;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use agent::{Found, PlacementId, Signal, Start};
use cell_state::JobId;
use cell_state::machine::MachineSpec;
use cell_state::task::{Exit, NotStarted};
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::artifacts::Artifacts;
use crate::bounds::PROCESS_NEWS_MAX;
use crate::config::GivenSettings;
use crate::isolation::Settings;
use crate::isolation::ability::Ability;
use crate::process::{self, Identity};
use crate::reserve::Reserve;
use crate::secrets::Secrets;
use crate::task_dir::{Live, TaskDir};
use ended::Ended;
use nursery::Nursery;
use starts::Starts;
use watch::Watched;

/// Something that happened to a placement's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// What it is to be given is at hand.
    Prepared(PlacementId),
    /// The command runs.
    Started(PlacementId),
    /// It could not be started.
    NotStarted(PlacementId, NotStarted),
    /// It is gone, with all that it started.
    Ended(PlacementId, Exit),
}

impl Happened {
    fn of(id: PlacementId, exit: Exit) -> Happened {
        match exit {
            Exit::NotStarted(why) => Happened::NotStarted(id, why),
            Exit::Code(_) | Exit::Signal(_) | Exit::Unseen | Exit::OutOfMemory(_) => {
                Happened::Ended(id, exit)
            }
        }
    }
}

/// What a start led to.
enum Spawned {
    /// A shim is being forked.
    New,
    /// It had happened already, and is going on.
    There,
    /// Nothing is going on.
    Over(Exit),
}

/// The program that is a shim.
#[derive(Clone, Debug)]
pub struct ShimProgram {
    /// Its file.
    pub path: PathBuf,
    /// What it needs before the shim's own arguments.
    pub args: Vec<OsString>,
}

/// Why a driver can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of tasks can't be made or read.
    #[error("can't use the directory of tasks")]
    Directory(#[from] io::Error),
    /// Tasks can't be kept apart as the settings say.
    #[error("can't isolate tasks: {0}")]
    Isolation(io::Error),
    /// What tasks are to be given can't be had.
    #[error("can't give tasks what they may have: {0}")]
    Given(io::Error),
}

/// The driver. Dropping it, or the receiver of what happened, leaves every process as it is.
pub struct Exec {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    shim: ShimProgram,
    machine: MachineSpec,
    ability: Ability,
    artifacts: Arc<Artifacts>,
    secrets: Option<Secrets>,
    news: mpsc::Sender<Happened>,
    starts: Starts,
    nursery: Mutex<Option<Nursery>>,
    live: Mutex<BTreeMap<PlacementId, Watched>>,
    ended: Mutex<Ended>,
    reserve: Reserve,
    runtime: Handle,
}

impl Exec {
    /// Opens the directory of tasks, tries what this machine can enforce, and finds what earlier agents started there. What is still there is watched
    /// from now on.
    ///
    /// # Errors
    /// A directory can't be made or read, what tasks are to be given can't be had, there is no thread to start tasks with, or tasks would have more rights than
    /// the settings say.
    pub fn open(
        root: PathBuf,
        shim: ShimProgram,
        machine: &MachineSpec,
        settings: &Settings,
        given: GivenSettings,
    ) -> Result<(Exec, Vec<Found>, mpsc::Receiver<Happened>), OpenError> {
        std::fs::create_dir_all(&root)?;
        let ability = Ability::probe(settings, &machine.name, data_of(&root), &shim);
        let ability = ability.map_err(OpenError::Isolation)?;
        let artifacts = Artifacts::open(root.with_file_name("artifacts"), given.artifacts);
        let artifacts = Arc::new(artifacts.map_err(OpenError::Given)?);
        let secrets = given.secrets.as_deref().map(Secrets::open).transpose().map_err(OpenError::Given)?;
        let (news, happened) = mpsc::channel(PROCESS_NEWS_MAX);
        let shared = Arc::new(Shared {
            ended: Mutex::new(Ended::find(&root)?),
            reserve: Reserve::of(data_of(&root)),
            root,
            shim,
            machine: machine.clone(),
            ability,
            artifacts,
            secrets,
            news,
            starts: Starts::default(),
            nursery: Mutex::default(),
            live: Mutex::default(),
            runtime: Handle::current(),
        });
        let mut found = Vec::new();
        for (id, dir) in TaskDir::list(&shared.root)? {
            // A directory without a readable spec never came to a start.
            let Ok(launch) = dir.launch() else { continue };
            let exit = shared.find(id, &dir)?;
            found.extend(exit.map(|exit| Found { intent: launch.intent, exit }));
        }
        let starter = Arc::clone(&shared);
        thread::Builder::new().name("starts".to_owned()).spawn(move || {
            while let Some(start) = starter.starts.next() {
                starter.start_beside(start);
            }
        })?;
        Ok((Exec { shared }, found, happened))
    }

    /// What this machine can enforce, and what it has for tasks, as attributes of it.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.shared.ability.attributes();
        attributes.extend(self.shared.artifacts.attributes());
        attributes.extend(self.shared.secrets.as_ref().map(|_| Secrets::attribute()));
        attributes
    }

    /// What it can't enforce, in words.
    pub fn missing(&self) -> Vec<&'static str> {
        self.shared.ability.missing()
    }

    /// Starts a placement; what comes of it is told later.
    pub fn start(&self, start: Start) {
        self.shared.starts.add(start);
    }

    /// Signals the processes of a placement.
    pub fn signal(&self, id: PlacementId, signal: Signal) {
        tracing::debug!(placement = %id, ?signal, "signal");
        if let Some(watched) = self.shared.live().get_mut(&id) {
            watched.signal(signal);
        }
    }

    /// Removes the directories of jobs that the cell has forgotten.
    pub fn forget_jobs(&self, jobs: Vec<JobId>) {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let forgotten = shared.ended().take(|id| jobs.contains(&id.task.job));
            forgotten.into_iter().for_each(|id| remove(&TaskDir::of(&shared.root, id)));
        });
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.shared.starts.close();
        if self.shared.live().is_empty() {
            self.shared.ability.release();
        }
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, BTreeMap<PlacementId, Watched>> {
        self.live.lock().expect("nothing panics while it holds this lock")
    }

    fn ended(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().expect("nothing panics while it holds this lock")
    }

    /// What became of an earlier start: `Some(None)` is watched from now on, `None` never came to run.
    fn find(self: &Arc<Shared>, id: PlacementId, dir: &TaskDir) -> io::Result<Option<Option<Exit>>> {
        if let Some(exit) = dir.exit()? {
            return Ok(Some(Some(exit)));
        }
        let boot = process::boot_id();
        let live = match dir.live()? {
            Some(live) => live,
            None => {
                // A shim may be about to take it: whoever makes the file has the start.
                let ruled_out = Live { boot: boot.clone(), shim: None };
                if dir.claim(&ruled_out)? {
                    return Ok(None);
                }
                dir.live()?.unwrap_or(ruled_out)
            }
        };
        let Some(shim) = live.shim.filter(|_| live.boot == boot) else { return Ok(None) };
        self.live().insert(id, Watched::found(dir.clone(), shim));
        self.runtime.spawn(Arc::clone(self).watch(id, dir.clone(), shim));
        Ok(Some(None))
    }

    /// Starts a placement, on the thread for that.
    fn start(self: &Arc<Shared>, start: &Start) {
        let id = start.intent.id;
        let span = tracing::info_span!("run", task = %id.task, epoch = id.epoch);
        let _entered = span.enter();
        let happened = match self.spawn(start) {
            // The shim tells the rest.
            Spawned::New => return,
            // Watched since; its end is told when it comes.
            Spawned::There => Happened::Started(id),
            Spawned::Over(exit) => Happened::of(id, exit),
        };
        self.starts.settled();
        // Fails when the agent is stopping.
        let _ = self.news.blocking_send(happened);
    }

    /// Makes the directory and has a shim forked for it.
    fn spawn(self: &Arc<Shared>, start: &Start) -> Spawned {
        let id = start.intent.id;
        let dir = TaskDir::of(&self.root, id);
        match self.earlier(id, &dir, start.incarnation) {
            Ok(None) => {}
            Ok(Some(Some(exit))) => return Spawned::Over(exit),
            Ok(Some(None)) => return Spawned::There,
            Err(error) => return failed(&dir, &error),
        }
        let data = data_of(&self.root);
        if !self.reserve.has_room() {
            return failed(&dir, &Errno::NOSPC.into());
        }
        let launch =
            match launch::launch(start, &self.machine, &self.ability, &dir, data, self.secrets.as_ref()) {
                Ok(launch) => launch,
                Err(why) => return Spawned::Over(Exit::NotStarted(why)),
            };
        if let Err(error) = dir.create(&launch) {
            return failed(&dir, &error);
        }
        if let Err(why) = self.supply(start, &launch, &dir) {
            // Nothing ran, and half of what it was to be given is of no use to anybody.
            remove(&dir);
            return Spawned::Over(Exit::NotStarted(why));
        }
        match self.fork_shim(id, &dir) {
            Ok(()) => Spawned::New,
            Err(error) => {
                self.live().remove(&id);
                failed(&dir, &error)
            }
        }
    }

    /// What became of an earlier start of this placement. The records don't know of one, so either they have lost it,
    /// or the directory is of other records and goes.
    fn earlier(
        self: &Arc<Shared>,
        id: PlacementId,
        dir: &TaskDir,
        incarnation: u64,
    ) -> io::Result<Option<Option<Exit>>> {
        if !dir.path().exists() {
            return Ok(None);
        }
        let same = dir.launch().is_ok_and(|launch| launch.incarnation == incarnation);
        if same && let Some(exit) = self.find(id, dir)? {
            return Ok(Some(exit));
        }
        let shim = dir.live()?.and_then(|live| live.shim);
        if same && shim.is_some() {
            return Ok(Some(Some(Exit::Unseen)));
        }
        // One that has said how its task ended is only about to go.
        if shim.is_some_and(|shim| shim.is_alive()) && dir.exit()?.is_none() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        dir.remove()?;
        Ok(None)
    }

    /// Waits until nothing of a placement is left whose shim isn't watched by a nursery, and tells how it ended.
    async fn watch(self: Arc<Shared>, id: PlacementId, dir: TaskDir, shim: Identity) {
        let pidfd = self.live().get_mut(&id).and_then(Watched::pidfd);
        tokio::select! {
            () = watch::gone(shim, pidfd) => self.look_at_end(id, dir, Some(shim)).await,
            () = self.news.closed() => {}
        }
    }

    /// Looks how the task of a shim that is gone ended, and tells it.
    async fn look_at_end(&self, id: PlacementId, dir: TaskDir, shim: Option<Identity>) {
        if let Some(exit) = watch::exit(dir, shim).await {
            self.over(id, exit).await;
        }
    }

    /// A placement is over: told once, whoever noticed it.
    async fn over(&self, id: PlacementId, exit: Exit) {
        let Some(watched) = self.live().remove(&id) else { return };
        if watched.is_starting() {
            self.starts.settled();
        }
        tracing::info!(placement = %id, ?exit, "ended");
        self.tell(Happened::of(id, exit)).await;
        let surplus = self.ended().add(id);
        if !surplus.is_empty() {
            let root = self.root.clone();
            tokio::task::spawn_blocking(move || {
                surplus.into_iter().for_each(|id| remove(&TaskDir::of(&root, id)));
            });
        }
    }

    async fn tell(&self, happened: Happened) {
        // Fails when the agent is stopping; the next one reads it from the directory.
        let _ = self.news.send(happened).await;
    }
}

fn remove(dir: &TaskDir) {
    if let Err(error) = dir.remove() {
        tracing::warn!(dir = %dir.path().display(), %error, "can't remove the directory of an ended task");
    }
}

fn failed(dir: &TaskDir, error: &io::Error) -> Spawned {
    tracing::error!(dir = %dir.path().display(), %error, "can't start a shim");
    Spawned::Over(Exit::NotStarted(match error.kind() {
        ErrorKind::PermissionDenied => NotStarted::PermissionDenied,
        _ => NotStarted::Os(error.raw_os_error().unwrap_or(0)),
    }))
}

/// The data directory that a directory of tasks is in.
fn data_of(root: &Path) -> &Path {
    root.parent().unwrap_or(root)
}

/// The directory of tasks in a data directory.
pub fn root(data: &Path) -> PathBuf {
    data.join("tasks")
}

/// The shims of tasks that go on in a data directory, by pid.
pub fn shims(data: &Path) -> Vec<i32> {
    let boot = process::boot_id();
    let all = TaskDir::list(&root(data)).unwrap_or_default().into_iter();
    let live = all.filter_map(|(_, dir)| dir.live().ok().flatten()).filter(|live| live.boot == boot);
    live.filter_map(|live| live.shim).filter(Identity::is_alive).map(|shim| shim.pid).collect()
}
