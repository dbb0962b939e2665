//! Division of a load among schedulers: each job is owned by exactly one, but all of them place on all machines.

use crate::bounds::BATCH_SCHEDULERS_MAX;
use crate::priority;
use cell_state::job::Band;

/// The names of the schedulers that share a load.
///
/// Production and monitoring work goes to the first, everything else to one of the batch schedulers: whichever was
/// given the fewest tasks so far, so that none of them runs out of work while the others still compete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Division {
    service: String,
    batch: Vec<(String, u64)>,
}

impl Division {
    /// `service` for production and monitoring, `batch-0`, `batch-1`, … for the rest; at least one of these.
    pub fn new(service: &str, batch: &str, batch_count: usize) -> Division {
        let count = batch_count.clamp(1, BATCH_SCHEDULERS_MAX);
        Division {
            service: service.to_owned(),
            batch: (0..count).map(|i| (format!("{batch}-{i}"), 0)).collect(),
        }
    }

    /// The names of the batch schedulers.
    pub fn batch(&self) -> impl Iterator<Item = &str> {
        self.batch.iter().map(|(name, _)| name.as_str())
    }

    /// The name of the scheduler of production work.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The scheduler of the next job, which has this priority and this many tasks.
    pub fn assign(&mut self, priority: u16, tasks: u64) -> String {
        if priority::is_production(Band::of(priority)) {
            return self.service.clone();
        }
        let least = self.batch.iter_mut().min_by_key(|(_, given)| *given);
        let (name, given) = least.expect("there is at least one batch scheduler");
        *given += tasks;
        name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_goes_to_the_service_scheduler_and_the_rest_is_balanced() {
        let mut division = Division::new("service", "batch", 2);
        let given: Vec<String> = [(350, 9), (150, 20), (10, 5), (110, 5), (225, 1), (199, 1), (0, 1)]
            .into_iter()
            .map(|(priority, tasks)| division.assign(priority, tasks))
            .collect();
        assert_eq!(given, ["service", "batch-0", "batch-1", "batch-1", "service", "batch-1", "batch-1"]);
    }

    #[test]
    fn there_is_always_a_batch_scheduler() {
        assert_eq!(Division::new("s", "b", 0).batch().collect::<Vec<_>>(), ["b-0"]);
    }
}
