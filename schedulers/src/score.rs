//! How good a machine is for a task that fits it. Scores only order machines; feasibility is the fit rule's alone.

use cell_state::fit::Demand;
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

/// Resources that few machines have: GPUs, and what the operator named. Who doesn't ask for them keeps off.
pub(crate) const RARE: [Dimension; 4] = [Dimension::GPU, Dimension(5), Dimension(6), Dimension(7)];

impl Score {
    /// What a machine loses for each rare resource that the task doesn't ask for.
    pub(crate) const RARE_PENALTY: f64 = 2.0;

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
            } else if limit > 0 && RARE.contains(&d) {
                penalty += Score::RARE_PENALTY;
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
    fn a_machine_with_gpus_is_left_to_those_who_ask_for_them() {
        let plain = Resources::cpu_memory(1_000, 1_000);
        let gpu = plain.with(Dimension::GPU, 4_000);
        let modest = demand(Resources::cpu_memory(100, 100));
        for score in [Score::Pack, Score::Even] {
            assert!(score.of(&modest, &plain, &plain) > score.of(&modest, &gpu, &gpu));
        }
    }
}
