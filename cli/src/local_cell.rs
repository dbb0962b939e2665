//! A whole cell on this machine, each part a process of its own: what `ohm dev` and `ohm demo` start.
//!
//! ```text
//! <dir>/pki        the certificate authority and one certificate per party
//! <dir>/server     the server's data
//! <dir>/agents/…   each agent's data
//! <dir>/log/…      what each process prints
//! <dir>/address    the address the server listens on
//! ```

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use transport::message::ServerStatus;
use transport::{Reply, Request, Role};
use transport_quic::pki::{Authority, Credentials, PkiError};
use transport_quic::{CallError, Client};

use crate::bounds::{POLL_EVERY, READY_WAIT_MAX};
use crate::failure::told;
use crate::processes::{ProcessError, Processes};

/// The name of the server's process.
pub(crate) const SERVER: &str = "server";

/// The operator's name in a local cell.
pub(crate) const OPERATOR: &str = "local";

/// A cell that could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalCellError {
    /// The directory can't be made or read.
    #[error("can't use {path}")]
    Directory {
        /// The path.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// Certificates can't be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A process can't be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A process died before it was ready.
    #[error("{name} ended before it was ready; the end of {log}:\n{tail}")]
    DiedEarly {
        /// Its name.
        name: String,
        /// Its log.
        log: String,
        /// The last lines of it.
        tail: String,
    },
    /// A wait took too long.
    #[error("{what} was not there after {READY_WAIT_MAX:?}; see the logs in {logs}")]
    Late {
        /// What was waited for.
        what: String,
        /// Where the logs are.
        logs: String,
    },
    /// The server doesn't answer.
    #[error("the server at {server} does not answer: {reason}")]
    Unreachable {
        /// Its address.
        server: SocketAddr,
        /// The reason.
        reason: String,
    },
}

/// A cell on this machine.
pub(crate) struct LocalCell {
    dir: PathBuf,
    authority: Authority,
    address: Option<SocketAddr>,
    /// Its processes: `server`, `scheduler-…`, `agent-…`.
    pub(crate) processes: Processes,
}

impl LocalCell {
    /// Makes the directories and the certificate authority, or takes up those that are there. Starts nothing.
    ///
    /// # Errors
    /// The directory can't be written, or holds a damaged authority.
    pub(crate) fn create(program: PathBuf, dir: &Path, name: &str) -> Result<LocalCell, LocalCellError> {
        for part in ["pki", "server", "agents", "log"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|source| directory_error(&path, source))?;
        }
        // Children may be started with another working directory in mind: only absolute paths are passed on.
        let dir = dir.canonicalize().map_err(|source| directory_error(dir, source))?;
        let pki = dir.join("pki");
        let known = pki.join("ca.key").exists();
        let authority = if known { Authority::load(&pki)? } else { Authority::create(name, &pki)? };
        let processes = Processes::new(program, dir.join("log"));
        let cell = LocalCell { dir, authority, address: None, processes };
        cell.issue(Role::Operator, OPERATOR)?;
        Ok(cell)
    }

    /// The directory everything is in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// Whether the server has been started.
    pub(crate) fn is_started(&self) -> bool {
        self.address.is_some()
    }

    /// The address of the server, once it has been started.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("start_server comes before everything that needs its address")
    }

    /// Issues a certificate, unless there is one already.
    pub(crate) fn issue(&self, role: Role, name: &str) -> Result<(), LocalCellError> {
        if Credentials::load(&self.pki(), role, name).is_err() {
            self.authority.issue(role, name, &self.pki())?;
        }
        Ok(())
    }

    /// The credentials of a party, issued when needed.
    ///
    /// # Errors
    /// They can't be written or read.
    pub(crate) fn credentials(&self, role: Role, name: &str) -> Result<Credentials, LocalCellError> {
        self.issue(role, name)?;
        Ok(Credentials::load(&self.pki(), role, name)?)
    }

    /// Starts the server and waits until it answers. `extra` are further arguments of `ohm server run`.
    ///
    /// # Errors
    /// It doesn't start, dies, or takes too long.
    pub(crate) async fn start_server(
        &mut self,
        listen: SocketAddr,
        extra: &[&str],
    ) -> Result<SocketAddr, LocalCellError> {
        self.issue(Role::Server, SERVER)?;
        let ready = self.dir.join("address");
        if ready.exists() {
            fs::remove_file(&ready).map_err(|source| directory_error(&ready, source))?;
        }
        self.processes.start(SERVER, self.server_args(listen, extra))?;
        let text = self.wait_file(SERVER, &ready).await?;
        let address: SocketAddr = text.trim().parse().map_err(|_| {
            directory_error(
                &ready,
                io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no address")),
            )
        })?;
        self.address = Some(address);
        // A restarted server must be where everybody looks for it, even if it chose its port itself.
        self.processes.set_args(SERVER, self.server_args(address, extra))?;
        self.wait_server().await?;
        Ok(address)
    }

    /// Starts the server again, where it was, with other further arguments. It must have been stopped or killed.
    ///
    /// # Errors
    /// It can't be started.
    pub(crate) fn restart_server(&mut self, extra: &[&str]) -> Result<(), LocalCellError> {
        let args = self.server_args(self.address(), extra);
        self.processes.set_args(SERVER, args)?;
        self.processes.restart(SERVER)?;
        Ok(())
    }

    /// Starts another process of this cell, and waits until it has written its ready file; `args` are followed by what
    /// it needs to connect.
    ///
    /// # Errors
    /// It can't be started, ends, or takes longer than `within`.
    pub(crate) async fn start_peer(
        &mut self,
        name: &str,
        args: &[&str],
        within: Duration,
    ) -> Result<(), LocalCellError> {
        let ready = self.dir.join(format!("{name}.ready"));
        let mut all = words(args);
        all.extend(self.connection_args());
        all.extend([OsString::from("--ready-file"), ready.clone().into()]);
        self.processes.start(name, all)?;
        let until = Instant::now() + within;
        while !ready.exists() {
            self.check_alive(name)?;
            self.pause(until, name).await?;
        }
        Ok(())
    }

    fn server_args(&self, listen: SocketAddr, extra: &[&str]) -> Vec<OsString> {
        let mut args = words(&["server", "run", "--stop-with-stdin", "--name", SERVER]);
        args.extend([OsString::from("--listen"), listen.to_string().into()]);
        args.extend([OsString::from("--ready-file"), self.dir.join("address").into()]);
        args.extend([OsString::from("--data"), self.dir.join("server").into()]);
        args.extend([OsString::from("--pki"), self.pki().into()]);
        args.extend(words(extra));
        args
    }

    /// Starts a scheduler of this policy under this name (the process is called `scheduler-<process>`: several
    /// processes may share one scheduler name).
    ///
    /// # Errors
    /// It can't be started.
    pub(crate) fn start_scheduler(
        &mut self,
        process: &str,
        policy: &str,
        name: &str,
        extra: &[&str],
    ) -> Result<String, LocalCellError> {
        self.issue(Role::Scheduler, name)?;
        let mut args = words(&["scheduler", "run", "--stop-with-stdin", "--policy", policy, "--name", name]);
        args.extend(self.connection_args());
        args.extend(words(extra));
        let process = format!("scheduler-{process}");
        self.processes.start(&process, args)?;
        Ok(process)
    }

    /// Starts an agent for this machine under this name (the process is called `agent-<name>`).
    ///
    /// # Errors
    /// It can't be started.
    pub(crate) fn start_agent(&mut self, name: &str, extra: &[&str]) -> Result<String, LocalCellError> {
        self.start_agent_as(name, name, extra)
    }

    /// Starts an agent that plays `count` machines named `<prefix>0`, `<prefix>1`, … (the process is called
    /// `agent-<prefix>`).
    ///
    /// # Errors
    /// It can't be started.
    pub(crate) fn start_simulated_agent(
        &mut self,
        prefix: &str,
        count: u32,
        extra: &[&str],
    ) -> Result<String, LocalCellError> {
        let count = count.to_string();
        let args = [&["--simulate", &count, "--prefix", prefix], extra].concat();
        self.start_agent_as(prefix.trim_end_matches('-'), &format!("{prefix}*"), &args)
    }

    fn start_agent_as(&mut self, label: &str, name: &str, extra: &[&str]) -> Result<String, LocalCellError> {
        self.issue(Role::Agent, name)?;
        let data = self.dir.join("agents").join(label);
        fs::create_dir_all(&data).map_err(|source| directory_error(&data, source))?;
        // A cell to try is one's own, and so are its tasks.
        let mut args = words(&["agent", "--stop-with-stdin", "--name", name]);
        if !extra.contains(&"--isolation") {
            args.extend(words(&["--isolation", "none"]));
        }
        args.extend([OsString::from("--data"), data.into()]);
        args.extend(self.connection_args());
        args.extend(words(extra));
        let process = format!("agent-{label}");
        self.processes.start(&process, args)?;
        Ok(process)
    }

    fn connection_args(&self) -> Vec<OsString> {
        let server = self.address().to_string();
        vec!["--server".into(), server.into(), "--pki".into(), self.pki().into()]
    }

    /// Connects to the server as the operator.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub(crate) async fn connect(&self) -> Result<Client, LocalCellError> {
        self.connect_as(Role::Operator, OPERATOR).await
    }

    /// Connects to the server as a party of that role and name.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub(crate) async fn connect_as(&self, role: Role, name: &str) -> Result<Client, LocalCellError> {
        let credentials = self.credentials(role, name)?;
        let connected = Client::connect(self.address(), &credentials).await;
        connected.map_err(|e| LocalCellError::Unreachable { server: self.address(), reason: told(&e) })
    }

    /// Waits until the server answers a `Status` request (again), and returns the answer.
    ///
    /// # Errors
    /// It died, or takes too long.
    pub(crate) async fn wait_server(&mut self) -> Result<ServerStatus, LocalCellError> {
        let until = Instant::now() + READY_WAIT_MAX;
        loop {
            if let Ok(client) = self.connect().await
                && let Ok(Reply::Status(status)) = client.call(Request::Status).await
            {
                return Ok(status);
            }
            self.check_alive(SERVER)?;
            self.pause(until, "the server's answer").await?;
        }
    }

    /// Waits until `satisfied` says so of the answer to a request, asked again and again.
    ///
    /// # Errors
    /// It takes too long. Refusals are asked again: a cell that starts may not have an answer yet.
    pub(crate) async fn wait_for(
        &self,
        client: &Client,
        what: &str,
        request: Request,
        satisfied: impl Fn(&Reply) -> bool,
    ) -> Result<(), LocalCellError> {
        let until = Instant::now() + READY_WAIT_MAX;
        loop {
            match client.call(request.clone()).await {
                Ok(reply) if satisfied(&reply) => return Ok(()),
                Ok(_) | Err(CallError::Refused(_)) => {}
                Err(CallError::Lost(reason)) => {
                    return Err(LocalCellError::Unreachable { server: self.address(), reason });
                }
            }
            self.pause(until, what).await?;
        }
    }

    async fn wait_file(&mut self, process: &str, path: &Path) -> Result<String, LocalCellError> {
        let until = Instant::now() + READY_WAIT_MAX;
        loop {
            match fs::read_to_string(path) {
                Ok(text) => return Ok(text),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(directory_error(path, source)),
            }
            self.check_alive(process)?;
            self.pause(until, process).await?;
        }
    }

    fn check_alive(&mut self, process: &str) -> Result<(), LocalCellError> {
        if self.processes.is_running(process) {
            return Ok(());
        }
        Err(LocalCellError::DiedEarly {
            name: process.to_owned(),
            log: self.processes.log(process).display().to_string(),
            tail: self.processes.log_tail(process),
        })
    }

    async fn pause(&self, until: Instant, what: &str) -> Result<(), LocalCellError> {
        if Instant::now() >= until {
            let logs = self.dir.join("log").display().to_string();
            return Err(LocalCellError::Late { what: what.to_owned(), logs });
        }
        tokio::time::sleep(POLL_EVERY).await;
        Ok(())
    }
}

fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

fn directory_error(path: &Path, source: io::Error) -> LocalCellError {
    LocalCellError::Directory { path: path.display().to_string(), source }
}
