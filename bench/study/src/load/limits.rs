//! The limits a load is compared with, measured in the same run on the same machine: how often the disk flushes
//! groups of the same size, and how often QUIC carries frames of the same size there and back.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cell_state::codec;
use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use transport::message::{ReplyFrame, RequestFrame};
use transport::{Reply, Request};
use transport_quic::{Client, Credentials, Listener, Session};

use super::counts::Times;
use super::error::LoadError;

/// Bytes of the file that is flushed: written anew from its start when it is full, as the log's files are.
const FILE_BYTES: u64 = 64 << 20;

/// How fast the disk takes groups.
#[derive(Clone, Debug)]
pub struct DiskLimit {
    /// Bytes of each group.
    pub group_bytes: u64,
    /// Groups written and flushed per second.
    pub flushes_per_s: f64,
    /// How long one took.
    pub flush: Times,
}

/// Writes and flushes groups of this size, one after the other, into a file in `dir`.
pub(super) fn disk(dir: &Path, group_bytes: u64, during: Duration) -> io::Result<DiskLimit> {
    let path = dir.join("limit");
    let measured = flush(&path, group_bytes.clamp(1, FILE_BYTES), during);
    let removed = fs::remove_file(&path);
    let limit = measured?;
    removed?;
    Ok(limit)
}

fn flush(path: &Path, group_bytes: u64, during: Duration) -> io::Result<DiskLimit> {
    let file = File::create(path)?;
    let group = vec![0xa5; group_bytes as usize];
    // Written before, so that no flush has to make room.
    let blank = vec![0; 1 << 20];
    for offset in (0..FILE_BYTES).step_by(blank.len()) {
        file.write_all_at(&blank, offset)?;
    }
    file.sync_all()?;
    let (mut offset, mut times, started) = (0, Times::default(), Instant::now());
    while started.elapsed() < during {
        if offset + group_bytes > FILE_BYTES {
            offset = 0;
        }
        let before = Instant::now();
        file.write_all_at(&group, offset)?;
        file.sync_data()?;
        times.add(before.elapsed());
        offset += group_bytes;
    }
    let flushes_per_s = times.count() as f64 / started.elapsed().as_secs_f64();
    Ok(DiskLimit { group_bytes, flushes_per_s, flush: times })
}

/// How fast QUIC carries transactions and verdicts when nothing is judged and nothing is logged.
#[derive(Clone, Debug)]
pub struct EchoLimit {
    /// Bytes of a transaction's frame.
    pub request_bytes: u64,
    /// Bytes of the frame of its verdicts.
    pub reply_bytes: u64,
    /// Transactions answered per second.
    pub transactions_per_s: f64,
    /// How long one took.
    pub round_trip: Times,
}

/// An echo: a listener on a thread of its own, with the settings of a server's.
struct Echo {
    address: SocketAddr,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Keeps the same transactions in flight on as many connections as the load has schedulers.
pub(super) async fn echo(
    server: &Credentials,
    schedulers: &[Credentials],
    in_flight: u32,
    txn: Transaction,
    during: Duration,
) -> Result<EchoLimit, LoadError> {
    let echo = start_echo(server.clone()).await?;
    let mut limit = EchoLimit {
        request_bytes: codec::encode(&RequestFrame { id: 1 << 20, request: Request::Commit(txn.clone()) })
            .len() as u64,
        reply_bytes: codec::encode(&ReplyFrame { id: 1 << 20, reply: Ok(verdicts(&txn)) }).len() as u64,
        transactions_per_s: 0.0,
        round_trip: Times::default(),
    };
    let mut callers = JoinSet::new();
    let (txn, started) = (Arc::new(txn), Instant::now() + during / 4);
    for credentials in schedulers {
        let client = Client::connect(echo.address, credentials).await?;
        for _ in 0..in_flight {
            callers.spawn(call(client.clone(), Arc::clone(&txn), started, during));
        }
    }
    while let Some(called) = callers.join_next().await {
        for took in called?? {
            limit.round_trip.add(took);
        }
    }
    limit.transactions_per_s = limit.round_trip.count() as f64 / during.as_secs_f64();
    Ok(limit)
}

/// Calls again and again until the end; how long each call took that was answered in the time that counts.
async fn call(
    client: Client,
    txn: Arc<Transaction>,
    from: Instant,
    during: Duration,
) -> Result<Vec<Duration>, LoadError> {
    let mut took = Vec::new();
    loop {
        let sent = Instant::now();
        let request = Request::Commit(Transaction::clone(&txn));
        client.call(request).await.map_err(LoadError::call("calling the echo"))?;
        let now = Instant::now();
        if now >= from + during {
            return Ok(took);
        }
        if now >= from {
            took.push(now - sent);
        }
    }
}

async fn start_echo(credentials: Credentials) -> Result<Echo, LoadError> {
    let (stop, stopped) = watch::channel(());
    let (ready, address) = oneshot::channel();
    let thread = std::thread::Builder::new().name("load-echo".to_owned()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(serve(&credentials, stopped, ready));
    });
    let thread = thread.map_err(LoadError::system("can't start the thread of the echo"))?;
    let address = address.await.map_err(|_| LoadError::Answer("starting the echo"))??;
    Ok(Echo { address, stop: Some(stop), thread: Some(thread) })
}

async fn serve(
    credentials: &Credentials,
    mut stopped: watch::Receiver<()>,
    ready: oneshot::Sender<Result<SocketAddr, transport_quic::BindError>>,
) {
    let listener = match Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), credentials) {
        Ok(listener) => listener,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(listener.local_addr())).is_err() {
        return;
    }
    let accept = async {
        while let Some(session) = listener.accept().await {
            tokio::spawn(answer(session));
        }
    };
    tokio::select! {
        () = accept => {}
        _ = stopped.changed() => listener.close("done"),
    }
}

async fn answer(session: Session) {
    while let Some(incoming) = session.next_request().await {
        let (request, responder) = incoming.into_parts();
        responder.reply(Ok(match request {
            Request::Commit(txn) => verdicts(&txn),
            _ => Reply::Noted,
        }));
    }
}

/// What a server answers when everything fits.
fn verdicts(txn: &Transaction) -> Reply {
    let placed = |op: &Op| match op {
        Op::Place { task, machines, .. } => Outcome::Placed(Placed {
            task: *task,
            machine: machines[0],
            // Numbers of a middling size: small ones would take fewer bytes than those of a running cell.
            epoch: 100,
            version: 1,
            extra: None,
        }),
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => Outcome::Aborted,
    };
    Reply::Verdicts { at: txn.basis, outcomes: txn.ops.iter().map(placed).collect(), failed_assertion: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_counted_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let limit = disk(dir.path(), 4_096, Duration::from_millis(20)).unwrap();
        assert!(limit.flush.count() > 0 && limit.flushes_per_s > 0.0);
        assert_eq!(limit.group_bytes, 4_096);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
