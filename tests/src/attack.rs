//! Attacks on a cell under full load, each with the same proof at its end.
//!
//! | scenario | what is done meanwhile |
//! |---|---|
//! | `kills` | `kill -9` of the server at random moments, now and then again while it recovers |
//! | `stalls` | subscribers and schedulers that stop reading, read slowly, stand still or vanish |
//! | `strangers` | garbage, half frames, too many streams, claims over every bound |
//! | `crowd` | ten times more scheduler sessions than the cell takes |
//! | `full-disk` | writes to the log that fail half way, and the server's end because of that |
//!
//! The proof: every answer anybody got is in the log, the history check finds nothing that could not have happened and
//! explains the state, the audit finds nothing, the copy that followed all the time has the server's hash, the data
//! directory verifies, and the next server has the same state.

mod crowd;
mod field;
mod full_disk;
mod kills;
mod stalls;
mod strangers;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::pressure::Shape;

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Kill the server.
    Kills,
    /// Stop reading.
    Stalls,
    /// Send what is no request.
    Strangers,
    /// Open too many sessions.
    Crowd,
    /// Let writes fail.
    FullDisk,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 5] =
        [Scenario::Kills, Scenario::Stalls, Scenario::Strangers, Scenario::Crowd, Scenario::FullDisk];

    /// Its name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Scenario::Kills => "kills",
            Scenario::Stalls => "stalls",
            Scenario::Strangers => "strangers",
            Scenario::Crowd => "crowd",
            Scenario::FullDisk => "full-disk",
        }
    }
}

impl FromStr for Scenario {
    type Err = ();

    fn from_str(word: &str) -> Result<Scenario, ()> {
        Scenario::ALL.into_iter().find(|s| s.word() == word).ok_or(())
    }
}

/// How long and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides the moments and the bytes. What the processes do meanwhile is up to the machine.
    pub seed: u64,
    /// The load.
    pub shape: Shape,
    /// At most so many kills, strangers, failures.
    pub steps_max: u32,
    /// And at most this long.
    pub length: Duration,
}

impl Plan {
    /// A few steps, for a test.
    pub fn quick(seed: u64, steps_max: u32) -> Plan {
        Plan { seed, shape: Shape::quick(seed), steps_max, length: Duration::from_secs(60) }
    }

    /// As many steps as fit.
    pub fn full(seed: u64, length: Duration) -> Plan {
        Plan { seed, shape: Shape::full(seed), steps_max: u32::MAX, length }
    }

    fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }

    /// The numbers of the steps, from 0, as long as the plan lasts.
    fn steps(&self) -> impl Iterator<Item = u32> + use<> {
        let end = Instant::now() + self.length;
        (0..self.steps_max).take_while(move |_| Instant::now() < end)
    }
}

/// What was done, and how much was proved.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What the scenario counts: kills, strangers, …
    pub counted: Vec<(&'static str, u64)>,
    /// Answers found again in the log, each with its verdicts.
    pub answers: u64,
    /// Transactions that had to be sent again.
    pub resent: u64,
    /// Answers that were asked for again and were the same.
    pub asked_again: u64,
    /// Entries of the log that were checked one by one.
    pub entries: u64,
    /// Ops that took effect, each checked against what its machine held.
    pub accepted: u64,
    /// State hashes the following copy compared, and how often its stream broke.
    pub marks: (u64, u64),
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counted {
            write!(f, "{count} {what}, ")?;
        }
        let (marks, breaks) = self.marks;
        write!(
            f,
            "{} answers found in the log ({} sent again, {} asked again), {} entries and {} accepted ops checked, \
             {marks} hashes over {breaks} breaks",
            self.answers, self.resent, self.asked_again, self.entries, self.accepted
        )
    }
}

impl Summary {
    /// How often something was counted.
    pub fn count(&self, what: &str) -> u64 {
        self.counted.iter().find(|(name, _)| *name == what).map_or(0, |(_, count)| *count)
    }
}

/// Runs a scenario.
///
/// # Panics
/// When anything that must be true afterwards is not.
pub fn run(scenario: Scenario, plan: Plan) -> Summary {
    match scenario {
        Scenario::Kills => kills::run(plan),
        Scenario::Stalls => stalls::run(plan),
        Scenario::Strangers => strangers::run(plan),
        Scenario::Crowd => crowd::run(plan),
        Scenario::FullDisk => full_disk::run(plan),
    }
}
