//! What QUIC alone costs: transactions of ten placements there and verdicts back, nothing judged, nothing logged. Each end
//! has a thread of its own, and prints the processor time it took for one transaction.
//!
//! `cargo bench -p transport-quic --bench echo [-- SECONDS]`

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::verdict::{Outcome, Placed};
use cell_state::{JobId, MachineId, Seq, SessionId, TaskId, TxnId};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use transport::{Reply, Request, Role};
use transport_quic::{Authority, Client, Credentials, Incoming, Listener, Session};

const OPS: u32 = 10;
const CONNECTIONS: u32 = 4;

/// How the client's end makes its calls.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Call,
    Pipeline,
}

fn main() {
    // Cargo passes flags of its own.
    let seconds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(3);
    let during = Duration::from_secs(seconds);
    println!(
        "{:>9} {:>9} {:>12} {:>14} {:>14} {:>10}",
        "way", "in flight", "per second", "server CPU", "client CPU", "bytes"
    );
    for (way, in_flight) in
        [(Way::Call, 32), (Way::Pipeline, 1), (Way::Pipeline, 32), (Way::Pipeline, 64), (Way::Pipeline, 256)]
    {
        measure(way, in_flight, during);
    }
}

fn measure(way: Way, in_flight: u32, during: Duration) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::create("bench", dir.path()).expect("an authority");
    let issue = |role, name: &str| {
        authority.issue(role, name, dir.path()).expect("a certificate");
        Credentials::load(dir.path(), role, name).expect("the certificate just issued")
    };
    let server = issue(Role::Server, "s");
    let schedulers: Vec<Credentials> =
        (0..CONNECTIONS).map(|n| issue(Role::Scheduler, &format!("b{n}"))).collect();
    let (ready, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &server).expect("a free port");
            ready.send(listener.local_addr()).expect("the client waits");
            let accept = async {
                while let Some(session) = listener.accept().await {
                    tokio::spawn(answer(session));
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
        });
        own_cpu_us()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (answered, bytes) = runtime.block_on(async {
        let address = address.await.expect("the server is ready");
        let mut callers = JoinSet::new();
        let until = Instant::now() + during;
        let mut clients = Vec::new();
        for credentials in &schedulers {
            let client = Client::connect(address, credentials).await.expect("let in");
            clients.push(client.clone());
            match way {
                Way::Pipeline => drop(callers.spawn(exchange(client, in_flight, until))),
                Way::Call => {
                    (0..in_flight).for_each(|_| drop(callers.spawn(call(client.clone(), until))));
                }
            }
        }
        let mut answered = 0;
        while let Some(done) = callers.join_next().await {
            answered += done.expect("no caller panics");
        }
        (answered, clients.iter().map(|client| client.traffic().bytes()).sum::<u64>())
    });
    let client_us = own_cpu_us();
    // The server may have stopped by itself.
    let _ = stop.send(());
    let server_us = server.join().expect("no server panics");
    let each = |us: f64| format!("{:.2} µs", us / answered as f64);
    let name = format!("{way:?}");
    let rate = answered as f64 / during.as_secs_f64();
    let share = bytes as f64 / answered as f64;
    CLIENT_US.with(|spent| {
        let mine = client_us - spent.replace(client_us);
        println!(
            "{name:>9} {in_flight:>9} {rate:>12.0} {:>14} {:>14} {share:>10.1}",
            each(server_us),
            each(mine)
        );
    });
}

thread_local! {
    /// What this thread had used when the last measurement ended.
    static CLIENT_US: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) };
}

/// Microseconds of processor time of the calling thread.
fn own_cpu_us() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number comes first") / 1e3
}

async fn exchange(client: Client, in_flight: u32, until: Instant) -> u64 {
    let mut pipeline = client.pipeline().await.expect("a stream");
    let request = request();
    (1..=u64::from(in_flight)).for_each(|id| pipeline.add(id, &request).expect("room"));
    let (mut answered, mut answers) = (0, Vec::new());
    while Instant::now() < until {
        pipeline.exchange(&mut answers).await.expect("answers");
        answered += answers.len() as u64;
        answers.drain(..).for_each(|(id, _)| pipeline.add(id, &request).expect("room"));
    }
    answered
}

async fn call(client: Client, until: Instant) -> u64 {
    let (request, mut answered) = (request(), 0);
    while Instant::now() < until {
        client.call(request.clone()).await.expect("an answer");
        answered += 1;
    }
    answered
}

async fn answer(session: Session) {
    while let Some(batch) = session.next_requests().await {
        for (request, responder) in batch.into_iter().map(Incoming::into_parts) {
            let Request::Commit(txn) = request else { continue };
            responder.reply(Ok(verdicts(&txn)));
        }
    }
}

fn request() -> Request {
    let place = |index: u32| Op::Place {
        task: TaskId { job: JobId(1), group: 0, index: 1_000 + index },
        machines: MachineId(index * 977 % 10_000).into(),
        preempt: Vec::new(),
    };
    Request::Commit(Transaction {
        id: TxnId { session: SessionId(3), number: 1 << 17 },
        basis: Seq(1 << 17),
        atomicity: Atomicity::Incremental,
        detection: Detection::Fit,
        ops: (0..OPS).map(place).collect(),
        assertions: Vec::new(),
    })
}

fn verdicts(txn: &Transaction) -> Reply {
    let placed = |op: &Op| match op {
        Op::Place { task, machines, .. } => {
            Outcome::Placed(Placed { task: *task, machine: machines[0], epoch: 100, version: 1, extra: None })
        }
        Op::Evict { .. } | Op::Stop { .. } | Op::Resize { .. } => Outcome::Aborted,
    };
    Reply::Verdicts { at: txn.basis, outcomes: txn.ops.iter().map(placed).collect(), failed_assertion: None }
}
