//! Chaos: a cell under load whose processes are killed without warning at random moments, and the proof afterwards.
//!
//! While server, schedulers and agents die and come back, a load of real tasks is submitted, a witness follows the
//! log, and a scheduler of the test's own keeps books of every answer. Then everything is healed, and must be true:
//!
//! 1. every acknowledged job is in the cell, and every one of its tasks has ended;
//! 2. every acknowledged placement is in the cell, and no answer was ever given twice in two versions;
//! 3. each (task, epoch) was started at most once, and each that ended well was started: tasks note their own start;
//! 4. no entry the witness was ever shown is lost or changed, and its copy has the server's hash;
//! 5. the audit finds nothing, nobody made a wrong plan, and the data directory verifies;
//! 6. the history check explains the state by the entries of the log, each of which could happen where it did.

mod load;
mod proof;

use std::time::{Duration, Instant};

use cell_state::Seq;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::test_cell::TestCell;
use crate::witness::Witness;
use load::Load;

/// What a run does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides every moment and every victim. What the processes do meanwhile is up to the machine.
    pub seed: u64,
    /// How long processes are killed.
    pub length: Duration,
    /// At most this many milliseconds between two kills.
    pub pause_ms_max: u64,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Kills by process.
    pub kills: std::collections::BTreeMap<String, u32>,
    /// Acknowledged jobs.
    pub jobs: usize,
    /// Starts of tasks, each of its own (task, epoch).
    pub starts: usize,
    /// Answers the test's own scheduler got, and how many transactions it had to send again.
    pub answers: (usize, u64),
    /// How often the witness's stream broke, and how many hashes it compared.
    pub witness: (u64, u64),
    /// The last seq.
    pub seq: u64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kills: Vec<String> = self.kills.iter().map(|(name, n)| format!("{name} {n}")).collect();
        write!(
            f,
            "kills: {}; {} jobs, {} task starts, {} answers ({} resends), witness: {} breaks, {} hashes, seq {}",
            kills.join(", "),
            self.jobs,
            self.starts,
            self.answers.0,
            self.answers.1,
            self.witness.0,
            self.witness.1,
            self.seq
        )
    }
}

/// A number that the environment gives a test.
pub fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

/// Runs a plan.
///
/// # Panics
/// When anything that must be true afterwards is not.
pub fn run(plan: Plan) -> Summary {
    let mut cell = TestCell::start(&["--down-after", "3s", "--checkpoint-every", "1s"]);
    cell.scheduler("batch-1", "batch", "batch", plan.seed);
    cell.scheduler("batch-2", "batch", "batch", plan.seed + 1);
    cell.scheduler("service-1", "service", "service", plan.seed + 2);
    for machine in ["m1", "m2", "m3"] {
        cell.agent(machine, &["--cpu", "8", "--memory", "8 GiB", "--attribute", &format!("rack={machine}")]);
    }
    cell.wait_ready(3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (witness, goal) = Witness::start(&runtime, &cell);
    let load = Load::start(&runtime, &cell, plan.seed);

    let mut summary = Summary::default();
    kill_at_random(&mut cell, plan, &mut summary);
    for name in cell.names() {
        cell.get(&name).restart();
    }
    let (jobs, probe) = runtime.block_on(load.finish());
    proof::wait_until_all_is_over(&cell, &jobs);

    let seq = proof::last_seq(&runtime, &cell);
    goal.send(Some(Seq(seq))).expect("the witness waits for it");
    let mut witness = runtime.block_on(witness).expect("the witness saw nothing wrong");
    let starts = proof::starts(&cell);
    proof::jobs_are_there(witness.cell(), &jobs, &starts);
    probe.check(witness.cell());
    proof::history(&runtime, &cell, &mut witness);
    proof::sound(&mut cell, &mut witness);

    summary.jobs = jobs.len();
    summary.starts = starts.len();
    summary.answers = (probe.told.len(), probe.resends);
    summary.witness = (witness.breaks, witness.marks);
    summary.seq = seq;
    summary
}

/// Kills a random process at a random moment, lets it lie for a while, and starts it again; over and over.
fn kill_at_random(cell: &mut TestCell, plan: Plan, summary: &mut Summary) {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let names = cell.names();
    let end = Instant::now() + plan.length;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(rng.random_range(20..plan.pause_ms_max)));
        // The server is one of seven, and the one whose death matters most. Now and then two die at once.
        let any = |rng: &mut ChaCha8Rng| names[rng.random_range(0..names.len())].clone();
        let mut victims = vec![if rng.random_bool(0.3) { "server".to_owned() } else { any(&mut rng) }];
        if rng.random_bool(0.2) {
            victims.push(any(&mut rng));
        }
        for victim in &victims {
            cell.get(victim).kill();
            *summary.kills.entry(victim.clone()).or_default() += 1;
        }
        // And now and then an agent stays away for so long that its machine is given up.
        let long = victims[0].starts_with('m') && rng.random_bool(0.15);
        let away = if long { 4_500 } else { rng.random_range(0..400) };
        std::thread::sleep(Duration::from_millis(away));
        for victim in &victims {
            cell.get(victim).restart();
        }
    }
}
