//! A point on the paper's own simulator.

use bench::omega2013::{self, Averages, Class, Defects, Draws, Machines, Offers, Prefill, Think};

use super::metrics::Metrics;
use super::point::Point;

/// Runs a point: the metrics of batch jobs and of service jobs.
pub(super) fn run(point: &Point, seed: u64) -> [Metrics; 2] {
    let run_time_s = point.hours * 3_600.0;
    let scaled = |of: Averages, rate| Averages { inter_arrival_s: of.inter_arrival_s / rate, ..of };
    let batch = Averages { duration_s: point.batch_duration_s, ..scaled(Averages::BATCH, point.batch_rate) };
    let service = scaled(Averages::SERVICE, point.service_rate);
    let draws = Draws { seed, batch, service };
    let figures = omega2013::run_drawn(&settings(point, run_time_s, seed), &draws);
    Class::ALL.map(|class| {
        let jobs = figures.workloads.iter().find(|(of, _)| *of == class).map(|(_, w)| *w);
        let jobs = jobs.expect("every run has figures of both classes");
        let kind = if class == Class::Batch { "Batch" } else { "Other" };
        let found = figures.schedulers.iter().find(|(name, _)| *name == kind);
        // A monolithic scheduler has only the one kind, and its busyness is that of both classes.
        let of = found.or(figures.schedulers.first()).expect("every run has schedulers").1;
        Metrics {
            busy: of.useful + of.wasted,
            useful: of.useful,
            wasted: of.wasted,
            conflict_fraction: of.conflicts_per_success(),
            conflicts_per_attempt: of.conflicts_per_attempt(),
            wait_s: jobs.wait_first_s[0],
            wait_s_p50: jobs.wait_first_s[1],
            wait_s_p90: jobs.wait_first_s[2],
            wait_s_p99: jobs.wait_first_s[3],
            wait_full_s: jobs.wait_full_s[0],
            wait_full_s_p90: jobs.wait_full_s[1],
            jobs: jobs.jobs as f64,
            placed_jobs: bench::figures::fraction(jobs.full, jobs.jobs),
            won: of.won as f64,
            conflicted: of.lost as f64,
            lost: of.tasks_lost as f64,
            given_up: of.given_up as f64,
            ..Metrics::default()
        }
    })
}

fn settings(point: &Point, run_time_s: f64, seed: u64) -> omega2013::Settings {
    use omega2013::{Architecture, Detection, Transaction};
    let mut defects = if point.defects { Defects::ALL } else { Defects::NONE };
    // A gang is all of a job; all-or-nothing, in this simulator as in the paper's, all that found machines.
    defects.parts_pass_as_whole |= point.atomicity == "all-or-nothing";
    omega2013::Settings {
        architecture: match point.architecture.as_str() {
            "mono-single" => Architecture::MonoSingle,
            "mono-multi" => Architecture::MonoMulti,
            "mesos" => Architecture::Mesos,
            _ => Architecture::Omega,
        },
        detection: match point.detection.as_str() {
            "version" => Detection::SequenceNumbers,
            _ => Detection::ResourceFit,
        },
        transaction: match point.atomicity.as_str() {
            "incremental" => Transaction::Incremental,
            _ => Transaction::AllOrNothing,
        },
        machines: Machines { count: point.machines, cpus: 4.0, memory: 16.0 },
        // Tasks of a core and 4 GB: four of them fill a machine.
        prefill: Prefill {
            jobs: (f64::from(point.machines) * 4.0 * point.prefill / 50.0).round() as u32,
            tasks: 50,
            cpus: 1.0,
            memory: 4.0,
        },
        batch_schedulers: point.batch_schedulers,
        service_schedulers: point.service_schedulers,
        batch_think: Think { per_job_s: point.batch_job_s, per_task_s: point.batch_task_s },
        service_think: Think { per_job_s: point.service_job_s, per_task_s: point.service_task_s },
        offers: Offers::PAPER,
        run_time_s,
        seed: seed as i64,
        defects,
    }
}
