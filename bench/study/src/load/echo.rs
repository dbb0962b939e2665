//! QUIC's limit: how often it carries frames of the same size there and back when nothing is judged and nothing is
//! logged, measured in the same run.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cell_state::codec;
use cell_state::transaction::{Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use transport::message::{ReplyFrame, RequestFrameRef};
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials, Incoming, Listener, Session};

use super::counts::Times;
use super::error::LoadError;

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

/// What an echo carries.
pub(super) struct Carry<'a> {
    /// The certificate of the echo.
    pub(super) server: &'a Credentials,
    /// Whose connections: one for each.
    pub(super) schedulers: &'a [Credentials],
    /// Transactions each keeps in flight.
    pub(super) in_flight: u32,
    /// The transaction.
    pub(super) txn: Transaction,
}

/// Keeps the same transaction in flight as often as the load does, on as many connections, through the same pipelines.
pub(super) async fn echo(carry: Carry<'_>, during: Duration) -> Result<EchoLimit, LoadError> {
    let echo = start_echo(carry.server.clone()).await?;
    let mut limit = EchoLimit {
        request_bytes: 0,
        reply_bytes: codec::encode(&ReplyFrame { id: 1 << 20, reply: Ok(verdicts(&carry.txn)) }).len() as u64,
        transactions_per_s: 0.0,
        round_trip: Times::default(),
    };
    let request = Arc::new(Request::Commit(carry.txn));
    limit.request_bytes = codec::encode(&RequestFrameRef { id: 1 << 20, request: &request }).len() as u64;
    let mut callers = JoinSet::new();
    let from = Instant::now() + during / 4;
    for credentials in carry.schedulers {
        let client = Client::connect(echo.address, credentials).await?;
        callers.spawn(call(client, Arc::clone(&request), carry.in_flight, from..from + during));
    }
    while let Some(called) = callers.join_next().await {
        limit.round_trip.merge(&called??);
    }
    limit.transactions_per_s = limit.round_trip.count() as f64 / during.as_secs_f64();
    Ok(limit)
}

/// Calls again and again until the end; how long each call took that was answered in the time that counts.
async fn call(
    client: Client,
    request: Arc<Request>,
    in_flight: u32,
    counted: Range<Instant>,
) -> Result<Times, LoadError> {
    const WHAT: &str = "calling the echo";
    let mut pipeline = client.pipeline().await.map_err(LoadError::call(WHAT))?;
    let mut sent = vec![Instant::now(); in_flight as usize];
    let (mut times, mut answers) = (Times::default(), Vec::new());
    for slot in 0..u64::from(in_flight) {
        pipeline.add(slot + 1, &request).map_err(LoadError::call(WHAT))?;
    }
    loop {
        pipeline.exchange(&mut answers).await.map_err(LoadError::call(WHAT))?;
        let now = Instant::now();
        if now >= counted.end {
            return Ok(times);
        }
        for (id, answer) in answers.drain(..) {
            answer.map_err(|refusal| LoadError::call(WHAT)(CallError::Refused(refusal)))?;
            let sent = &mut sent[id as usize - 1];
            if now >= counted.start {
                times.add(now - *sent);
            }
            *sent = now;
            pipeline.add(id, &request).map_err(LoadError::call(WHAT))?;
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
    while let Some(batch) = session.next_requests().await {
        for (request, responder) in batch.into_iter().map(Incoming::into_parts) {
            responder.reply(Ok(match request {
                Request::Commit(txn) => verdicts(&txn),
                _ => Reply::Noted,
            }));
        }
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
