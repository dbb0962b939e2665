//! The experiment the simulator's speed is measured with: a day of two schedulers on 10,000 machines.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Architecture, Class, Defects, Detection, Machines, Offers, Prefill, Settings, StreamJob, Streams, Think,
    Transaction,
};

/// SBS1 with fine detection and incremental transactions.
pub fn sbs1() -> Settings {
    Settings {
        architecture: Architecture::Omega,
        detection: Detection::ResourceFit,
        transaction: Transaction::Incremental,
        machines: Machines { count: 10_000, cpus: 4.0, memory: 16.0 },
        prefill: Prefill { jobs: 480, tasks: 50, cpus: 1.0, memory: 4.0 },
        batch_schedulers: 1,
        service_schedulers: 1,
        batch_think: Think { per_job_s: 0.1, per_task_s: 0.005 },
        service_think: Think { per_job_s: 10.0, per_task_s: 0.005 },
        offers: Offers::PAPER,
        run_time_s: 86_400.0,
        seed: 0,
        defects: Defects::ALL,
    }
}

/// Averages of a class of jobs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Averages {
    /// Seconds between two jobs.
    pub inter_arrival_s: f64,
    /// Tasks of a job.
    pub tasks: f64,
    /// Seconds a task runs.
    pub duration_s: f64,
}

impl Averages {
    /// Batch jobs of SBS1.
    pub const BATCH: Averages = Averages { inter_arrival_s: 3.0, tasks: 50.5, duration_s: 600.0 };
    /// Service jobs of SBS1.
    pub const SERVICE: Averages = Averages { inter_arrival_s: 200.0, tasks: 10.5, duration_s: 86_400.0 };
}

/// What a class of jobs is drawn from: everything exponential, sizes by their shares in twentieths.
struct Drawn {
    cpus: [(f64, u32); 4],
    memory: [(f64, u32); 4],
}

const BATCH: Drawn = Drawn {
    cpus: [(0.25, 8), (0.5, 6), (1.0, 4), (2.0, 2)],
    memory: [(0.5, 8), (1.0, 6), (2.0, 4), (4.0, 2)],
};

const SERVICE: Drawn = Drawn {
    cpus: [(0.25, 4), (0.5, 6), (1.0, 6), (2.0, 4)],
    memory: [(0.5, 4), (1.0, 6), (2.0, 6), (4.0, 4)],
};

/// Jobs to draw: those of a class don't depend on what the other's averages are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Draws {
    /// Decides every draw.
    pub seed: u64,
    /// Averages of batch jobs, which are positive.
    pub batch: Averages,
    /// Averages of service jobs, which are positive.
    pub service: Averages,
}

/// Job streams with the averages of the golden ones, for when those are not at hand.
pub fn drawn(seed: u64, run_time_s: f64) -> Streams {
    let draws = Draws { seed, batch: Averages::BATCH, service: Averages::SERVICE };
    let all = |class| draws.jobs(class, run_time_s).collect();
    Streams { batch: all(Class::Batch), service: all(Class::Service) }
}

impl Draws {
    /// Every pair of cores and memory that may be drawn.
    pub(super) fn sizes() -> Vec<(f64, f64)> {
        let of = |from: Drawn| from.cpus.map(|(cpus, _)| from.memory.map(|(memory, _)| (cpus, memory)));
        [BATCH, SERVICE].map(of).into_iter().flatten().flatten().collect()
    }

    /// The jobs of a class, one by one.
    pub(super) fn jobs(&self, class: Class, run_time_s: f64) -> impl Iterator<Item = StreamJob> + use<> {
        let (number, from, of) = match class {
            Class::Batch => (0, BATCH, self.batch),
            Class::Service => (1, SERVICE, self.service),
        };
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number);
        let mut submit_s = 0.0;
        std::iter::from_fn(move || {
            submit_s += exponential(&mut random, of.inter_arrival_s);
            (submit_s < run_time_s).then(|| StreamJob {
                submit_s,
                tasks: exponential(&mut random, of.tasks).ceil().max(1.0) as u32,
                duration_s: exponential(&mut random, of.duration_s),
                cpus: one_of(&mut random, &from.cpus),
                memory: one_of(&mut random, &from.memory),
            })
        })
    }
}

fn exponential(random: &mut ChaCha8Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.random::<f64>()).ln()
}

fn one_of(random: &mut ChaCha8Rng, sizes: &[(f64, u32); 4]) -> f64 {
    let mut drawn = random.random_range(0..sizes.iter().map(|(_, share)| share).sum());
    for (size, share) in sizes {
        if drawn < *share {
            return *size;
        }
        drawn -= share;
    }
    sizes[0].0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_does_not_grow_with_the_time_simulated() {
        // A small cell, so that days pass quickly; jobs end within the hour.
        let short = |of: Averages| Averages { duration_s: 600.0, inter_arrival_s: 20.0, ..of };
        let draws = Draws { seed: 3, batch: short(Averages::BATCH), service: short(Averages::SERVICE) };
        let most = |architecture, hours: f64| {
            let machines = Machines { count: 1_000, cpus: 4.0, memory: 16.0 };
            let prefill = Prefill { jobs: 20, ..sbs1().prefill };
            let run_time_s = hours * 3_600.0;
            let settings = Settings { architecture, machines, prefill, run_time_s, ..sbs1() };
            let figures = super::super::run_drawn(&settings, &draws);
            assert!(figures.workloads[0].1.jobs as f64 > hours * 150.0);
            figures.objects_most
        };
        for architecture in [Architecture::Omega, Architecture::MonoMulti, Architecture::Mesos] {
            let [one, eight] = [6.0, 48.0].map(|hours| most(architecture, hours));
            assert!(eight < one * 2 && eight < 1_000, "{architecture:?}: {one}, then {eight}");
        }
    }

    #[test]
    fn jobs_drawn_as_they_come_are_those_drawn_before() {
        let settings = Settings { run_time_s: 7_200.0, ..sbs1() };
        let draws = Draws { seed: 2, batch: Averages::BATCH, service: Averages::SERVICE };
        let streams = drawn(2, settings.run_time_s);
        let drawn = super::super::run_drawn(&settings, &draws);
        assert_eq!(drawn, super::super::run(&settings, &streams));
    }

    #[test]
    fn a_drawn_day_has_the_averages_of_the_golden_one() {
        let streams = drawn(1, 86_400.0);
        assert_eq!(streams, drawn(1, 86_400.0));
        assert!((28_000..29_600).contains(&streams.batch.len()), "{}", streams.batch.len());
        assert!((350..510).contains(&streams.service.len()), "{}", streams.service.len());
        let tasks: u32 = streams.batch.iter().map(|job| job.tasks).sum();
        assert!((1_400_000..1_540_000).contains(&tasks), "{tasks}");
    }

    #[test]
    fn a_quiet_hour_places_everything_and_a_rerun_is_equal() {
        let settings = Settings { run_time_s: 3_600.0, ..sbs1() };
        let streams = drawn(2, settings.run_time_s);
        let figures = super::super::run(&settings, &streams);
        assert_eq!(figures, super::super::run(&settings, &streams));
        let left: u64 = figures.workloads.iter().map(|(_, w)| w.tasks_left).sum();
        assert!(left < 500, "{left}");
        assert!(figures.cell.cpu > 0.6 && figures.cell.cpu < 0.9, "{}", figures.cell.cpu);
    }
}
