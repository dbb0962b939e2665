//! What tasks use: sampled now and then, and told to the server beside everything else. A round that takes longer than
//! the time between two is followed by none until it is done, so sampling never piles up.
//!
//! Where a task has cgroups of its own, a few files of the kernel's count it; otherwise its processes are added up from
//! `/proc`, from its shim down.

mod cgroup;
mod process_tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use agent::PlacementId;
use cell_state::{MachineId, Resources};
use tokio::sync::mpsc;
use transport::Request;
use transport::bounds::USAGE_ROWS_MAX;
use transport::usage::{MachineUsage, TaskUsage, Usage};
use transport_quic::Client;

use crate::bounds::CGROUP_LOOKS;
use crate::process::{self, Identity};
use crate::task_dir::TaskDir;
use cgroup::Cgroups;

/// A machine, and its placements that run, with what each is promised.
pub(crate) type Running = (MachineId, Vec<(PlacementId, Resources)>);

/// What is to be sampled, and who is to be told.
pub(crate) struct Round {
    pub(crate) client: Client,
    pub(crate) machines: Vec<Running>,
}

/// How usage comes about.
#[derive(Debug)]
pub(crate) enum Source {
    /// Of processes, whose directories are below this.
    Processes(PathBuf),
    /// Pretended: so many percent of what is promised.
    Simulated(u32),
}

/// Starts the task that samples. A round for which there is no room is left out.
pub(crate) fn start(source: Source) -> mpsc::Sender<Round> {
    let (rounds, taken) = mpsc::channel(1);
    tokio::spawn(run(source, taken));
    rounds
}

async fn run(source: Source, mut rounds: mpsc::Receiver<Round>) {
    match source {
        Source::Processes(root) => {
            let mut sampler = Sampler::new(root);
            while let Some(Round { client, machines }) = rounds.recv().await {
                for (machine, placements) in machines {
                    let sampled = tokio::task::spawn_blocking(move || {
                        let samples = sampler.sample(&placements, Instant::now());
                        (sampler, samples)
                    });
                    let Ok((back, samples)) = sampled.await else { return };
                    sampler = back;
                    tell(&client, machine, samples).await;
                }
            }
        }
        Source::Simulated(percent) => {
            let began = Instant::now();
            while let Some(Round { client, machines }) = rounds.recv().await {
                let up_us = began.elapsed().as_micros() as u64;
                for (machine, placements) in machines {
                    let samples =
                        placements.iter().map(|(id, promised)| pretended(*id, promised, percent, up_us));
                    tell(&client, machine, samples.collect()).await;
                }
            }
        }
    }
}

/// Tells the server; a round that doesn't get through is made up for by the next.
async fn tell(client: &Client, machine: MachineId, samples: Vec<TaskUsage>) {
    let mut first = true;
    let mut rest = &samples[..];
    loop {
        let (some, more) = rest.split_at(rest.len().min(USAGE_ROWS_MAX));
        let request = Request::Usage(MachineUsage { machine, first, tasks: some.to_vec() });
        if let Err(error) = client.call(request).await {
            return tracing::debug!(%error, "usage not told");
        }
        (first, rest) = (false, more);
        if rest.is_empty() {
            return;
        }
    }
}

fn pretended(id: PlacementId, promised: &Resources, percent: u32, up_us: u64) -> TaskUsage {
    let of = |amount: u64| amount.saturating_mul(u64::from(percent)) / 100;
    let (cpu_milli, memory_bytes) = (of(promised.0[0]), of(promised.0[1]));
    let usage = Usage {
        cpu_us: up_us.saturating_mul(cpu_milli) / 1_000,
        cpu_milli,
        memory_bytes,
        memory_peak_bytes: memory_bytes,
        read_bytes: 0,
        written_bytes: 0,
        processes: 1,
    };
    TaskUsage { task: id.task, epoch: id.epoch, usage }
}

/// Samples placements of this machine.
struct Sampler {
    root: PathBuf,
    known: BTreeMap<PlacementId, Known>,
}

/// What is remembered of a placement from sample to sample.
struct Known {
    dir: TaskDir,
    shim: Identity,
    cgroups: Option<Cgroups>,
    /// How often it was looked whether it has cgroups of its own: it moves into them after it has started.
    looks: u32,
    last: Usage,
    at: Option<Instant>,
}

/// What was counted at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counted {
    cpu_us: u64,
    memory_bytes: u64,
    memory_peak_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
    processes: u32,
}

impl Sampler {
    fn new(root: PathBuf) -> Sampler {
        Sampler { root, known: BTreeMap::new() }
    }

    fn sample(&mut self, placements: &[(PlacementId, Resources)], now: Instant) -> Vec<TaskUsage> {
        let mut before = std::mem::take(&mut self.known);
        let mut samples = Vec::new();
        for (id, _) in placements {
            let known = before.remove(id).or_else(|| Known::find(&TaskDir::of(&self.root, *id)));
            let Some(mut known) = known else { continue };
            // One that has ended meanwhile is told about by others.
            let Some(usage) = known.sample(now) else { continue };
            samples.push(TaskUsage { task: id.task, epoch: id.epoch, usage });
            self.known.insert(*id, known);
        }
        samples
    }
}

impl Known {
    fn find(dir: &TaskDir) -> Option<Known> {
        let shim = dir.live().ok()??.shim?;
        Some(Known { dir: dir.clone(), shim, cgroups: None, looks: 0, last: Usage::default(), at: None })
    }

    fn sample(&mut self, now: Instant) -> Option<Usage> {
        if self.cgroups.is_none() && self.looks < CGROUP_LOOKS {
            self.looks += 1;
            let main = process::main_process(&self.dir).ok().flatten();
            self.cgroups = main.and_then(|main| Cgroups::of(main.pid, self.shim.pid));
        }
        let counted = match &self.cgroups {
            Some(cgroups) => cgroups.read(),
            None => process_tree::read(self.shim),
        }?;
        let last = self.last;
        let cpu_us = counted.cpu_us.max(last.cpu_us);
        let since = self.at.map(|at| now.saturating_duration_since(at).as_micros() as u64);
        let cpu_milli = match since {
            Some(since) if since > 0 => (cpu_us - last.cpu_us).saturating_mul(1_000) / since,
            Some(_) | None => 0,
        };
        self.last = Usage {
            cpu_us,
            cpu_milli,
            memory_bytes: counted.memory_bytes,
            memory_peak_bytes: counted
                .memory_peak_bytes
                .max(last.memory_peak_bytes)
                .max(counted.memory_bytes),
            // Processes that are gone take their counts along.
            read_bytes: counted.read_bytes.max(last.read_bytes),
            written_bytes: counted.written_bytes.max(last.written_bytes),
            processes: counted.processes,
        };
        self.at = Some(now);
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pretended_is_a_part_of_what_is_promised() {
        let id = PlacementId {
            task: cell_state::TaskId { job: cell_state::JobId(1), group: 0, index: 2 },
            epoch: 3,
        };
        let sample = pretended(id, &Resources::cpu_memory(2_000, 1 << 30), 25, 4_000_000);
        assert_eq!((sample.task, sample.epoch), (id.task, 3));
        assert_eq!(
            (sample.usage.cpu_milli, sample.usage.memory_bytes, sample.usage.cpu_us),
            (500, 1 << 28, 2_000_000)
        );
    }

    /// A process that is ended whatever becomes of the test.
    struct Hog(std::process::Child);

    impl Drop for Hog {
        fn drop(&mut self) {
            // It may have been ended before.
            let _ = self.0.kill();
        }
    }

    #[test]
    fn usage_since_the_last_sample_is_told_and_counts_never_go_back() {
        let own = Identity::own().expect("this process");
        let dir = TaskDir::at(PathBuf::new());
        let mut known =
            Known { dir, shim: own, cgroups: None, looks: CGROUP_LOOKS, last: Usage::default(), at: None };
        let start = Instant::now();
        known.last.read_bytes = u64::MAX;
        let mut child =
            Hog(std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh"));
        // It has no memory yet while it becomes a shell.
        while process_tree::read(own).is_none_or(|counted| counted.memory_bytes == 0) {}
        let first = known.sample(start).expect("it is there");
        assert_eq!((first.cpu_milli, first.read_bytes), (0, u64::MAX));
        assert!(first.processes >= 1 && first.memory_bytes > 0, "{first:?}");
        // Whatever the pace of this machine, a process that does nothing else gets some of it.
        let used = loop {
            let next = known.sample(start + std::time::Duration::from_secs(1)).expect("it is there");
            if next.cpu_us > first.cpu_us {
                break next;
            }
        };
        child.0.kill().expect("it runs");
        child.0.wait().expect("it ends");
        assert!(used.memory_peak_bytes >= used.memory_bytes, "{used:?}");
    }
}
