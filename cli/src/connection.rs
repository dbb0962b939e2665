//! The connection of a command to its server: which server, which credentials, and one method per question.

mod credentials;
mod tasks;

use std::cell::RefCell;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cell_state::admit::Answer;
use cell_state::job::{Band, JobSpec};
use cell_state::machine::MachineState;
use cell_state::{Cell, JobId, MachineId, Resources, Seq, TxnId};
use transport::bounds::ROWS_MAX;
use transport::message::{Refusal, ServerStatus};
use transport::view::{Attempt, Body, CellView, ConflictCount, JobRow, JobView, MachineRow, MachineView};
use transport::view::{Query, SchedulerView};
use transport::{Reply, Request};
use transport_quic::pki::Credentials;
use transport_quic::{CallError, Client};

use crate::bounds::{BUSY_PAUSE, LEAVE_WAIT, POLL_EVERY, RECONNECT_MAX};
use crate::copy::copy;
use crate::failure::{Failure, told};
use crate::typed::connect::ConnectArgs;

/// Where to connect and as whom: checked, nothing opened yet.
#[derive(Clone)]
pub(crate) struct Connection {
    server: SocketAddr,
    credentials: Credentials,
}

/// The directory of the certificates: what was given, else `$HOME/.ohm/pki`.
///
/// # Errors
/// Nothing was given and there is no home directory.
pub(crate) fn pki_dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
    }
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty());
    let home =
        home.ok_or_else(|| Failure::Input("--pki: HOME is not set; give --pki DIR or OHM_PKI".to_owned()))?;
    Ok(PathBuf::from(home).join(".ohm").join("pki"))
}

/// The address a text names; a host name is looked up.
///
/// # Errors
/// It names none.
pub(crate) fn address(option: &str, text: &str) -> Result<SocketAddr, Failure> {
    let wrong = |reason: String| {
        Failure::Input(format!(
            "{option}: {text:?} is no address ({reason}); write HOST:PORT, such as 127.0.0.1:7447"
        ))
    };
    let mut found = text.to_socket_addrs().map_err(|e| wrong(e.to_string()))?;
    found.next().ok_or_else(|| wrong("the host has no address".to_owned()))
}

impl Connection {
    /// To this server, with these credentials.
    pub(crate) fn to(server: SocketAddr, credentials: Credentials) -> Connection {
        Connection { server, credentials }
    }

    /// Checks what was typed: the address means something, the credentials are there.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn check(args: &ConnectArgs) -> Result<Connection, Failure> {
        let server = address("--server", &args.server)?;
        let pki = pki_dir(args.pki.as_deref())?;
        let (role, name) = credentials::choose(&pki, args.role, args.name.as_deref())?;
        Ok(Connection { server, credentials: Credentials::load(&pki, role, &name)? })
    }

    /// Connects.
    ///
    /// # Errors
    /// The server can't be reached, or one side does not trust the other.
    pub(crate) async fn open(self) -> Result<Asker, Failure> {
        let client = self.connect().await?;
        Ok(Asker { connection: self, client })
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let connected = Client::connect(self.server, &self.credentials).await;
        connected.map_err(|e| Failure::Unreachable { server: self.server.to_string(), reason: told(&e) })
    }
}

/// An open connection. A broken one is opened again: every question may safely be asked twice.
pub(crate) struct Asker {
    connection: Connection,
    client: Client,
}

thread_local! {
    /// Connections that are no longer needed: the server is told before the process exits.
    static LEAVING: RefCell<Vec<Client>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Asker {
    fn drop(&mut self) {
        LEAVING.with_borrow_mut(|leaving| leaving.push(self.client.clone()));
    }
}

/// Ends the connections of commands that are done. The server need not confirm it; the word must only get out.
pub(crate) async fn leave() {
    for client in LEAVING.with_borrow_mut(std::mem::take) {
        client.close("done");
        tokio::time::timeout(LEAVE_WAIT, client.closed()).await.ok();
    }
}

impl Asker {
    /// A copy of the whole cell in this process, at least as new as this question.
    pub(crate) async fn copy(&mut self) -> Result<Cell, Failure> {
        Ok(copy(&self.client).await?)
    }

    /// Asks, waits while the server is busy, and reconnects when the connection breaks.
    async fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        let until = Instant::now() + RECONNECT_MAX;
        loop {
            match self.client.call(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(CallError::Refused(Refusal::Busy)) if Instant::now() < until => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(CallError::Lost(reason)) if Instant::now() < until => {
                    self.reconnect(until, &reason).await?
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn reconnect(&mut self, until: Instant, reason: &str) -> Result<(), Failure> {
        eprintln!("ohm: the connection broke ({reason}); connecting again");
        loop {
            match self.connection.connect().await {
                Ok(client) => {
                    self.client = client;
                    return Ok(());
                }
                Err(failure) if Instant::now() >= until => return Err(failure),
                Err(_) => tokio::time::sleep(POLL_EVERY).await,
            }
        }
    }

    pub(crate) async fn status(&mut self) -> Result<ServerStatus, Failure> {
        match self.ask(Request::Status).await? {
            Reply::Status(status) => Ok(status),
            other => Err(odd(&other)),
        }
    }

    async fn read(&mut self, at: Option<Seq>, query: Query) -> Result<(Seq, Body), Failure> {
        match self.ask(Request::Read { at, query }).await? {
            Reply::View(view) => Ok((view.at, view.body)),
            other => Err(odd(&other)),
        }
    }

    pub(crate) async fn cell(&mut self, at: Option<Seq>) -> Result<(Seq, CellView), Failure> {
        match self.read(at, Query::Cell).await? {
            (seq, Body::Cell(cell)) => Ok((seq, *cell)),
            _ => Err(Failure::Answer("a cell")),
        }
    }

    /// All jobs, read page by page.
    pub(crate) async fn jobs(&mut self, at: Option<Seq>) -> Result<Vec<JobRow>, Failure> {
        let mut all: Vec<JobRow> = Vec::new();
        let mut from = JobId(0);
        loop {
            let page = match self.read(at, Query::Jobs { from, limit: ROWS_MAX }).await? {
                (_, Body::Jobs(rows)) => rows,
                _ => return Err(Failure::Answer("jobs")),
            };
            let Some(last) = page.last() else { return Ok(all) };
            from = JobId(last.id.0 + 1);
            let full = page.len() >= ROWS_MAX as usize;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// One job with a page of its tasks; the name may be a unique prefix.
    pub(crate) async fn job(
        &mut self,
        at: Option<Seq>,
        name: &str,
        skip: u32,
        limit: u32,
    ) -> Result<(Seq, JobView), Failure> {
        match self.read(at, Query::Job { name: name.to_owned(), skip, limit }).await? {
            (seq, Body::Job(job)) => Ok((seq, *job)),
            _ => Err(Failure::Answer("a job")),
        }
    }

    /// One job with all its tasks, up to `limit` of them.
    pub(crate) async fn job_with_tasks(
        &mut self,
        at: Option<Seq>,
        name: &str,
        limit: u32,
    ) -> Result<(Seq, JobView), Failure> {
        let (seq, mut job) = self.job(at, name, 0, limit.min(ROWS_MAX)).await?;
        while (job.tasks.len() as u32) < limit.min(job.tasks_total) {
            let read = job.tasks.len() as u32;
            let (_, next) = self.job(at, &job.row.name, read, (limit - read).min(ROWS_MAX)).await?;
            if next.tasks.is_empty() {
                break;
            }
            job.tasks.extend(next.tasks);
        }
        Ok((seq, job))
    }

    /// All machines, read page by page.
    pub(crate) async fn machines(&mut self, at: Option<Seq>) -> Result<Vec<MachineRow>, Failure> {
        let mut all: Vec<MachineRow> = Vec::new();
        let mut from = MachineId(0);
        loop {
            let page = match self.read(at, Query::Machines { from, limit: ROWS_MAX }).await? {
                (_, Body::Machines(rows)) => rows,
                _ => return Err(Failure::Answer("machines")),
            };
            let Some(last) = page.last() else { return Ok(all) };
            from = MachineId(last.id.0 + 1);
            let full = page.len() >= ROWS_MAX as usize;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// One machine with its tasks; the name may be a unique prefix.
    pub(crate) async fn machine(&mut self, at: Option<Seq>, name: &str) -> Result<MachineView, Failure> {
        match self.read(at, Query::Machine { name: name.to_owned() }).await? {
            (_, Body::Machine(machine)) => Ok(*machine),
            _ => Err(Failure::Answer("a machine")),
        }
    }

    pub(crate) async fn schedulers(&mut self) -> Result<Vec<SchedulerView>, Failure> {
        match self.ask(Request::ListSchedulers).await? {
            Reply::Schedulers(schedulers) => Ok(schedulers),
            other => Err(odd(&other)),
        }
    }

    /// The latest transactions, newest first.
    pub(crate) async fn attempts(
        &mut self,
        limit: u32,
        scheduler: Option<String>,
        job: Option<JobId>,
        conflicts_only: bool,
    ) -> Result<Vec<Attempt>, Failure> {
        match self.ask(Request::ListAttempts { limit, scheduler, job, conflicts_only }).await? {
            Reply::Attempts(attempts) => Ok(attempts),
            other => Err(odd(&other)),
        }
    }

    pub(crate) async fn attempt(&mut self, txn: TxnId) -> Result<Attempt, Failure> {
        match self.ask(Request::GetAttempt { txn }).await? {
            Reply::Attempt(attempt) => Ok(*attempt),
            other => Err(odd(&other)),
        }
    }

    pub(crate) async fn conflicts(&mut self) -> Result<Vec<ConflictCount>, Failure> {
        match self.ask(Request::TopConflicts).await? {
            Reply::Conflicts(counts) => Ok(counts),
            other => Err(odd(&other)),
        }
    }

    pub(crate) async fn audit(&mut self) -> Result<(Seq, Vec<String>), Failure> {
        match self.ask(Request::Audit).await? {
            Reply::Audit { at, violations } => Ok((at, violations)),
            other => Err(odd(&other)),
        }
    }

    async fn change(&mut self, request: Request) -> Result<(Seq, Answer), Failure> {
        match self.ask(request).await? {
            Reply::Done { at, answer } => Ok((at, answer)),
            other => Err(odd(&other)),
        }
    }

    /// Submits a job; says whether that changed anything, and its version.
    pub(crate) async fn submit(&mut self, spec: JobSpec) -> Result<(JobId, u32, bool), Failure> {
        match self.change(Request::SubmitJob(spec)).await? {
            (_, Answer::Job { job, version, changed }) => Ok((job, version, changed)),
            _ => Err(Failure::Answer("a submitted job")),
        }
    }

    pub(crate) async fn stop(&mut self, name: &str) -> Result<(), Failure> {
        self.change(Request::StopJob { name: name.to_owned() }).await.map(|_| ())
    }

    pub(crate) async fn set_machine_state(
        &mut self,
        machine: &str,
        state: MachineState,
        grace_us: Option<u64>,
    ) -> Result<(), Failure> {
        let request = Request::SetMachineState { machine: machine.to_owned(), state, grace_us };
        self.change(request).await.map(|_| ())
    }

    pub(crate) async fn set_quota(
        &mut self,
        team: &str,
        band: Band,
        limit: Option<Resources>,
    ) -> Result<Seq, Failure> {
        let request = Request::SetQuota { team: team.to_owned(), band, limit };
        self.change(request).await.map(|(at, _)| at)
    }
}

fn odd(reply: &Reply) -> Failure {
    Failure::Answer(match reply {
        Reply::Status(_) => "a status",
        Reply::View(_) => "a view",
        Reply::Schedulers(_) => "schedulers",
        Reply::Attempts(_) => "transactions",
        Reply::Attempt(_) => "a transaction",
        Reply::Conflicts(_) => "conflicts",
        Reply::Audit { .. } => "an audit",
        Reply::Log(_) => "a log",
        Reply::Done { .. } => "a change",
        Reply::Verdicts { .. } => "verdicts",
        Reply::Spec(_) => "a spec",
        Reply::Subscribed { .. } => "a subscription",
        Reply::Noted => "a note",
        Reply::Reported(_) => "answers to reports",
        Reply::Stages(_) => "processor times",
        Reply::Opened => "a conversation",
        Reply::Usage(_) => "usage",
    })
}
