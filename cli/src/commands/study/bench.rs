//! `ohm study bench`: how fast the simulator is.

use std::time::Instant;

use bench::omega2013::{self, Phase, Settings, Streams};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use study::golden;

use crate::bounds::STUDY_RUNS_MAX;
use crate::failure::{Ended, Failure};
use crate::show;
use crate::show::table::facts;
use crate::typed::study::BenchArgs;

/// The directory of the job streams of SBS1.
const WORKLOAD: &str = "W1";

/// The seed of the jobs that are drawn when there are no golden ones.
const SEED: u64 = 1;

/// What was measured.
struct Speed {
    /// Processor seconds of each run, sorted.
    cpu_s: Vec<f64>,
    jobs: u64,
    events: u64,
    /// Seconds spent in each phase of one more run.
    split: Vec<(Phase, f64)>,
}

/// Measures the simulator.
///
/// # Errors
/// The job streams can't be read, or the result not be written.
pub(super) fn run(args: &BenchArgs) -> Result<Ended, Failure> {
    if !(1..=STUDY_RUNS_MAX).contains(&args.runs) {
        return Err(Failure::Input(format!("--runs: {} is not between 1 and {STUDY_RUNS_MAX}", args.runs)));
    }
    let settings = omega2013::sbs1();
    let streams = match &args.dir {
        Some(dir) => golden::read_streams(&dir.join(WORKLOAD)).map_err(golden::GoldenError::from)?,
        None => omega2013::drawn(SEED, settings.run_time_s),
    };
    let speed = measure(&settings, &streams, args.runs);
    show::one(args.output.output, "bench", &as_json(&speed), |_| as_text(&speed))?;
    Ok(Ended::Well)
}

fn measure(settings: &Settings, streams: &Streams, runs: usize) -> Speed {
    let mut speed = Speed { cpu_s: Vec::new(), jobs: 0, events: 0, split: Vec::new() };
    for _ in 0..runs {
        let before = cpu_s();
        let figures = omega2013::run(settings, streams);
        speed.cpu_s.push(cpu_s() - before);
        speed.jobs = figures.workloads.iter().map(|(_, w)| w.jobs).sum();
        speed.events = figures.events;
    }
    speed.cpu_s.sort_by(f64::total_cmp);
    let mut spent = Phase::ALL.map(|phase| (phase, 0.0));
    let mut since = (Phase::Rest, Instant::now());
    let mut enter = |phase: Phase| {
        let now = Instant::now();
        spent[since.0 as usize].1 += (now - since.1).as_secs_f64();
        since = (phase, now);
    };
    omega2013::run_watched(settings, streams, &mut enter);
    enter(Phase::Rest);
    speed.split = spent.to_vec();
    speed
}

/// Processor seconds of this process.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Speed {
    fn median_s(&self) -> f64 {
        self.cpu_s[self.cpu_s.len() / 2]
    }
}

fn as_json(speed: &Speed) -> Value {
    let median = speed.median_s();
    let split: Map<String, Value> =
        speed.split.iter().map(|(phase, seconds)| (format!("{}_s", phase.word()), json!(seconds))).collect();
    json!({
        "experiment": "SBS1 resource-fit/incremental",
        "jobs": speed.jobs,
        "events": speed.events,
        "cpu_s": median,
        "cpu_s_all": speed.cpu_s,
        "jobs_per_cpu_s": speed.jobs as f64 / median,
        "events_per_cpu_s": speed.events as f64 / median,
        "split": split,
    })
}

fn as_text(speed: &Speed) -> String {
    let median = speed.median_s();
    let (least, most) = (speed.cpu_s[0], speed.cpu_s[speed.cpu_s.len() - 1]);
    let split: Vec<String> =
        speed.split.iter().map(|(phase, seconds)| format!("{} {seconds:.3} s", phase.word())).collect();
    facts(&[
        ("experiment", "SBS1 resource-fit/incremental".to_owned()),
        ("cpu", format!("{median:.3} s, median of {} ({least:.3} to {most:.3})", speed.cpu_s.len())),
        ("jobs", format!("{}, {:.0} per CPU-second", speed.jobs, speed.jobs as f64 / median)),
        ("events", format!("{}, {:.0} per CPU-second", speed.events, speed.events as f64 / median)),
        ("split", split.join(", ")),
    ])
}
