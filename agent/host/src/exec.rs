//! The exec driver: tasks as processes of this machine, each under a shim that outlives the agent.

mod launch;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use agent::{Found, PlacementId, Signal, Start};
use cell_state::JobId;
use cell_state::machine::MachineSpec;
use cell_state::task::{Exit, NotStarted};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

use crate::bounds::{ENDED_DIRS_MAX, ENDS_PER_SWEEP, PROCESS_NEWS_MAX, STARTS_AT_ONCE};
use crate::process::{self, Identity};
use crate::task_dir::{Live, TaskDir};
use watch::Watched;

/// Something that happened to a placement's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
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
            Exit::Code(_) | Exit::Signal(_) | Exit::Unseen => Happened::Ended(id, exit),
        }
    }
}

/// What a start led to.
enum Spawned {
    /// A shim.
    New(TaskDir, Identity, Child),
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

/// The driver. Dropping it, or the receiver of what happened, leaves every process as it is.
pub struct Exec {
    shared: Arc<Shared>,
    ends: u32,
}

struct Shared {
    root: PathBuf,
    shim: ShimProgram,
    machine: Arc<MachineSpec>,
    news: mpsc::Sender<Happened>,
    starts: Semaphore,
    live: Mutex<BTreeMap<PlacementId, Watched>>,
}

impl Exec {
    /// Opens the directory of tasks, and finds what earlier agents started there. What is still there is watched
    /// from now on.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(
        root: PathBuf,
        shim: ShimProgram,
        machine: Arc<MachineSpec>,
    ) -> io::Result<(Exec, Vec<Found>, mpsc::Receiver<Happened>)> {
        std::fs::create_dir_all(&root)?;
        let (news, happened) = mpsc::channel(PROCESS_NEWS_MAX);
        let starts = Semaphore::new(STARTS_AT_ONCE);
        let shared = Arc::new(Shared { root, shim, machine, news, starts, live: Mutex::default() });
        let mut found = Vec::new();
        for (id, dir) in TaskDir::list(&shared.root)? {
            // A directory without a readable spec never came to a start.
            let Ok(launch) = dir.launch() else { continue };
            let exit = shared.find(id, &dir)?;
            found.extend(exit.map(|exit| Found { intent: launch.intent, exit }));
        }
        Ok((Exec { shared, ends: 0 }, found, happened))
    }

    /// Starts a placement; what comes of it is told later.
    pub fn start(&self, start: Start) {
        let span = tracing::info_span!("run", task = %start.intent.id.task, epoch = start.intent.id.epoch);
        tokio::spawn(Arc::clone(&self.shared).start(start).instrument(span));
    }

    /// Signals the processes of a placement.
    pub fn signal(&self, id: PlacementId, signal: Signal) {
        tracing::debug!(placement = %id, ?signal, "signal");
        if let Some(watched) = self.shared.live().get_mut(&id) {
            watched.signal(signal);
        }
    }

    /// Notes an end, and now and then removes the oldest directories.
    pub fn note_end(&mut self) {
        self.ends += 1;
        if self.ends.is_multiple_of(ENDS_PER_SWEEP) {
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || shared.sweep(|_| false));
        }
    }

    /// Removes the directories of jobs that the cell has forgotten.
    pub fn forget_jobs(&self, jobs: Vec<JobId>) {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.sweep(|id| jobs.contains(&id.task.job)));
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, BTreeMap<PlacementId, Watched>> {
        self.live.lock().expect("nothing panics while it holds this lock")
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
                let ruled_out = Live { boot: boot.clone(), shim: None, child: None };
                if dir.claim(&ruled_out)? {
                    return Ok(None);
                }
                dir.live()?.unwrap_or(ruled_out)
            }
        };
        let Some(shim) = live.shim.filter(|_| live.boot == boot) else { return Ok(None) };
        self.live().insert(id, Watched::new(dir.clone(), shim));
        tokio::spawn(Arc::clone(self).watch(id, dir.clone(), shim, None));
        Ok(Some(None))
    }

    async fn start(self: Arc<Shared>, start: Start) {
        let id = start.intent.id;
        let Ok(place) = self.starts.acquire().await else { return };
        let shared = Arc::clone(&self);
        let spawned = tokio::task::spawn_blocking(move || shared.spawn(&start)).await;
        let (dir, shim, mut child) = match spawned {
            Ok(Spawned::New(dir, shim, child)) => (dir, shim, child),
            // Watched since; its end is told when it comes.
            Ok(Spawned::There) => return self.tell(Happened::Started(id)).await,
            Ok(Spawned::Over(exit)) => return self.tell(Happened::of(id, exit)).await,
            // The runtime is shutting down.
            Err(_) => return,
        };
        self.live().insert(id, Watched::new(dir.clone(), shim));
        let started = tokio::select! {
            started = has_started(&mut child) => started,
            () = self.news.closed() => return,
        };
        drop(place);
        if started {
            tracing::info!("started");
            self.tell(Happened::Started(id)).await;
        }
        self.watch(id, dir, shim, Some(child)).await;
    }

    /// Makes the directory and spawns the shim.
    fn spawn(self: &Arc<Shared>, start: &Start) -> Spawned {
        let id = start.intent.id;
        let dir = TaskDir::of(&self.root, id);
        match self.earlier(id, &dir, start.incarnation) {
            Ok(None) => {}
            Ok(Some(Some(exit))) => return Spawned::Over(exit),
            Ok(Some(None)) => return Spawned::There,
            Err(error) => return failed(&dir, &error),
        }
        let Some(launch) = launch::launch(start, &self.machine, &dir) else {
            return Spawned::Over(Exit::NotStarted(NotStarted::NoDriver));
        };
        match dir.create(&launch).and_then(|()| self.spawn_shim(&dir)) {
            Ok(child) => match Identity::of(child.id() as i32) {
                Some(shim) => Spawned::New(dir, shim, child),
                None => unreachable!("a child is known to the kernel until it is reaped"),
            },
            Err(error) => failed(&dir, &error),
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
        if shim.is_some_and(|shim| shim.is_alive()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        dir.remove()?;
        Ok(None)
    }

    fn spawn_shim(&self, dir: &TaskDir) -> io::Result<Child> {
        let log = std::fs::File::create(dir.path().join("shim.log"))?;
        let mut command = Command::new(&self.shim.path);
        command.arg0("ohm").args(&self.shim.args).arg("run").arg(dir.path()).args(&self.shim.args);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.spawn()
    }

    /// Waits until nothing of a placement is left, and tells how it ended.
    async fn watch(self: Arc<Shared>, id: PlacementId, dir: TaskDir, shim: Identity, child: Option<Child>) {
        let pidfd = self.live().get(&id).and_then(Watched::pidfd);
        let exit = tokio::select! {
            () = watch::gone(shim, pidfd) => watch::exit(dir, shim, child).await,
            () = self.news.closed() => return,
        };
        self.live().remove(&id);
        let Some(exit) = exit else { return };
        tracing::info!(placement = %id, ?exit, "ended");
        self.tell(Happened::of(id, exit)).await;
    }

    async fn tell(&self, happened: Happened) {
        // Fails when the agent is stopping; the next one reads it from the directory.
        let _ = self.news.send(happened).await;
    }

    /// Removes directories of ended placements: those that `which` names, and the oldest of too many.
    fn sweep(&self, which: impl Fn(PlacementId) -> bool) {
        let Ok(all) = TaskDir::list(&self.root) else { return };
        let ended = all.into_iter().filter(|(id, _)| !self.live().contains_key(id));
        let mut ended: Vec<_> = ended.filter_map(|(id, dir)| Some((dir.ended_at()?, id, dir))).collect();
        ended.sort_by_key(|(at, id, _)| (*at, *id));
        let surplus = ended.len().saturating_sub(ENDED_DIRS_MAX);
        for (n, (_, id, dir)) in ended.into_iter().enumerate() {
            if n < surplus || which(id) {
                remove(&dir);
            }
        }
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

/// Reads the shim's word: true when the command has taken over, false when the shim ended without saying so.
async fn has_started(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else { return false };
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(stdout.into()) else { return false };
    let mut word = [0; crate::shim::STARTED.len()];
    pipe.read_exact(&mut word).await.is_ok_and(|_| word == crate::shim::STARTED)
}

/// The directory of tasks in a data directory.
pub fn root(data: &Path) -> PathBuf {
    data.join("tasks")
}
