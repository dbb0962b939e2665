//! Parties whose certificates are good and whose bytes are not, while everybody else works: garbage, sound requests
//! with a few bytes changed, half frames that are never finished, too many streams, datagrams of noise.

use std::time::Duration;

use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{JobId, MachineId, Seq, SessionId, TaskId, TxnId};
use quinn::{Connection, SendStream};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use tokio::time::timeout;
use transport::bounds::STREAMS_MAX;
use transport::frame::frame;
use transport::message::{RequestFrame, Scope};
use transport::view::Query;
use transport::{Request, Role};

use super::field::Field;
use super::{Plan, Summary};
use crate::stranger::Stranger;

/// Streams of one stranger, more than it may have at a time.
const STREAMS: u32 = 2 * STREAMS_MAX;

/// What the server may grow by while strangers hold half frames: each connection may cost it a window of 4 MiB, and
/// there are a few at a time; the rest is its own work under load.
const GROWTH_BYTES_MAX: u64 = 512 << 20;

/// Connections with half frames that are kept open.
const KEPT: usize = 8;

pub(super) fn run(plan: Plan) -> Summary {
    let field = Field::start(&plan, &["--down-after", "60s"]);
    let before = field.memory_bytes();
    field.cell.issue(Role::Scheduler, "stranger");
    let mut rng = plan.rng();
    let _within = field.runtime.enter();
    let stranger = Stranger::with_certificate(&field.cell, Role::Scheduler, "stranger");
    let (mut connections, mut bytes) = (0, 0);
    let mut kept = Vec::new();
    for step in plan.steps() {
        let sent = field.runtime.block_on(visit(&stranger, &mut rng, &mut kept));
        (connections, bytes) = (connections + 1, bytes + sent);
        if step % 8 == 0 {
            field.goes_on();
        }
    }
    field.goes_on();
    let after = field.memory_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes before the strangers, {after} after");
    drop(kept);
    field.prove(vec![("strangers", connections), ("bytes of theirs", bytes)])
}

/// One connection, all kinds of nonsense; how many bytes.
async fn visit(
    stranger: &Stranger,
    rng: &mut ChaCha8Rng,
    kept: &mut Vec<(Connection, Vec<SendStream>)>,
) -> u64 {
    let connection = stranger.connection().await;
    let mut half = Vec::new();
    let mut sent = 0;
    for stream in 0..STREAMS {
        let bytes = nonsense(rng);
        let _ = connection.send_datagram(nonsense(rng).into());
        // Beyond the bound a stream has to wait for ever.
        let Ok(Ok((mut out, _back))) = timeout(Duration::from_millis(50), connection.open_bi()).await else {
            break;
        };
        let _ = out.write_all(&bytes).await;
        sent += bytes.len() as u64;
        if stream % 2 == 0 {
            half.push(out); // Never finished.
        } else {
            let _ = out.finish();
        }
    }
    kept.push((connection, half));
    if kept.len() > KEPT {
        kept.remove(0);
    }
    sent
}

fn nonsense(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..700)];
    rng.fill_bytes(&mut bytes);
    match rng.random_range(0..4) {
        0 => bytes,
        1 if bytes.len() >= 4 => {
            let length = bytes.len() as u32 - 4;
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes
        }
        2 => {
            // A frame of almost the largest size, of which little comes.
            let claim = rng.random_range(0..transport::bounds::FRAME_BYTES_MAX as u32 + 2);
            [&claim.to_le_bytes()[..], &bytes].concat()
        }
        _ => changed(rng),
    }
}

/// A few sound requests, of which some bytes are others.
fn changed(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in 1..rng.random_range(2..6) {
        frame(&RequestFrame { id, request: sound(rng) }, &mut bytes);
    }
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    let cut = rng.random_range(0..bytes.len() + 1);
    bytes.truncate(bytes.len() - cut / 4);
    bytes
}

fn sound(rng: &mut ChaCha8Rng) -> Request {
    let task = TaskId { job: JobId(rng.random_range(0..5)), group: 0, index: rng.random_range(0..50) };
    match rng.random_range(0..6) {
        0 => Request::Status,
        1 => Request::OpenSession { instance: rng.random_range(0..4) },
        2 => Request::Subscribe { scope: Scope::Full, after: Some(Seq(rng.random_range(0..1_000))) },
        3 => Request::Read { at: None, query: Query::Job { name: "author-0".into(), skip: 0, limit: 10 } },
        4 => Request::ListAttempts { limit: 10, scheduler: None, job: None, conflicts_only: true },
        _ => Request::Commit(Transaction {
            id: TxnId { session: SessionId(rng.random_range(0..6)), number: rng.random_range(0..1_000) },
            basis: Seq(rng.random_range(0..1_000)),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops: vec![Op::Place {
                task,
                machines: MachineId(rng.random_range(0..20)).into(),
                preempt: vec![],
            }],
            assertions: Vec::new(),
        }),
    }
}
