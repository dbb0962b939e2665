//! Which process of a scheduler name takes care of a job: rendezvous hashing over the live sessions of that name.
//!
//! Every process computes the same answer from its copy. When a process comes or goes only the jobs it wins or held
//! move. Correctness never depends on it: two processes that both believe to own a job merely conflict.

use cell_state::{Cell, JobId};

/// The owner of a job among these instances; `None` when there are none.
pub fn owner(job: JobId, instances: &[u64]) -> Option<u64> {
    instances.iter().copied().max_by_key(|instance| (weight(job, *instance), *instance))
}

/// The instances of the live processes of a scheduler name, in the order of their sessions.
pub fn live_instances(cell: &Cell, scheduler: &str) -> Vec<u64> {
    cell.sessions().live().filter(|s| s.scheduler == scheduler).map(|s| s.instance).collect()
}

/// A well mixed number of a job and an instance (the finalizer of SplitMix64, twice).
fn weight(job: JobId, instance: u64) -> u64 {
    mix(mix(instance) ^ u64::from(job.0))
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOBS: u32 = 10_000;

    #[test]
    fn nobody_owns_without_processes_and_one_owns_all() {
        assert_eq!(owner(JobId(3), &[]), None);
        assert!((0..100).all(|j| owner(JobId(j), &[42]) == Some(42)));
    }

    #[test]
    fn the_order_of_sessions_does_not_matter() {
        assert!((0..100).all(|j| owner(JobId(j), &[1, 2, 3]) == owner(JobId(j), &[3, 1, 2])));
    }

    #[test]
    fn shares_are_even() {
        let instances = [11, 22, 33, 44];
        for instance in instances {
            let share = (0..JOBS).filter(|j| owner(JobId(*j), &instances) == Some(instance)).count();
            assert!((2_200..2_800).contains(&share), "{instance} owns {share} of {JOBS}");
        }
    }

    #[test]
    fn only_the_jobs_of_who_left_move() {
        let (before, after) = ([11, 22, 33, 44], [11, 33, 44]);
        for job in (0..JOBS).map(JobId) {
            let was = owner(job, &before);
            if was != Some(22) {
                assert_eq!(owner(job, &after), was);
            }
        }
    }
}
