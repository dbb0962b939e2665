//! How a load chooses machines: all alike, or some more often than others.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};

/// Which machines are chosen how often. The first machines are the popular ones.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Skew {
    /// Each as often as any other.
    Uniform,
    /// Each as often as any other, but the machines are divided among the transactions under way: none meets another.
    Own,
    /// The machine of rank *r* as often as 1/r^exponent says.
    Zipf {
        /// The exponent, above 0.
        exponent: f64,
    },
    /// A part of the machines gets a part of all choices, each of them alike; the rest is uniform over the others.
    Hot {
        /// The part of the machines, in (0, 1).
        machines: f64,
        /// The part of the choices, in (0, 1).
        choices: f64,
    },
}

impl FromStr for Skew {
    type Err = String;

    fn from_str(text: &str) -> Result<Skew, String> {
        let wrong = || {
            format!(
                "{text:?} is no skew; write uniform, own, zipf:EXPONENT (such as zipf:1.1) or hot:MACHINES:CHOICES \
                 (hot:0.01:0.5 sends half of the placements to one machine in a hundred)"
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(wrong);
        let skew = match parts[..] {
            ["uniform"] => Skew::Uniform,
            ["own"] => Skew::Own,
            ["zipf", exponent] => Skew::Zipf { exponent: number(exponent)? },
            ["hot", machines, choices] => {
                Skew::Hot { machines: number(machines)?, choices: number(choices)? }
            }
            _ => return Err(wrong()),
        };
        let part = |p: f64| p > 0.0 && p < 1.0;
        let fine = match skew {
            Skew::Uniform | Skew::Own => true,
            Skew::Zipf { exponent } => exponent > 0.0 && exponent <= 10.0,
            Skew::Hot { machines, choices } => part(machines) && part(choices),
        };
        fine.then_some(skew).ok_or_else(wrong)
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skew::Uniform => write!(f, "uniform"),
            Skew::Own => write!(f, "own"),
            Skew::Zipf { exponent } => write!(f, "zipf:{exponent}"),
            Skew::Hot { machines, choices } => write!(f, "hot:{machines}:{choices}"),
        }
    }
}

/// Chooses among a number of machines.
#[derive(Clone, Debug)]
pub struct Chooser {
    machines: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Uniform,
    Own,
    /// For each machine, the part of all choices that it and those before it get.
    Upto(Vec<f64>),
    Hot {
        hot: usize,
        choices: f64,
    },
}

impl Chooser {
    /// For this many machines, at least one.
    pub fn new(skew: Skew, machines: usize) -> Chooser {
        let kind = match skew {
            Skew::Uniform => Kind::Uniform,
            Skew::Own => Kind::Own,
            Skew::Zipf { exponent } => {
                let mut sum = 0.0;
                let weigh = |rank: usize| {
                    sum += (rank as f64).powf(-exponent);
                    sum
                };
                let mut upto: Vec<f64> = (1..=machines).map(weigh).collect();
                upto.iter_mut().for_each(|part| *part /= sum);
                Kind::Upto(upto)
            }
            // At least one machine is hot; with a single one, all of them are.
            Skew::Hot { machines: part, choices } => {
                Kind::Hot { hot: ((machines as f64 * part).ceil() as usize).clamp(1, machines), choices }
            }
        };
        Chooser { machines, kind }
    }

    /// The next machine, as its index, for one of so many transactions under way.
    pub fn choose(&self, rng: &mut impl Rng, (part, parts): (usize, usize)) -> usize {
        match &self.kind {
            Kind::Own => {
                let own = self.machines.saturating_sub(part).div_ceil(parts).max(1);
                (part + parts * rng.random_range(0..own)).min(self.machines - 1)
            }
            Kind::Uniform => rng.random_range(0..self.machines),
            Kind::Upto(upto) => {
                let at: f64 = rng.random();
                upto.partition_point(|part| *part <= at).min(self.machines - 1)
            }
            Kind::Hot { hot, choices } => {
                let at: f64 = rng.random();
                let is_hot = at < *choices || *hot == self.machines;
                if is_hot { rng.random_range(0..*hot) } else { rng.random_range(*hot..self.machines) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const DRAWS: usize = 200_000;

    /// How many of the draws fell on each machine.
    fn drawn(skew: &str, machines: usize) -> Vec<usize> {
        let chooser = Chooser::new(skew.parse().unwrap(), machines);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = vec![0; machines];
        (0..DRAWS).for_each(|_| counts[chooser.choose(&mut rng, (0, 1))] += 1);
        counts
    }

    fn near(found: usize, expected: f64) -> bool {
        (found as f64 - expected).abs() < 0.1 * expected + 10.0
    }

    #[test]
    fn uniform_chooses_all_alike() {
        assert!(drawn("uniform", 100).into_iter().all(|n| near(n, DRAWS as f64 / 100.0)));
    }

    #[test]
    fn zipf_follows_the_ranks() {
        let counts = drawn("zipf:1", 1_000);
        let harmonic: f64 = (1..=1_000).map(|r| 1.0 / f64::from(r)).sum();
        for rank in [1, 2, 10, 100] {
            let expected = DRAWS as f64 / harmonic / rank as f64;
            assert!(near(counts[rank - 1], expected), "rank {rank}: {} of {expected}", counts[rank - 1]);
        }
    }

    #[test]
    fn hot_machines_get_their_part() {
        let counts = drawn("hot:0.1:0.5", 100);
        assert!(near(counts[..10].iter().sum(), DRAWS as f64 / 2.0));
        assert!(counts[10..].iter().all(|n| near(*n, DRAWS as f64 / 2.0 / 90.0)));
    }

    #[test]
    fn own_machines_are_nobody_elses() {
        let chooser = Chooser::new(Skew::Own, 10);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for part in 0..4 {
            let drawn: BTreeSet<usize> = (0..1_000).map(|_| chooser.choose(&mut rng, (part, 4))).collect();
            assert_eq!(drawn, (0..10).filter(|machine| machine % 4 == part).collect());
        }
    }

    #[test]
    fn one_machine_is_always_chosen() {
        for skew in ["uniform", "own", "zipf:2", "hot:0.5:0.5"] {
            assert_eq!(drawn(skew, 1), [DRAWS], "{skew}");
        }
    }

    #[test]
    fn skews_read_back_and_odd_ones_are_refused() {
        for text in ["uniform", "own", "zipf:1.1", "hot:0.01:0.5"] {
            assert_eq!(text.parse::<Skew>().unwrap().to_string(), text);
        }
        for odd in
            ["", "zipf", "zipf:0", "zipf:x", "zipf:inf", "hot:0:0.5", "hot:0.5", "hot:0.5:1", "uniform:1"]
        {
            assert!(odd.parse::<Skew>().is_err(), "{odd}");
        }
    }
}
