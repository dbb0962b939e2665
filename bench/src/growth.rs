//! How a cost grows with a size: the exponent of the power law that fits best.

/// The exponent *e* of `cost = c × size^e` by least squares on logarithms: 1 is linear, 0 doesn't grow. `None` with fewer
/// than two different sizes, or when a size or a cost is not above zero.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.iter().any(|(size, cost)| *size <= 0.0 || *cost <= 0.0) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(size, cost)| (size.ln(), cost.ln())).collect();
    let count = logs.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / count;
    let (mean_size, mean_cost) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = logs.iter().map(|(size, _)| (size - mean_size).powi(2)).sum();
    let together: f64 = logs.iter().map(|(size, cost)| (size - mean_size) * (cost - mean_cost)).sum();
    (spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::exponent;

    fn law(c: f64, e: f64) -> Vec<(f64, f64)> {
        [1.0, 2.0, 4.0, 8.0].map(|size: f64| (size, c * size.powf(e))).to_vec()
    }

    #[test]
    fn power_laws_give_their_exponent() {
        for e in [0.0, 0.5, 1.0, 2.0] {
            let found = exponent(&law(3.0, e)).unwrap();
            assert!((found - e).abs() < 1e-9, "{e}: {found}");
        }
    }

    #[test]
    fn noise_around_a_law_evens_out() {
        let points = [(1.0, 1.1), (2.0, 1.9), (4.0, 4.2), (8.0, 7.8)];
        assert!((exponent(&points).unwrap() - 1.0).abs() < 0.1);
    }

    #[test]
    fn what_has_no_logarithm_or_no_slope_has_no_exponent() {
        for points in [&[][..], &[(1.0, 1.0)], &[(2.0, 1.0), (2.0, 3.0)], &[(1.0, 0.0), (2.0, 1.0)]] {
            assert_eq!(exponent(points), None, "{points:?}");
        }
    }
}
