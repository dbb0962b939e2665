//! Measures etcd: starts a fresh server with one node and every flush real, and drives it.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use etcd_client::Client;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::etcd_load;
use crate::measured::Measured;
use crate::{Concurrency, Setting};

/// How long etcd may take until it answers: it elects itself first.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often it is asked.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Bytes its database may have: more than any run writes, so that it never stops to take writes.
const QUOTA_BYTES: u64 = 8 << 30;

/// A running etcd; killed when dropped.
struct Server {
    process: Child,
    address: String,
}

/// Drives a fresh server.
pub(crate) async fn measure(setting: &Setting, at: Concurrency, value_bytes: u32) -> Result<Measured> {
    let data = tempfile::Builder::new().prefix("etcd-").tempdir_in(&setting.dir)?;
    let mut server = Server::start(&setting.etcd, data.path()).await?;
    let pid = server.process.id().context("etcd ended at once")?;
    let measured = etcd_load::run(setting, at, value_bytes, &server.address, pid).await;
    // It has nothing to save: its data is removed with it.
    server.process.kill().await.context("can't stop etcd")?;
    measured
}

impl Server {
    async fn start(program: &Path, data: &Path) -> Result<Server> {
        let (client, peer) = (free_address()?, free_address()?);
        let log = File::create(data.join("log")).context("can't write etcd's log")?;
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(data.join("data"));
        let quota = QUOTA_BYTES.to_string();
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        for (flag, value) in [
            ("--name", "compare"),
            ("--listen-client-urls", &client_url),
            ("--advertise-client-urls", &client_url),
            ("--listen-peer-urls", &peer_url),
            ("--initial-advertise-peer-urls", &peer_url),
            ("--initial-cluster", &format!("compare={peer_url}")),
            ("--quota-backend-bytes", &quota),
            ("--log-level", "warn"),
            ("--logger", "zap"),
        ] {
            command.args([flag, value]);
        }
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn();
        let process = process.with_context(|| format!("can't start {}", program.display()))?;
        let mut server = Server { process, address: client };
        server.wait(data).await?;
        Ok(server)
    }

    async fn wait(&mut self, data: &Path) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(mut client) = Client::connect([&self.address], None).await
                && client.get("ready", None).await.is_ok()
            {
                return Ok(());
            }
            if self.process.try_wait()?.is_some() || Instant::now() > until {
                let log = std::fs::read_to_string(data.join("log")).unwrap_or_default();
                bail!("etcd does not answer:\n{log}");
            }
            sleep(POLL_EVERY).await;
        }
    }
}

/// An address nobody listens on just now.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.to_string())
}

/// What the program calls itself.
pub(crate) async fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output().await;
    let output = output.with_context(|| format!("can't run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}
