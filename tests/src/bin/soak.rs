//! Chaos for as long as one likes: `cargo run -p cell-tests --bin soak -- --minutes 10 --seed 7`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cell_tests::chaos::{self, Plan};

/// The longest soak, in minutes: a day.
const MINUTES_MAX: u64 = 24 * 60;

/// Seconds of killing per round; each round is a fresh cell and ends with all the proofs.
const ROUND_SECONDS: u64 = 40;

/// Rounds take turns: hardly a moment of peace, some, and time enough for work in between.
const PAUSES_MS_MAX: [u64; 3] = [300, 1_200, 3_000];

const USAGE: &str = "usage: soak [--minutes N] [--seed S]   (N from 1 to 1440, default 5; S default 1)";

fn main() -> ExitCode {
    let Some((minutes, mut seed)) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    while Instant::now() < end {
        println!("seed {seed}");
        let pause_ms_max = PAUSES_MS_MAX[seed as usize % PAUSES_MS_MAX.len()];
        let plan = Plan { seed, length: Duration::from_secs(ROUND_SECONDS), pause_ms_max };
        println!("{}", chaos::run(plan));
        seed += 1;
    }
    ExitCode::SUCCESS
}

fn arguments() -> Option<(u64, u64)> {
    let (mut minutes, mut seed) = (5, 1);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value: u64 = args.next()?.parse().ok()?;
        match flag.as_str() {
            "--minutes" if (1..=MINUTES_MAX).contains(&value) => minutes = value,
            "--seed" => seed = value,
            _ => return None,
        }
    }
    Some((minutes, seed))
}
