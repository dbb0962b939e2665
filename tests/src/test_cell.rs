//! A whole cell of real processes in a directory of its own: real certificates, QUIC, log, tasks. Everything it
//! started is gone when it is dropped, tasks that outlived their agents included.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use transport::{Request, Role};
use transport_quic::{Client, Credentials};

use crate::binary;
use crate::party::Party;

/// How long anything may take before a test gives up on it; far above what it takes, for tests share the machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The cell.
pub struct TestCell {
    dir: TempDir,
    address: SocketAddr,
    parties: BTreeMap<String, Party>,
}

impl TestCell {
    /// A server with its certificates, and nothing else.
    pub fn start(server_args: &[&str]) -> TestCell {
        TestCell::start_through(Vec::new(), "127.0.0.1:0", server_args)
    }

    /// The same, but the server listens on every address of this machine.
    pub fn start_everywhere(server_args: &[&str]) -> TestCell {
        TestCell::start_through(Vec::new(), "0.0.0.0:0", server_args)
    }

    /// The same, but the server is told of a write beyond a size limit by an error, not by a deadly signal: so a limit
    /// looks like a full disk.
    pub fn start_without_size_signal(server_args: &[&str]) -> TestCell {
        let launcher = words(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        TestCell::start_through(launcher, "127.0.0.1:0", server_args)
    }

    fn start_through(launcher: Vec<OsString>, listen: &str, server_args: &[&str]) -> TestCell {
        let dir = tempfile::Builder::new().prefix("ohm-test-").tempdir().expect("a temporary directory");
        for folder in ["log", "agents"] {
            std::fs::create_dir(dir.path().join(folder)).expect("the directory is ours");
        }
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut cell = TestCell { dir, address, parties: BTreeMap::new() };
        cell.run(&["pki", "init", "--cell", "test"]);
        let mut args = words(&["server", "run", "--listen", listen, "--data"]);
        args.push(cell.path("server").into());
        args.push("--ready-file".into());
        args.push(cell.path("address").into());
        args.push("--pki".into());
        args.push(cell.pki().into());
        args.extend(words(server_args));
        let log = cell.path("log").join("server.log");
        cell.parties.insert("server".into(), Party::start_through(launcher, args, log));
        let text = wait_for("the server's address", || std::fs::read_to_string(cell.path("address")).ok());
        let listening: SocketAddr = text.trim().parse().expect("an address");
        cell.address = SocketAddr::from(([127, 0, 0, 1], listening.port()));
        // From now on it must come back where everybody knows it.
        let listening = listening.to_string();
        cell.parties.get_mut("server").expect("just started").set_value("--listen", listening);
        cell
    }

    /// A path in the cell's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The certificates.
    pub fn pki(&self) -> PathBuf {
        self.path("pki")
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One of its processes.
    pub fn get(&mut self, name: &str) -> &mut Party {
        self.parties.get_mut(name).unwrap_or_else(|| panic!("no process {name}"))
    }

    /// The names of its processes.
    pub fn names(&self) -> Vec<String> {
        self.parties.keys().cloned().collect()
    }

    fn party(&mut self, name: &str, args: Vec<OsString>) {
        let log = self.path("log").join(format!("{name}.log"));
        self.parties.insert(name.to_owned(), Party::start(args, log));
    }

    /// Issues a certificate, unless it is there.
    pub fn issue(&self, role: Role, name: &str) -> Credentials {
        if Credentials::load(&self.pki(), role, name).is_err() {
            self.run(&["pki", "issue", role.word(), name]);
        }
        Credentials::load(&self.pki(), role, name).expect("just issued")
    }

    /// Starts a scheduler process; several may share a scheduler name.
    pub fn scheduler(&mut self, process: &str, policy: &str, name: &str, seed: u64) {
        self.scheduler_with(process, policy, name, seed, &[]);
    }

    /// The same with further arguments.
    pub fn scheduler_with(&mut self, process: &str, policy: &str, name: &str, seed: u64, extra: &[&str]) {
        self.issue(Role::Scheduler, name);
        let seed = seed.to_string();
        let mut args = words(&["scheduler", "run", "--policy", policy, "--name", name, "--seed", &seed]);
        args.extend(self.connection());
        args.extend(words(extra));
        self.party(process, args);
    }

    /// Starts the agent of a machine.
    pub fn agent(&mut self, name: &str, extra: &[&str]) {
        self.issue(Role::Agent, name);
        let mut args = words(&["agent", "--name", name, "--data"]);
        args.push(self.path("agents").join(name).into());
        if !extra.contains(&"--isolation") {
            // Tests of other things have tasks that write where they like.
            args.extend(words(&["--isolation", "none"]));
        }
        args.extend(self.connection());
        args.extend(words(extra));
        self.party(name, args);
    }

    /// Starts the agent of a machine through another program, which sees the server at this host.
    pub fn agent_through(&mut self, launcher: Vec<String>, name: &str, server: &str, extra: &[&str]) {
        self.issue(Role::Agent, name);
        let server = format!("{server}:{}", self.address.port());
        let mut args = words(&["agent", "--name", name, "--server", &server, "--data"]);
        args.push(self.path("agents").join(name).into());
        args.extend(["--pki".into(), self.pki().into()]);
        args.extend(words(extra));
        let log = self.path("log").join(format!("{name}.log"));
        let launcher = launcher.into_iter().map(OsString::from).collect();
        self.parties.insert(name.to_owned(), Party::start_through(launcher, args, log));
    }

    fn connection(&self) -> Vec<OsString> {
        vec!["--server".into(), self.address.to_string().into(), "--pki".into(), self.pki().into()]
    }

    /// Runs an `ohm` command as the operator, with the environment a person would set.
    pub fn ohm(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary::ohm());
        command.args(args).current_dir(self.dir.path());
        for (key, value) in self.environment() {
            command.env(key, value);
        }
        command.output().expect("ohm can be started")
    }

    /// What a person exports to talk to this cell.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("OHM_SERVER", self.address.to_string().into()),
            ("OHM_PKI", self.pki().into()),
            ("OHM_LOG", "warn".into()),
            ("NO_COLOR", "1".into()),
        ]
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.ohm(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "ohm {args:?}: {}\n{out}\n{err}", output.status);
        out
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let printed = self.run(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("ohm {args:?}: {error}\n{printed}"))
    }

    /// Runs a command that must fail, and returns its exit code and what it complains about.
    pub fn refused(&self, args: &[&str]) -> (i32, String) {
        let output = self.ohm(args);
        assert!(!output.status.success(), "ohm {args:?} went well");
        (output.status.code().unwrap_or(-1), text(&output.stderr))
    }

    /// Writes a file in the cell's directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the directory is ours");
        path
    }

    /// Connects as a party, trying until the server is there.
    pub async fn connect(&self, role: Role, name: &str) -> Client {
        let credentials = self.issue(role, name);
        connect(self.address, &credentials).await
    }

    /// Waits until this many machines are ready.
    pub fn wait_ready(&self, count: usize) {
        wait_for("machines", || {
            let ready = self.json(&["node", "list", "--state", "ready"]);
            (ready.as_array().map_or(0, Vec::len) >= count).then_some(())
        });
    }

    /// What every process has printed, for a test that failed.
    pub fn logs(&self) -> String {
        let parties = self.parties.iter();
        parties.map(|(name, party)| format!("== {name}\n{}\n", tail(&party.printed()))).collect()
    }
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

impl Drop for TestCell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.parties.clear();
        // Tasks and their shims outlive agents by design, so they are looked for by their working directory.
        end_processes_below(self.dir.path());
    }
}

/// Kills every process that works below a directory that only this test knows.
fn end_processes_below(dir: &Path) {
    for _ in 0..3 {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in entries {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let works_below =
                std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
            let named = std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy()));
            if works_below || named {
                let pid = rustix::process::Pid::from_raw(pid).expect("ids of processes are positive");
                // It may have ended by itself meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// How many processes of this machine have exactly these arguments.
pub fn running(args: &[&str]) -> usize {
    let wanted: String = args.iter().map(|arg| format!("{arg}\0")).collect();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|e| std::fs::read(e.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes()))
        .count()
}

/// Connects, trying until the server is there.
pub async fn connect(address: SocketAddr, credentials: &Credentials) -> Client {
    let until = Instant::now() + PATIENCE;
    loop {
        match Client::connect(address, credentials).await {
            Ok(client) => return client,
            Err(error) if Instant::now() > until => panic!("no connection to {address}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Asks the server for its status until it answers.
pub async fn wait_status(address: SocketAddr, credentials: &Credentials) -> transport::message::ServerStatus {
    loop {
        let client = connect(address, credentials).await;
        if let Ok(transport::Reply::Status(status)) = client.call(Request::Status).await {
            return status;
        }
    }
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
