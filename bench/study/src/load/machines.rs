//! The machines of a load: one agent connection that registers them and shows that they are alive.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cell_state::admit::Answer;
use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
use cell_state::{MachineId, Resources};
use tokio::time::{interval, sleep};
use transport::message::Refusal;
use transport::{Reply, Request};
use transport_quic::{CallError, Client, Credentials};

use super::{MACHINE_CPU_MILLI, MACHINE_MEMORY, error::LoadError};
use crate::bounds::{BUSY_PAUSE, LOAD_AGENT_CALLS_MAX, LOAD_HEARTBEAT_EVERY};

const WHAT: &str = "registering a machine";

/// The agent of all machines.
pub(super) struct Machines {
    pub(super) client: Client,
    /// The machines' numbers, in the order of their names.
    pub(super) ids: Vec<MachineId>,
}

impl Machines {
    /// Connects and registers the machines `<prefix>0`, `<prefix>1`, ….
    pub(super) async fn register(
        server: SocketAddr,
        credentials: &Credentials,
        prefix: &str,
        count: u32,
        incarnation: u64,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Machines, LoadError> {
        let client = Client::connect(server, credentials).await?;
        let mut pipeline = client.pipeline().await.map_err(LoadError::call(WHAT))?;
        let mut ids = vec![MachineId(0); count as usize];
        // The next to introduce last; a machine is its number plus one on the wire.
        let mut left: Vec<u32> = (0..count).rev().collect();
        let mut answers = Vec::new();
        while !left.is_empty() || pipeline.unanswered() > 0 {
            while pipeline.unanswered() < LOAD_AGENT_CALLS_MAX
                && let Some(index) = left.pop()
            {
                let request = Request::RegisterMachine { spec: spec(prefix, index), incarnation };
                pipeline.add(u64::from(index) + 1, &request).map_err(LoadError::call(WHAT))?;
            }
            pipeline.exchange(&mut answers).await.map_err(LoadError::call(WHAT))?;
            let mut is_busy = false;
            for (id, answer) in answers.drain(..) {
                match answer {
                    Ok(Reply::Done { answer: Answer::Machine(machine), .. }) => {
                        ids[id as usize - 1] = machine;
                    }
                    Ok(_) => return Err(LoadError::Answer(WHAT)),
                    Err(Refusal::Busy) => {
                        is_busy = true;
                        left.push(id as u32 - 1);
                    }
                    Err(refusal) => return Err(LoadError::call(WHAT)(CallError::Refused(refusal))),
                }
            }
            if is_busy {
                sleep(BUSY_PAUSE).await;
            }
            tell(u64::from(count) - left.len() as u64 - pipeline.unanswered() as u64);
        }
        Ok(Machines { client, ids })
    }

    /// Shows for ever that the machines are alive.
    pub(super) async fn beat(client: Client) {
        let mut every = interval(LOAD_HEARTBEAT_EVERY);
        for number in 1.. {
            every.tick().await;
            client.heartbeat(number);
        }
    }
}

fn spec(prefix: &str, index: u32) -> MachineSpec {
    MachineSpec {
        name: format!("{prefix}{index}"),
        capacity: Resources::cpu_memory(MACHINE_CPU_MILLI, MACHINE_MEMORY),
        attributes: BTreeMap::new(),
        devices: Vec::new(),
        ports: DEFAULT_PORTS,
    }
}
