//! The agent of a load: it registers all machines and reports the start and the end of whatever is placed there, each
//! under its number until it is acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use cell_state::admit::Answer;
use cell_state::event::{Report, Seen};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::task::Exit;
use cell_state::{MachineId, Resources, TaskId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::{AGENT, Shape};
use crate::test_cell::connect;

/// Placements in one report message, two reports each.
const BATCH: usize = 200;

/// How often machines are looked after.
const TICK: Duration = Duration::from_millis(10);

/// Ticks between two heartbeats.
const TICKS_PER_HEARTBEAT: u64 = 50;

/// A placement to report, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    pub(super) owner: usize,
    pub(super) machine: MachineId,
    pub(super) task: TaskId,
    pub(super) epoch: u32,
}

/// The reports of one machine.
#[derive(Default)]
struct Line {
    /// The number of the first report of the next message.
    first: u64,
    waiting: VecDeque<Placement>,
    /// The message that is not acknowledged: it is sent again as it was.
    message: Vec<Placement>,
    is_sent: bool,
}

pub(super) struct Agent {
    server: (SocketAddr, Credentials),
    shape: Shape,
    rng: ChaCha8Rng,
    placements: mpsc::Receiver<Placement>,
    give_back: Vec<mpsc::Sender<TaskId>>,
    lines: BTreeMap<MachineId, Line>,
}

type Sent = (MachineId, Result<Reply, CallError>);

impl Agent {
    pub(super) fn new(
        server: SocketAddr,
        credentials: Credentials,
        shape: Shape,
        placements: mpsc::Receiver<Placement>,
        give_back: Vec<mpsc::Sender<TaskId>>,
    ) -> Agent {
        let (rng, lines) = (ChaCha8Rng::seed_from_u64(shape.seed ^ 0xA6E7), BTreeMap::new());
        Agent { server: (server, credentials), shape, rng, placements, give_back, lines }
    }

    /// Registers the machines of a fresh cell.
    pub(super) async fn register_first(&mut self) -> Vec<MachineId> {
        let client = connect(self.server.0, &self.server.1).await;
        assert!(self.register(&client).await, "a healthy server takes machines");
        self.lines.keys().copied().collect()
    }

    async fn register(&mut self, client: &Client) -> bool {
        for index in 0..self.shape.machines {
            let spec = MachineSpec {
                name: format!("{}{index}", AGENT.trim_end_matches('*')),
                capacity: Resources::cpu_memory(self.shape.machine_cpu_milli(), 1 << 40),
                attributes: BTreeMap::new(),
                devices: Vec::new(),
                ports: DEFAULT_PORTS,
            };
            let request = Request::RegisterMachine { spec, incarnation: self.shape.seed };
            match client.call(request).await {
                Ok(Reply::Done { answer: Answer::Machine(machine), .. }) => {
                    let line = self.lines.entry(machine).or_default();
                    line.first = line.first.max(1);
                }
                Ok(other) => panic!("a registration is answered by {other:?}"),
                Err(CallError::Refused(Refusal::Busy | Refusal::Unavailable(_)) | CallError::Lost(_)) => {
                    return false;
                }
                Err(CallError::Refused(refusal)) => panic!("a machine is refused: {refusal}"),
            }
        }
        true
    }

    /// Reports until nobody places any more and everything is acknowledged.
    pub(super) async fn run(mut self) {
        let mut is_over = false;
        while !is_over {
            let client = connect(self.server.0, &self.server.1).await;
            if self.register(&client).await {
                is_over = self.serve(&client).await;
            } else {
                tokio::time::sleep(TICK).await;
            }
            self.lines.values_mut().for_each(|line| line.is_sent = false);
        }
    }

    /// True when all is over, false when the connection broke.
    async fn serve(&mut self, client: &Client) -> bool {
        let mut calls: JoinSet<Sent> = JoinSet::new();
        for tick in 1.. {
            if tick % TICKS_PER_HEARTBEAT == 0 {
                client.heartbeat(tick);
            }
            let is_closed = self.collect();
            self.send(client, &mut calls, is_closed);
            let idle = |line: &Line| line.waiting.is_empty() && line.message.is_empty();
            if is_closed && self.lines.values().all(idle) {
                return true;
            }
            tokio::time::sleep(TICK).await;
            while let Some(sent) = calls.try_join_next() {
                let (machine, answer) = sent.expect("a call doesn't panic");
                if !self.answered(machine, answer) {
                    return false;
                }
            }
        }
        false
    }

    /// Takes what was placed; true when nothing more will come.
    fn collect(&mut self) -> bool {
        loop {
            match self.placements.try_recv() {
                Ok(placement) => {
                    self.lines.entry(placement.machine).or_default().waiting.push_back(placement);
                }
                Err(mpsc::error::TryRecvError::Empty) => return false,
                Err(mpsc::error::TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn send(&mut self, client: &Client, calls: &mut JoinSet<Sent>, all: bool) {
        for (machine, line) in self.lines.iter_mut().filter(|(_, line)| !line.is_sent) {
            // Tasks stay for a few ticks, so that machines fill up.
            if line.message.is_empty() && (all || self.rng.random_bool(0.2)) {
                let count = line.waiting.len().min(BATCH);
                line.message = line.waiting.drain(..count).collect();
            }
            if line.message.is_empty() {
                continue;
            }
            line.is_sent = true;
            let request = Request::Report {
                machine: *machine,
                incarnation: self.shape.seed,
                first: line.first,
                reports: line.message.iter().flat_map(both).collect(),
            };
            let (client, machine) = (client.clone(), *machine);
            calls.spawn(async move { (machine, client.call(request).await) });
        }
    }

    /// False when the connection broke.
    fn answered(&mut self, machine: MachineId, answer: Result<Reply, CallError>) -> bool {
        let line = self.lines.get_mut(&machine).expect("it was sent for a machine of ours");
        line.is_sent = false;
        match answer {
            Ok(Reply::Done { answer: Answer::Reported { upto }, .. }) => {
                let last = line.first + 2 * line.message.len() as u64 - 1;
                assert_eq!(upto, last, "reports of machine {} are acknowledged one by one", machine.0);
                line.first = last + 1;
                for placement in line.message.drain(..) {
                    // The author is gone when the load is over.
                    let _ = self.give_back[placement.owner].try_send(placement.task);
                }
                true
            }
            Ok(other) => panic!("a report is answered by {other:?}"),
            Err(CallError::Refused(Refusal::Busy)) => true,
            Err(CallError::Lost(_) | CallError::Refused(Refusal::Unavailable(_))) => false,
            Err(CallError::Refused(refusal)) => panic!("a report is refused: {refusal}"),
        }
    }
}

fn both(placement: &Placement) -> [Report; 2] {
    let report = |seen| Report { task: placement.task, epoch: placement.epoch, seen };
    [report(Seen::Started), report(Seen::Ended(Exit::Code(0)))]
}
