//! Distributions of non-negative numbers, drawn by inverting them, with the same bits on every machine.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::transform::unit;

/// A distribution.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Always the same.
    Constant(f64),
    /// Any number between two, all alike.
    Uniform {
        /// The smallest.
        from: f64,
        /// The largest.
        to: f64,
    },
    /// Exponential.
    Exponential {
        /// The mean.
        mean: f64,
    },
    /// The logarithm is normal.
    Lognormal {
        /// The median.
        median: f64,
        /// The standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// Pareto: many small, few large.
    Pareto {
        /// The smallest.
        minimum: f64,
        /// The exponent of the tail; up to 1 there is no mean.
        alpha: f64,
        /// Larger ones are cut to this.
        #[serde(default)]
        maximum: Option<f64>,
    },
    /// Measured: straight lines between these pairs of a fraction and the value it doesn't exceed.
    Quantiles(Vec<(f64, f64)>),
}

impl Distribution {
    /// Draws a number.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        let u = unit(rng);
        match self {
            Distribution::Constant(value) => *value,
            Distribution::Uniform { from, to } => from + (to - from) * u,
            Distribution::Exponential { mean } => -mean * libm::log(1.0 - u),
            Distribution::Lognormal { median, sigma } => {
                // Box and Muller's normal number; the second one is left out so that each draw takes two.
                let radius = libm::sqrt(-2.0 * libm::log(1.0 - u));
                median * libm::exp(sigma * radius * libm::cos(TAU * unit(rng)))
            }
            Distribution::Pareto { minimum, alpha, maximum } => {
                let value = minimum * libm::pow(1.0 - u, -1.0 / alpha);
                maximum.map_or(value, |maximum| value.min(maximum))
            }
            Distribution::Quantiles(points) => {
                let right = points.partition_point(|(fraction, _)| *fraction <= u).min(points.len() - 1);
                let ((x0, y0), (x1, y1)) = (points[right.saturating_sub(1)], points[right]);
                if x1 > x0 { y0 + (y1 - y0) * ((u - x0) / (x1 - x0)) } else { y1 }
            }
        }
    }

    /// True when it never gives anything but zero.
    pub fn is_zero(&self) -> bool {
        match self {
            Distribution::Constant(value) => *value <= 0.0,
            Distribution::Uniform { to, .. } => *to <= 0.0,
            Distribution::Exponential { mean } => *mean <= 0.0,
            Distribution::Lognormal { median, .. } => *median <= 0.0,
            Distribution::Pareto { minimum, maximum, .. } => *minimum <= 0.0 || *maximum == Some(0.0),
            Distribution::Quantiles(points) => points.iter().all(|(_, value)| *value <= 0.0),
        }
    }

    /// Checks its parameters.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let not_negative = |what: &str, value: f64| {
            let sound = value.is_finite() && value >= 0.0;
            if sound { Ok(()) } else { Err(format!("{what} is {value}; it must be zero or more")) }
        };
        let positive = |what: &str, value: f64| {
            let sound = value.is_finite() && value > 0.0;
            if sound { Ok(()) } else { Err(format!("{what} is {value}; it must be more than zero")) }
        };
        match self {
            Distribution::Constant(value) => not_negative("constant", *value),
            Distribution::Uniform { from, to } => {
                not_negative("from", *from)?;
                not_negative("to", *to)?;
                if from <= to { Ok(()) } else { Err(format!("from {from} is above to {to}; swap them")) }
            }
            Distribution::Exponential { mean } => not_negative("mean", *mean),
            Distribution::Lognormal { median, sigma } => {
                not_negative("median", *median)?;
                not_negative("sigma", *sigma)
            }
            Distribution::Pareto { minimum, alpha, maximum } => {
                positive("minimum", *minimum)?;
                positive("alpha", *alpha)?;
                match maximum {
                    Some(maximum) if maximum < minimum => {
                        Err(format!("maximum {maximum} is below minimum {minimum}; leave it out or raise it"))
                    }
                    Some(maximum) => positive("maximum", *maximum),
                    None => Ok(()),
                }
            }
            Distribution::Quantiles(points) => quantiles(points),
        }
    }
}

fn quantiles(points: &[(f64, f64)]) -> Result<(), String> {
    let ends = (points.first().map(|p| p.0), points.last().map(|p| p.0));
    if points.len() < 2 || ends != (Some(0.0), Some(1.0)) {
        return Err(
            "quantiles need a value at fraction 0 and one at fraction 1, like [[0, 1], [1, 9]]".to_owned()
        );
    }
    if !points.iter().all(|(fraction, value)| fraction.is_finite() && value.is_finite() && *value >= 0.0) {
        return Err("quantiles must be numbers, zero or more".to_owned());
    }
    if !points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1) {
        return Err("quantiles must increase, fractions and values; sort them".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn sorted(distribution: &Distribution, seed: u64) -> Vec<f64> {
        distribution.check().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut drawn: Vec<f64> = (0..20_000).map(|_| distribution.draw(&mut rng)).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    #[test]
    fn draws_have_the_quantiles_of_their_distribution() {
        let ln = f64::ln;
        let table = [
            (Distribution::Constant(3.0), [3.0, 3.0, 3.0]),
            (Distribution::Uniform { from: 1.0, to: 5.0 }, [2.0, 3.0, 4.0]),
            (Distribution::Exponential { mean: 2.0 }, [-2.0 * ln(0.75), -2.0 * ln(0.5), -2.0 * ln(0.25)]),
            (
                Distribution::Lognormal { median: 10.0, sigma: 1.0 },
                [10.0 * (-0.674_49f64).exp(), 10.0, 10.0 * 0.674_49f64.exp()],
            ),
            (
                Distribution::Pareto { minimum: 1.0, alpha: 2.0, maximum: None },
                [0.75f64.powf(-0.5), 0.5f64.powf(-0.5), 2.0],
            ),
            (Distribution::Quantiles(vec![(0.0, 0.0), (0.5, 1.0), (1.0, 9.0)]), [0.5, 1.0, 5.0]),
        ];
        for (distribution, expected) in table {
            for seed in 0..4 {
                let drawn = sorted(&distribution, seed);
                for (at, expected) in [(5_000, expected[0]), (10_000, expected[1]), (15_000, expected[2])] {
                    // 20,000 draws: the standard error of these quantiles is below 1.5 % of them.
                    let near = (drawn[at] - expected).abs() <= 0.06 * expected;
                    assert!(near, "{distribution:?} at {at}: {} for {expected}", drawn[at]);
                }
            }
        }
    }

    #[test]
    fn draws_are_the_same_bits_everywhere() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let distributions = [
            Distribution::Exponential { mean: 2.0 },
            Distribution::Lognormal { median: 10.0, sigma: 1.5 },
            Distribution::Pareto { minimum: 1.0, alpha: 1.1, maximum: Some(50.0) },
        ];
        let bits: Vec<u64> = distributions.iter().map(|d| d.draw(&mut rng).to_bits()).collect();
        assert_eq!(bits, PINNED);
    }

    const PINNED: [u64; 3] =
        [4_607_317_319_637_648_776, 4_618_484_381_775_666_989, 4_608_319_270_560_434_768];

    #[test]
    fn parameters_that_make_no_sense_are_told() {
        let table = [
            (Distribution::Constant(-1.0), "constant is -1; it must be zero or more"),
            (Distribution::Exponential { mean: f64::NAN }, "mean is NaN"),
            (Distribution::Uniform { from: 2.0, to: 1.0 }, "swap them"),
            (Distribution::Pareto { minimum: 1.0, alpha: 0.0, maximum: None }, "alpha is 0; it must be more"),
            (Distribution::Pareto { minimum: 2.0, alpha: 1.0, maximum: Some(1.0) }, "below minimum"),
            (Distribution::Quantiles(vec![(0.0, 1.0)]), "at fraction 0 and one at fraction 1"),
            (Distribution::Quantiles(vec![(0.0, 2.0), (1.0, 1.0)]), "must increase"),
        ];
        for (distribution, problem) in table {
            let error = distribution.check().unwrap_err();
            assert!(error.contains(problem), "{distribution:?}: {error}");
        }
    }
}
