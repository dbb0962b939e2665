//! Attacks for as long as one likes: `cargo run --release -p cell-tests --bin soak -- --minutes 10 --seed 7`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cell_tests::{attack, chaos};

/// The longest soak, in minutes: a day.
const MINUTES_MAX: u64 = 24 * 60;

/// Seconds of attack per round; each round is a fresh cell and ends with all the proofs.
const ROUND_SECONDS: u64 = 40;

/// Rounds of chaos take turns: hardly a moment of peace, some, and time enough for work in between.
const PAUSES_MS_MAX: [u64; 3] = [300, 1_200, 3_000];

/// Steps of the scenarios whose steps are long: the crowd comes once per round, the disk fails a few times.
const LONG_STEPS_MAX: u32 = 20;

const USAGE: &str = "\
Attacks cells of real processes under full load and proves after each round that nothing was lost.

usage: soak [--minutes N] [--seconds N] [--seed S] [--scenario NAME]

  --minutes N      how long, from 1 to 1440 [default: 5]
  --seconds N      the same in seconds, for a short run
  --seed S         decides moments, victims and bytes; each round takes the next one [default: 1]
  --scenario NAME  kills      kill -9 of the server at random moments of a full load
                   stalls     subscribers, schedulers and processes that stop reading, stand still or vanish
                   strangers  garbage, half frames, too many streams from parties that were let in
                   crowd      ten times more sessions than the bound
                   full-disk  writes to the log that fail half way
                   chaos      kill -9 of server, schedulers and agents that run real tasks
                   all        each in turn [default]";

/// What a round does.
#[derive(Clone, Copy)]
enum Round {
    Chaos,
    Attack(attack::Scenario),
}

struct Arguments {
    length: Duration,
    seed: u64,
    rounds: Vec<Round>,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let end = Instant::now() + arguments.length;
    for (seed, round) in (arguments.seed..).zip(arguments.rounds.iter().cycle()) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        println!("{}, seed {seed}", round.word());
        let length = left.min(Duration::from_secs(ROUND_SECONDS));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round.run(seed, length))) {
            eprintln!(
                "\nfailed; to repeat it: cargo run --release -p cell-tests --bin soak -- --seconds {} \
                 --seed {seed} --scenario {}",
                length.as_secs().max(1),
                round.word()
            );
            std::panic::resume_unwind(panic);
        }
    }
    ExitCode::SUCCESS
}

impl Round {
    fn named(word: &str) -> Option<Round> {
        if word == "chaos" { Some(Round::Chaos) } else { word.parse().ok().map(Round::Attack) }
    }

    fn all() -> Vec<Round> {
        let attacks = attack::Scenario::ALL.into_iter().map(Round::Attack);
        [Round::Chaos].into_iter().chain(attacks).collect()
    }

    fn word(self) -> &'static str {
        match self {
            Round::Chaos => "chaos",
            Round::Attack(scenario) => scenario.word(),
        }
    }

    fn run(self, seed: u64, length: Duration) {
        match self {
            Round::Chaos => {
                let pause_ms_max = PAUSES_MS_MAX[seed as usize % PAUSES_MS_MAX.len()];
                println!("  {}", chaos::run(chaos::Plan { seed, length, pause_ms_max }));
            }
            Round::Attack(scenario) => {
                let mut plan = attack::Plan::full(seed, length);
                if scenario == attack::Scenario::FullDisk {
                    plan.steps_max = LONG_STEPS_MAX;
                }
                println!("  {}", attack::run(scenario, plan));
            }
        }
    }
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments { length: Duration::from_secs(300), seed: 1, rounds: Round::all() };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next()?;
        match flag.as_str() {
            "--minutes" => {
                let minutes = value.parse().ok().filter(|n| (1..=MINUTES_MAX).contains(n))?;
                parsed.length = Duration::from_secs(60 * minutes);
            }
            "--seconds" => {
                let seconds = value.parse().ok().filter(|n| (1..=60 * MINUTES_MAX).contains(n))?;
                parsed.length = Duration::from_secs(seconds);
            }
            "--seed" => parsed.seed = value.parse().ok()?,
            "--scenario" if value == "all" => parsed.rounds = Round::all(),
            "--scenario" => parsed.rounds = vec![Round::named(&value)?],
            _ => return None,
        }
    }
    Some(parsed)
}
