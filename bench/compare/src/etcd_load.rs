//! The load on etcd: clients that compare the revisions of machines and put placements, as fast as they are answered.
//!
//! The last revision seen of each machine is in a table of this process, brought up to date by every answer. So nobody
//! reads or watches, and each client has machines of its own: no comparison fails. Both are kinder to etcd than any
//! real scheduler could be.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::measured::Measured;
use crate::usage::Usage;
use crate::{Concurrency, Setting};

/// Machines made in one transaction: etcd takes at most 128 operations.
const MADE_AT_ONCE: u32 = 100;

/// The longest answer that is told apart, in microseconds.
const TIME_MAX_US: u64 = 60_000_000;

/// What the clients share.
struct Field {
    /// The last revision seen of each machine.
    revisions: Vec<AtomicI64>,
    ops: u32,
    value: Vec<u8>,
    /// What counts is answered between these.
    from: Instant,
    until: Instant,
}

/// What one client has counted.
struct Counted {
    committed: u64,
    lost: u64,
    times: Histogram<u64>,
}

impl Counted {
    fn new() -> Result<Counted> {
        Ok(Counted { committed: 0, lost: 0, times: Histogram::new_with_bounds(1, TIME_MAX_US, 3)? })
    }
}

/// Makes the machines, and lets the clients work.
pub(crate) async fn run(
    setting: &Setting,
    at: Concurrency,
    value_bytes: u32,
    address: &str,
    pid: u32,
) -> Result<Measured> {
    ensure!(setting.machines >= at.in_flight * setting.ops, "fewer machines than placements in flight");
    let mut connections = Vec::new();
    for _ in 0..at.connections {
        connections.push(Client::connect([address], None).await.context("can't connect to etcd")?);
    }
    let revisions = make_machines(&mut connections[0], setting.machines).await?;
    let from = Instant::now() + setting.warm_up;
    let until = from + setting.duration;
    let value = vec![b'p'; value_bytes as usize];
    let field = Arc::new(Field { revisions, ops: setting.ops, value, from, until });
    let mut clients = JoinSet::new();
    for number in 0..at.in_flight {
        let client = connections[(number % at.connections) as usize].clone();
        clients.spawn(work(client, Arc::clone(&field), number, at.in_flight));
    }
    let used = async {
        tokio::time::sleep_until(from).await;
        let before = Usage::of(pid);
        tokio::time::sleep_until(until).await;
        Usage::of(pid).zip(before).map(|(after, before)| after.since(before))
    };
    let used = used.await.context("etcd is gone, or not ours to look at")?;
    let mut all = Counted::new()?;
    while let Some(counted) = clients.join_next().await {
        let counted = counted??;
        all.committed += counted.committed;
        all.lost += counted.lost;
        all.times.add(&counted.times)?;
    }
    Ok(sum_up(&all, used, setting.ops, setting.duration))
}

fn sum_up(all: &Counted, used: Usage, ops: u32, during: Duration) -> Measured {
    let placed = (all.committed * u64::from(ops)) as f64;
    let seconds = during.as_secs_f64();
    Measured {
        transactions_per_s: all.committed as f64 / seconds,
        ops_per_s: placed / seconds,
        p50_us: all.times.value_at_quantile(0.50) as f64,
        p99_us: all.times.value_at_quantile(0.99) as f64,
        server_cpu_us_per_op: used.cpu_us as f64 / placed.max(1.0),
        disk_bytes_per_op: used.disk_bytes as f64 / placed.max(1.0),
        lost_share: all.lost as f64 / ((all.committed + all.lost) as f64).max(1.0),
        log_bytes_per_op: None,
    }
}

fn key(machine: usize) -> String {
    format!("m/{machine}")
}

/// Puts a key for each machine, and returns their revisions.
async fn make_machines(client: &mut Client, count: u32) -> Result<Vec<AtomicI64>> {
    let mut revisions = Vec::new();
    let mut under_way = JoinSet::new();
    for start in (0..count).step_by(MADE_AT_ONCE as usize) {
        let made = start..(start + MADE_AT_ONCE).min(count);
        let (many, mut client) = (made.len(), client.clone());
        let puts: Vec<TxnOp> = made.map(|m| TxnOp::put(key(m as usize), "empty", None)).collect();
        under_way.spawn(async move { client.txn(Txn::new().and_then(puts)).await.map(|r| (start, many, r)) });
    }
    revisions.resize_with(count as usize, AtomicI64::default);
    while let Some(made) = under_way.join_next().await {
        let (start, many, response) = made?.context("can't make the machines")?;
        let revision = response.header().context("an answer without a header")?.revision();
        let these = revisions.iter().skip(start as usize).take(many);
        these.for_each(|seen| seen.store(revision, Ordering::Relaxed));
    }
    Ok(revisions)
}

/// Commits one transaction after the other on machines that are this client's.
async fn work(mut client: Client, field: Arc<Field>, number: u32, clients: u32) -> Result<Counted> {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(number));
    let mut counted = Counted::new()?;
    let own = field.revisions.len() / clients as usize;
    let mut chosen = Vec::new();
    loop {
        chosen.clear();
        let first = rng.random_range(0..own);
        // Different ones, spread over all that are ours.
        let step = own / field.ops as usize;
        let nth = |op: usize| (first + op * step) % own * clients as usize + number as usize;
        chosen.extend((0..field.ops as usize).map(nth));
        let txn = transaction(&field, &chosen);
        let sent = Instant::now();
        let response = client.txn(txn).await.context("etcd refused a transaction")?;
        let answered = Instant::now();
        if response.succeeded() {
            let revision = response.header().context("an answer without a header")?.revision();
            chosen.iter().for_each(|m| field.revisions[*m].store(revision, Ordering::Relaxed));
        }
        if answered >= field.until {
            return Ok(counted);
        }
        if answered >= field.from {
            *(if response.succeeded() { &mut counted.committed } else { &mut counted.lost }) += 1;
            counted.times.saturating_record((answered - sent).as_micros() as u64);
        }
    }
}

fn transaction(field: &Field, chosen: &[usize]) -> Txn {
    let seen = |m: &usize| {
        Compare::mod_revision(key(*m), CompareOp::Equal, field.revisions[*m].load(Ordering::Relaxed))
    };
    let put = |m: &usize| TxnOp::put(key(*m), field.value.clone(), None);
    Txn::new()
        .when(chosen.iter().map(seen).collect::<Vec<_>>())
        .and_then(chosen.iter().map(put).collect::<Vec<_>>())
}
