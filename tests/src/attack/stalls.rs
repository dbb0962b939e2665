//! Parties that stop: subscribers that don't read, or slowly, or vanish without a word; a scheduler that sends and never
//! reads an answer; processes that stand still. Nobody else waits for them, and memory stays within a bound.

use std::time::Duration;

use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{JobId, MachineId, Seq, SessionId, TaskId, TxnId};
use rustix::process::Signal;
use transport::frame::{frame, unframe};
use transport::message::{ReplyFrame, RequestFrame, Scope};
use transport::{Reply, Request, Role};
use transport_quic::{Client, Credentials, Subscription};

use super::field::Field;
use super::{Plan, Summary};
use crate::stranger::Stranger;
use crate::test_cell::{connect, wait_for};

/// Subscribers of each kind.
const SUBSCRIBERS: usize = 4;

/// What the server may grow by: the ring of recent records (64 MiB), what each of a dozen parties may leave unread
/// (a send window of 4 MiB), the unread replies of one scheduler (64 MiB), its own work, and room for the allocator.
const GROWTH_BYTES_MAX: u64 = 512 << 20;

/// Transactions of the scheduler that reads no answer: more than the server takes of one session at a time.
const UNREAD: u64 = 3_000;

const JOB: &str = "name = \"NAME\"\nscheduler = \"batch\"\n[[groups]]\nname = \"main\"\ncount = 5\n[groups.run]\n\
                   command = \"/bin/sleep\"\nargs = [\"600\"]\n[groups.resources]\ncpu = 0.1\nmemory = \"1 MiB\"\n";

pub(super) fn run(plan: Plan) -> Summary {
    let mut field = Field::start(&plan, &["--down-after", "60s"]);
    field.cell.scheduler("batch", "batch", "batch", plan.seed);
    field.cell.agent("m1", &["--cpu", "4", "--memory", "4 GiB"]);
    submit(&field, "before");
    all_placed(&field, "before");
    let before = field.memory_bytes();

    let reader = field.cell.issue(Role::Reader, "witness");
    let mute = field.cell.issue(Role::Scheduler, "mute");
    let address = field.cell.address();
    let silent: Vec<(Client, Subscription)> =
        (0..SUBSCRIBERS).map(|_| field.runtime.block_on(subscribe(address, &reader))).collect();
    for _ in 0..SUBSCRIBERS {
        let (client, mut subscription) = field.runtime.block_on(subscribe(address, &reader));
        field.runtime.spawn(async move {
            while let Ok(Some(_)) = subscription.next().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            drop(client);
        });
        vanish(address, &reader);
    }
    for party in ["batch", "m1"] {
        field.cell.get(party).signal(Signal::STOP);
    }
    let within = field.runtime.enter();
    let stranger = Stranger::with_certificate(&field.cell, Role::Scheduler, "mute");
    let unread = field.runtime.block_on(send_and_never_read(&stranger));
    drop((within, mute));
    submit(&field, "meanwhile");

    // All of them stand still, and the load goes on.
    let mut rounds = 0;
    for _ in plan.steps() {
        field.goes_on();
        rounds += 1;
    }
    let after = field.memory_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes before, {after} with everybody stalled");
    for party in ["batch", "m1"] {
        field.cell.get(party).signal(Signal::CONT);
    }
    all_placed(&field, "meanwhile");
    field.goes_on();
    for scheduler in field.cell.json(&["scheduler", "list"]).as_array().expect("a list") {
        assert_eq!(scheduler["hash_mismatches"].as_u64().unwrap_or(0), 0, "{scheduler}");
    }
    drop((silent, unread));
    let grown = after.saturating_sub(before) >> 20;
    field.prove(vec![("rounds with everybody stalled", rounds), ("MiB grown", grown)])
}

async fn subscribe(address: std::net::SocketAddr, reader: &Credentials) -> (Client, Subscription) {
    let client = connect(address, reader).await;
    let subscription = client.subscribe(Scope::Full, None).await.expect("a healthy server streams");
    (client, subscription)
}

/// A subscriber whose process ends without a word: its runtime is gone, so nothing is sent, not even a farewell.
fn vanish(address: std::net::SocketAddr, reader: &Credentials) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let there = runtime.block_on(subscribe(address, reader));
    runtime.shutdown_background();
    drop(there);
}

/// Opens a session, sends transactions, and never reads what comes back.
async fn send_and_never_read(
    stranger: &Stranger,
) -> (quinn::Connection, quinn::SendStream, quinn::RecvStream) {
    let connection = stranger.connection().await;
    let (mut out, mut back) = connection.open_bi().await.expect("a stream");
    let mut bytes = Vec::new();
    frame(&RequestFrame { id: 1, request: Request::OpenSession { instance: 1 } }, &mut bytes);
    out.write_all(&bytes).await.expect("room");
    let session = session(&mut back).await;
    bytes.clear();
    for number in 1..=UNREAD {
        let task = TaskId { job: JobId(1 << 20), group: 0, index: 0 };
        let txn = Transaction {
            id: TxnId { session, number },
            basis: Seq(1),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: vec![Op::Place { task, machines: MachineId(0).into(), preempt: Vec::new() }; 10],
            assertions: Vec::new(),
        };
        frame(&RequestFrame { id: 1 + number, request: Request::Commit(txn) }, &mut bytes);
    }
    // It may be held up, or cut off: both are fine.
    let _ = tokio::time::timeout(Duration::from_millis(500), out.write_all(&bytes)).await;
    (connection, out, back)
}

async fn session(back: &mut quinn::RecvStream) -> SessionId {
    let mut bytes = Vec::new();
    loop {
        let piece = back.read_chunk(64 << 10, true).await.expect("an answer").expect("an answer");
        bytes.extend_from_slice(&piece.bytes);
        if let Some((answer, _)) = unframe::<ReplyFrame>(&bytes).expect("a frame") {
            match answer.reply {
                Ok(Reply::Done { answer: cell_state::admit::Answer::Session { session, .. }, .. }) => {
                    return session;
                }
                other => panic!("a session is answered by {other:?}"),
            }
        }
    }
}

fn submit(field: &Field, name: &str) {
    let file = format!("{name}.toml");
    field.cell.write(&file, &JOB.replace("NAME", name));
    field.cell.run(&["job", "run", "--detach", &file]);
}

fn all_placed(field: &Field, name: &str) {
    wait_for("a job's tasks on machines", || {
        let listed = field.cell.json(&["job", "list"]);
        let mut jobs = listed.as_array().expect("a list").iter();
        let job = jobs.find(|job| job["name"] == name).expect("it was submitted");
        (job["tasks"]["pending"] == 0).then_some(())
    });
}
