//! How good a machine is for a task that fits it. Scores only order machines; feasibility is the fit rule's alone.

use cell_state::fit::Demand;
use cell_state::resources::DIMENSIONS;
use cell_state::{Dimension, Resources};

/// A way to order machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Score {
    /// Best fit: fill machines up, keep others empty for what is large.
    Pack,
    /// Max-min: keep the fullest dimension of every machine as empty as possible. On the Google 2011 cell this places
    /// far more than best fit, since no dimension runs out before the others.
    Even,
}

/// What a machine loses for each resource that is rare (GPUs, the operator's own) and that the task doesn't ask for.
const RARE_PENALTY: f64 = 2.0;

impl Score {
    /// The score of a machine with `free` left of `limit` before the task comes; higher is better, at most 1, and below
    /// 0 only for machines that have something rare the task doesn't ask for.
    pub fn of(self, demand: &Demand, free: &Resources, limit: &Resources) -> f64 {
        let mut least: f64 = 1.0;
        let mut sum = 0.0;
        let mut asked = 0.0;
        let mut penalty = 0.0;
        for d in Dimension::all() {
            let (wanted, limit) = (demand.resources.get(d), limit.get(d));
            if wanted > 0 {
                let left = free.get(d).saturating_sub(wanted) as f64 / (limit.max(1)) as f64;
                least = least.min(left);
                sum += left;
                asked += 1.0;
            } else if limit > 0 && is_rare(d) {
                penalty += RARE_PENALTY;
            }
        }
        let score = match self {
            Score::Pack if asked > 0.0 => 1.0 - sum / asked,
            Score::Pack => 1.0,
            Score::Even => least,
        };
        score - penalty
    }
}

/// [`Score::Even`] prepared for a scan over all machines: it looks only at what the task asks for.
#[derive(Clone, Debug)]
pub struct EvenScan {
    asked: Vec<(Dimension, u64)>,
    asks_rare: bool,
}

impl EvenScan {
    /// Prepared for tasks of this demand.
    pub fn of(demand: &Demand) -> EvenScan {
        let asked = Dimension::all().map(|d| (d, demand.resources.get(d))).filter(|(_, wanted)| *wanted > 0);
        let asked: Vec<(Dimension, u64)> = asked.collect();
        EvenScan { asks_rare: asked.iter().any(|(d, _)| is_rare(*d)), asked }
    }

    /// The score of a machine that `used` so much of its `limit`; `None` when its resources don't do.
    #[inline]
    pub fn score(&self, limit: &Resources, used: &Resources) -> Option<f64> {
        let mut least: f64 = 1.0;
        for (dimension, wanted) in &self.asked {
            let d = dimension.index();
            let left = limit.0[d].checked_sub(used.0[d])?.checked_sub(*wanted)?;
            least = least.min(left as f64 / limit.0[d] as f64);
        }
        let has_rare =
            limit.0[Dimension::GPU.index()] > 0 || limit.0[DIMENSIONS - 3..].iter().any(|r| *r > 0);
        Some(if has_rare && !self.asks_rare { least - RARE_PENALTY } else { least })
    }
}

fn is_rare(dimension: Dimension) -> bool {
    dimension == Dimension::GPU || dimension > Dimension::NET
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(resources: Resources) -> Demand {
        Demand { resources, matchers: Vec::new(), distinct_machines: false, ports: Vec::new() }
    }

    #[test]
    fn pack_prefers_the_fuller_and_even_the_emptier_machine() {
        let demand = demand(Resources::cpu_memory(100, 100));
        let limit = Resources::cpu_memory(1_000, 1_000);
        let (full, empty) = (Resources::cpu_memory(200, 200), Resources::cpu_memory(900, 900));
        assert!(Score::Pack.of(&demand, &full, &limit) > Score::Pack.of(&demand, &empty, &limit));
        assert!(Score::Even.of(&demand, &full, &limit) < Score::Even.of(&demand, &empty, &limit));
    }

    #[test]
    fn even_looks_at_the_scarcest_dimension() {
        let demand = demand(Resources::cpu_memory(100, 100));
        let limit = Resources::cpu_memory(1_000, 1_000);
        let (lopsided, level) = (Resources::cpu_memory(1_000, 150), Resources::cpu_memory(400, 400));
        assert!(Score::Even.of(&demand, &level, &limit) > Score::Even.of(&demand, &lopsided, &limit));
    }

    #[test]
    fn the_scan_gives_the_same_scores() {
        let limit = Resources::cpu_memory(1_000, 2_000).with(Dimension::GPU, 1_000);
        for (cpu, memory, gpu) in [(100, 0, 0), (0, 100, 0), (100, 300, 0), (100, 100, 500), (0, 0, 0)] {
            let demand = demand(Resources::cpu_memory(cpu, memory).with(Dimension::GPU, gpu));
            for used in [Resources::ZERO, Resources::cpu_memory(500, 100), Resources::cpu_memory(890, 1_650)]
            {
                let expected = Score::Even.of(&demand, &limit.minus(&used), &limit);
                assert_eq!(EvenScan::of(&demand).score(&limit, &used), Some(expected));
            }
            let full = EvenScan::of(&demand).score(&limit, &limit);
            assert_eq!(full.is_none(), cpu + memory + gpu > 0);
        }
    }

    #[test]
    fn a_machine_with_gpus_is_left_to_those_who_ask_for_them() {
        let plain = Resources::cpu_memory(1_000, 1_000);
        let gpu = plain.with(Dimension::GPU, 4_000);
        let modest = demand(Resources::cpu_memory(100, 100));
        for score in [Score::Pack, Score::Even] {
            assert!(score.of(&modest, &plain, &plain) > score.of(&modest, &gpu, &gpu));
        }
    }
}
