//! The experiment the simulator's speed is measured with: a day of two schedulers on 10,000 machines.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Architecture, Defects, Detection, Machines, Offers, Prefill, Settings, StreamJob, Streams, Think,
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
    of: Averages,
    cpus: [(f64, u32); 4],
    memory: [(f64, u32); 4],
}

const BATCH: Drawn = Drawn {
    of: Averages::BATCH,
    cpus: [(0.25, 8), (0.5, 6), (1.0, 4), (2.0, 2)],
    memory: [(0.5, 8), (1.0, 6), (2.0, 4), (4.0, 2)],
};

const SERVICE: Drawn = Drawn {
    of: Averages::SERVICE,
    cpus: [(0.25, 4), (0.5, 6), (1.0, 6), (2.0, 4)],
    memory: [(0.5, 4), (1.0, 6), (2.0, 6), (4.0, 4)],
};

/// Job streams with the averages of the golden ones, for when those are not at hand.
pub fn drawn(seed: u64, run_time_s: f64) -> Streams {
    drawn_as(seed, run_time_s, Averages::BATCH, Averages::SERVICE)
}

/// Job streams with these averages, which are positive. Each class has draws of its own, so changing one leaves the
/// other as it is.
pub fn drawn_as(seed: u64, run_time_s: f64, batch: Averages, service: Averages) -> Streams {
    let draw = |class: u64, from: Drawn, of| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(class);
        Drawn { of, ..from }.draw(&mut random, run_time_s)
    };
    Streams { batch: draw(0, BATCH, batch), service: draw(1, SERVICE, service) }
}

impl Drawn {
    fn draw(&self, random: &mut ChaCha8Rng, run_time_s: f64) -> Vec<StreamJob> {
        let mut jobs = Vec::new();
        let mut submit_s = exponential(random, self.of.inter_arrival_s);
        while submit_s < run_time_s {
            jobs.push(StreamJob {
                submit_s,
                tasks: exponential(random, self.of.tasks).ceil().max(1.0) as u32,
                duration_s: exponential(random, self.of.duration_s),
                cpus: one_of(random, &self.cpus),
                memory: one_of(random, &self.memory),
            });
            submit_s += exponential(random, self.of.inter_arrival_s);
        }
        jobs
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
