//! A point on the production code in virtual time.

use bench::scenario::Scenario;
use bench::virtual_cell::{self, Architecture, LabelWay, Load, Placing, Prefer, Retry, Settings, Way};
use bench::{Division, priority, synthetic, transform};
use cell_state::job::Band;
use cell_state::transaction::{Atomicity, Detection};
use schedulers::score::Score;

use super::metrics::Metrics;
use super::point::Point;
use super::settings::Own;
use super::workload::Found;

/// Runs a point: the metrics of batch jobs and of service jobs.
///
/// # Errors
/// The workload can't be changed as the point says.
///
/// # Panics
/// When the cell is not sound afterwards: results of a broken cell are none.
pub(super) fn run(point: &Point, seed: u64) -> Result<[Metrics; 2], String> {
    run_policies(point, seed, None)
}

/// The same with policies of the caller's.
pub(super) fn run_policies(point: &Point, seed: u64, own: Option<&Own<'_>>) -> Result<[Metrics; 2], String> {
    let settings = settings(point, seed);
    let run = |load: Load<'_>| match own {
        None => virtual_cell::run(&settings, load),
        Some(own) => virtual_cell::run_policies(&settings, load, &mut |class, _| (own.make)(class)),
    };
    let counts = match &point.found {
        None => {
            let mut workload =
                synthetic::workload(seed, Division::new("service", "batch", 1)).reduced(point.percent);
            let production = |job: &cell_state::job::JobSpec| priority::is_production(Band::of(job.priority));
            workload = workload.at_rate(point.batch_rate, seed, |job| !production(job));
            workload = workload.at_rate(point.service_rate, seed, production);
            run(Load::of_workload(&workload))
        }
        Some(found) => {
            let scenario = changed(point, found, seed)?;
            run(Load::of_scenario(&scenario))
        }
    };
    assert_eq!(counts.violations, 0, "the audit of a simulated cell finds nothing");
    Ok([&counts.batch, &counts.service].map(|of| Metrics::of_class(of, settings.run_us)))
}

/// The workload of a point with all that the point changes of it.
fn changed(point: &Point, found: &Found, seed: u64) -> Result<Scenario, String> {
    let mut scenario = found.scenario(seed)?;
    let told = |error: transform::TransformError| error.to_string();
    for (label, class) in &found.classes {
        let of_class = match class {
            virtual_cell::Class::Batch => point.batch_rate,
            virtual_cell::Class::Service => point.service_rate,
        };
        let rate = point.rates.get(label).copied().unwrap_or(1.0) * of_class;
        // A model may have drawn no job of a rare class.
        if rate != 1.0 && scenario.jobs.iter().any(|job| job.class == *label) {
            transform::scale_rate(&mut scenario, label, rate, seed).map_err(told)?;
        }
    }
    if point.fill > 0.0 {
        let how =
            transform::Prefill { target: point.fill, size: None, priority: 150, run_for_us: None, seed };
        transform::prefill(&mut scenario, &how).map_err(told)?;
    }
    if point.mtbf_s > 0.0 {
        let how = transform::Failures { mtbf_s: point.mtbf_s, mttr_s: point.mttr_s, seed };
        transform::fail(&mut scenario, &how).map_err(told)?;
    }
    Ok(scenario)
}

fn us(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

fn detection(word: &str) -> Detection {
    if word == "version" { Detection::Version } else { Detection::Fit }
}

/// What a conflict does to the rest, and whether a job is proposed only as a whole.
fn atomicity(word: &str) -> (Atomicity, bool) {
    match word {
        "incremental" => (Atomicity::Incremental, false),
        "gang" => (Atomicity::AllOrNothing, true),
        _ => (Atomicity::AllOrNothing, false),
    }
}

fn settings(point: &Point, seed: u64) -> Settings {
    let way = |job_s, task_s| Way {
        think_job_us: us(job_s),
        think_task_us: us(task_s),
        detection: detection(&point.detection),
        atomicity: atomicity(&point.atomicity).0,
        gang: atomicity(&point.atomicity).1,
        fallbacks: point.fallbacks,
        placing: match point.policy.as_str() {
            "choices" => Placing::Choices,
            "service" => Placing::Service,
            _ => Placing::Batch,
        },
        sample: point.sample,
        score: if point.score == "even" { Score::Even } else { Score::Pack },
        preempt: point.preempt,
    };
    let own = |label: &str| LabelWay {
        detection: point.detections.get(label).map(|word| detection(word)),
        atomicity: point.atomicities.get(label).map(|word| atomicity(word)),
    };
    let labels = point.detections.keys().chain(point.atomicities.keys());
    Settings {
        architecture: architecture(point),
        batch: way(point.batch_job_s, point.batch_task_s),
        service: way(point.service_job_s, point.service_task_s),
        labels: labels.map(|label| (label.clone(), own(label))).collect(),
        batch_schedulers: point.batch_schedulers,
        service_schedulers: point.service_schedulers,
        staleness_us: us(point.staleness_s),
        commit_us: us(point.commit_s),
        in_flight: point.in_flight,
        tasks_per_txn: point.tasks_per_txn,
        adaptive: point.adaptive,
        retry: if point.retry == "back-off" { Retry::BackOff } else { Retry::After(us(point.retry_s)) },
        attempts_max: point.attempts_max,
        escalate_after: point.escalate_after,
        grace_us: us(point.grace_s),
        promise_percent: point.promise_percent,
        run_us: us(point.hours * 3_600.0),
        seed,
    }
}

fn architecture(point: &Point) -> Architecture {
    let by_parts = |prefer| Architecture::PartitionedSync {
        parts: if point.parts == 0 { point.batch_schedulers + point.service_schedulers } else { point.parts },
        gap_us: us(point.gap_s),
        prefer,
    };
    match point.architecture.as_str() {
        "mono-single" => Architecture::MonoSingle,
        "mono-multi" => Architecture::MonoMulti,
        "partitions" => {
            Architecture::Partitions { service_percent: (point.service_part * 100.0).round() as u16 }
        }
        "mesos" => Architecture::Offers { every_us: us(point.offers_s) },
        "parsync-latency" => by_parts(Prefer::Latency),
        "parsync-quality" => by_parts(Prefer::Quality),
        "parsync-adaptive" => by_parts(Prefer::Adaptive),
        _ => Architecture::Shared,
    }
}
