//! Measures Ohm: `ohm load --self` starts a fresh server in the same directory and drives it over QUIC.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::measured::Measured;
use crate::{Concurrency, Setting};

/// The most placements that the transactions of one session in flight may have together.
const SESSION_OPS_MAX: u32 = 12_000;

/// Drives a fresh server. Tasks are placed once and stay: no ends are reported, as none are told to etcd.
pub(crate) async fn measure(setting: &Setting, at: Concurrency) -> Result<Measured> {
    let each = (at.in_flight / at.connections).clamp(1, SESSION_OPS_MAX / setting.ops);
    let mut command = Command::new(&setting.ohm);
    command.args(["load", "--self", "--detection", "version", "--atomicity", "all-or-nothing"]);
    command.args(["--skew", "own", "--hold", "never", "--output", "json", "--dir"]).arg(&setting.dir);
    for (flag, value) in [
        ("--schedulers", at.connections),
        ("--in-flight", each),
        ("--ops", setting.ops),
        ("--machines", setting.machines),
        ("--tasks", setting.tasks),
    ] {
        command.args([flag, &value.to_string()]);
    }
    let seconds = |time: std::time::Duration| format!("{}s", time.as_secs());
    command.args(["--warm-up", &seconds(setting.warm_up), "--duration", &seconds(setting.duration)]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.context("can't run ohm load")?;
    if !output.status.success() {
        bail!("ohm load failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    read(&serde_json::from_slice(&output.stdout).context("ohm load printed no JSON")?, setting)
}

/// What `ohm load` printed.
fn read(found: &Value, setting: &Setting) -> Result<Measured> {
    let number = |path: &str| {
        found
            .pointer(path)
            .and_then(Value::as_f64)
            .with_context(|| format!("ohm load says nothing at {path}"))
    };
    let (seconds, wanted) = (number("/seconds")?, setting.duration.as_secs_f64());
    ensure!(seconds > 0.9 * wanted, "every task was placed after {seconds:.1} s; raise --tasks");
    let (transactions, placed) = (number("/measured/transactions")?, number("/measured/placed")?);
    // All or nothing: placements are committed a whole transaction at a time.
    let committed = placed / f64::from(setting.ops);
    Ok(Measured {
        transactions_per_s: committed / seconds,
        ops_per_s: placed / seconds,
        p50_us: number("/latency_us/p50")?,
        p99_us: number("/latency_us/p99")?,
        server_cpu_us_per_op: number("/server_cpu_us_per_placement")?,
        disk_bytes_per_op: number("/disk_bytes_per_placement")?,
        lost_share: 1.0 - committed / transactions.max(1.0),
        log_bytes_per_op: Some(number("/log_bytes_per_placement")?),
    })
}

/// What the program calls itself.
pub(crate) async fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output().await;
    let output = output.with_context(|| format!("can't run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}
