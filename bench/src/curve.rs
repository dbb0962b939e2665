//! Curves through quantiles: straight lines between the given points, and the mean of any piece of them.

/// A quantile function: at which value a given fraction of a population is not above it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Curve<'a> {
    points: &'a [f64],
    values: &'a [u64],
}

impl<'a> Curve<'a> {
    /// A curve through these values at these fractions, both increasing; the fractions go from 0 to 1.
    pub(crate) fn new(points: &'a [f64], values: &'a [u64]) -> Curve<'a> {
        assert_eq!(points.len(), values.len(), "a curve has one value per point");
        Curve { points, values }
    }

    /// The value at a fraction.
    pub(crate) fn value(&self, fraction: f64) -> f64 {
        let right = self.points.iter().position(|p| *p >= fraction).unwrap_or(self.points.len() - 1).max(1);
        let (x0, x1) = (self.points[right - 1], self.points[right]);
        let (y0, y1) = (self.values[right - 1] as f64, self.values[right] as f64);
        y0 + (y1 - y0) * ((fraction - x0) / (x1 - x0)).clamp(0.0, 1.0)
    }

    /// The mean value between two fractions that have no point between them.
    pub(crate) fn mean(&self, from: f64, to: f64) -> f64 {
        f64::midpoint(self.value(from), self.value(to))
    }

    /// The mean of the whole curve.
    pub(crate) fn mean_of_all(&self) -> f64 {
        self.points.windows(2).map(|w| self.mean(w[0], w[1]) * (w[1] - w[0])).sum()
    }

    /// The largest value.
    pub(crate) fn largest(&self) -> u64 {
        self.values.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_means_are_those_of_straight_lines() {
        let curve = Curve::new(&[0.0, 0.5, 1.0], &[0, 10, 110]);
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 1.0, 2.0].map(|f| curve.value(f)),
            [0.0, 5.0, 10.0, 60.0, 110.0, 110.0]
        );
        assert_eq!(curve.mean(0.5, 1.0), 60.0);
        assert_eq!(curve.mean_of_all(), 0.5 * 5.0 + 0.5 * 60.0);
        assert_eq!(curve.largest(), 110);
    }
}
