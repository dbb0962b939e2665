//! The load of a chaos run: jobs of small real tasks, and a scheduler of the test's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cell_state::admit::Answer;
use cell_state::job::{Exec, GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::task::TaskState;
use cell_state::{JobId, MachineId, Resources, TaskId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use transport::message::Refusal;
use transport::{Reply, Request, Role};
use transport_quic::{CallError, Client, Credentials};

use crate::probe::Probe;
use crate::test_cell::{TestCell, connect, wait_status};

/// The file below the cell's directory that each task appends its (job, task, epoch) to when it starts.
pub(super) const STARTS: &str = "starts";

/// Tasks of the test's own scheduler per job.
const PROBE_TASKS: u32 = 20;

/// Jobs by name, as they were acknowledged.
pub(super) type Acknowledged = BTreeMap<String, JobId>;

/// A load under way.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    jobs: JoinHandle<Acknowledged>,
    probe: JoinHandle<(Acknowledged, Probe)>,
}

impl Load {
    pub(super) fn start(runtime: &Runtime, cell: &TestCell, seed: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let starts = cell.path(STARTS).display().to_string();
        let operator = Submitter {
            address: cell.address(),
            credentials: cell.issue(Role::Operator, "admin"),
            client: None,
            acknowledged: BTreeMap::new(),
        };
        let probe = (cell.address(), cell.issue(Role::Scheduler, "probe"));
        let second = Submitter { acknowledged: BTreeMap::new(), client: None, ..operator.clone() };
        let jobs = runtime.spawn(submit_jobs(operator, starts.clone(), seed, stop.clone()));
        let probe = runtime.spawn(place_own(second, probe, starts, seed, stop.clone()));
        Load { stop, jobs, probe }
    }

    /// Ends the load; what was acknowledged, and the scheduler with its books.
    pub(super) async fn finish(self) -> (Acknowledged, Probe) {
        self.stop.store(true, Ordering::Relaxed);
        let mut jobs = self.jobs.await.expect("submitting goes on through every crash");
        let (own, probe) = self.probe.await.expect("placing goes on through every crash");
        jobs.extend(own);
        (jobs, probe)
    }
}

#[derive(Clone)]
struct Submitter {
    address: std::net::SocketAddr,
    credentials: Credentials,
    client: Option<Client>,
    acknowledged: Acknowledged,
}

impl Submitter {
    /// Submits a job until it is acknowledged. The name makes a second submission harmless.
    async fn submit(&mut self, spec: JobSpec) -> JobId {
        loop {
            let client = match self.client.take() {
                Some(client) => client,
                None => connect(self.address, &self.credentials).await,
            };
            match client.call(Request::SubmitJob(spec.clone())).await {
                Ok(Reply::Done { answer: Answer::Job { job, .. }, .. }) => {
                    self.client = Some(client);
                    self.acknowledged.insert(spec.name, job);
                    return job;
                }
                Ok(other) => panic!("a submission is answered by {other:?}"),
                Err(CallError::Refused(Refusal::Busy) | CallError::Lost(_)) => pause(20).await,
                Err(CallError::Refused(refusal)) => panic!("refused: {refusal}"),
            }
        }
    }
}

async fn submit_jobs(mut to: Submitter, starts: String, seed: u64, stop: Arc<AtomicBool>) -> Acknowledged {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let service = rng.random_bool(0.3);
        let scheduler = if service { "service" } else { "batch" };
        let (count, naps_ms) = (rng.random_range(1..6), rng.random_range(0..400));
        let mut spec = job(&format!("{scheduler}-{number}"), scheduler, count, &starts, naps_ms);
        spec.groups[0].distinct_machines = service && rng.random_bool(0.3) && count <= 3;
        to.submit(spec).await;
        pause(rng.random_range(20..200)).await;
    }
    to.acknowledged
}

/// The test's own scheduler places tasks anywhere, sees some of them lost, and remembers each answer.
async fn place_own(
    mut to: Submitter,
    (address, credentials): (std::net::SocketAddr, Credentials),
    starts: String,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> (Acknowledged, Probe) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 2);
    let mut probe = Probe::open(address, credentials.clone(), seed).await;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("probe-{number}");
        to.submit(job(&name, "probe", PROBE_TASKS, &starts, 50)).await;
        // To the end even when the load stops: what nobody places is never over. A task that is lost with its machine
        // or ends badly is pending again, and is placed again.
        loop {
            let tasks = probe.tasks(&name).await;
            if tasks.iter().all(|t| !t.task.state.is_live() && t.task.state != TaskState::Pending) {
                break;
            }
            let pending: Vec<TaskId> =
                tasks.iter().filter(|t| t.task.state == TaskState::Pending).map(|t| t.id).collect();
            if pending.is_empty() {
                pause(20).await;
                continue;
            }
            let basis = wait_status(address, &credentials).await.seq;
            for _ in 0..5 {
                let task = pending[rng.random_range(0..pending.len())];
                probe.place(task, MachineId(rng.random_range(0..3)), basis).await;
            }
        }
    }
    (to.acknowledged, probe)
}

fn job(name: &str, scheduler: &str, count: u32, starts: &str, naps_ms: u32) -> JobSpec {
    // The first start of every seventh task fails, so that restarts are part of the load.
    let script = format!(
        "echo \"$OHM_JOB $OHM_INDEX $OHM_EPOCH\" >> {starts}; sleep {}.{:03}; \
         test $(( $OHM_INDEX % 7 )) -ne 6 -o \"$OHM_EPOCH\" -gt 1",
        naps_ms / 1_000,
        naps_ms % 1_000
    );
    let run = Run::Exec(Exec {
        log_bytes_max: 64 << 10,
        log_files_max: 2,
        ..Exec::new("/bin/sh", vec!["-c".into(), script])
    });
    let group = GroupSpec {
        name: "main".into(),
        count,
        resources: Resources::cpu_memory(500, 64 << 20),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        // Kills end tasks badly that did nothing wrong, so restarts must not run out.
        restart: Restart { on: RestartOn::Failure, attempts: 1_000, delay_us: 10_000 },
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 200_000,
        run,
    };
    JobSpec {
        name: name.into(),
        kind: JobKind::Batch,
        priority: 150,
        team: "chaos".into(),
        scheduler: scheduler.into(),
        groups: vec![group],
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
}
