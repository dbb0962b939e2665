//! Durations, counted so that a run of a year takes as much memory as one of a minute: percentiles to three digits,
//! averages exactly.

use hdrhistogram::Histogram;

/// Many durations.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Durations {
    histogram: Option<Histogram<u64>>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Durations {
    /// Adds one.
    pub fn add(&mut self, us: u64) {
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
        let new = || {
            let mut new = Histogram::new(3).expect("three digits are few enough");
            new.auto(true);
            new
        };
        let histogram = self.histogram.get_or_insert_with(new);
        // It grows to what is recorded, and a duration of a run is far below the most it can grow to.
        histogram.record(us).expect("a histogram that grows takes every duration");
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// Seconds on average; 0 of none.
    pub fn mean_s(&self) -> f64 {
        crate::figures::fraction(self.sum_us, self.count) / 1e6
    }

    /// Seconds that this part of them doesn't exceed, to three digits; 0 of none.
    pub fn quantile_s(&self, part: f64) -> f64 {
        let found = self.histogram.as_ref().map_or(0, |h| h.value_at_quantile(part));
        found.min(self.max_us) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_exact_and_percentiles_to_three_digits() {
        let mut durations = Durations::default();
        assert_eq!((durations.mean_s(), durations.quantile_s(0.5)), (0.0, 0.0));
        (1..=1_000).for_each(|ms| durations.add(ms * 1_000));
        assert_eq!((durations.mean_s(), durations.max_us(), durations.count()), (0.5005, 1_000_000, 1_000));
        for (part, expected) in [(0.001, 0.001), (0.5, 0.5), (0.9, 0.9), (1.0, 1.0)] {
            let found = durations.quantile_s(part);
            assert!((found - expected).abs() <= expected / 1_000.0, "{part}: {found}");
        }
    }
}
