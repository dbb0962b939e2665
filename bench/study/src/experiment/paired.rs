//! Two settings compared on the same seeds: the difference of each metric, and how sure it is.
//!
//! Runs of one seed share their draws, so the differences vary less than the values. The interval is Student's: the mean
//! of the differences, and t times its standard error.

use super::results::Results;

/// How a metric differs between two settings.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The values of the axes.
    pub at: Vec<f64>,
    /// Of which jobs.
    pub class: String,
    /// What.
    pub metric: String,
    /// The mean with the first settings.
    pub first: f64,
    /// The mean with the second.
    pub second: f64,
    /// Seeds that both were run with.
    pub pairs: usize,
    /// The mean of second - first.
    pub difference: f64,
    /// Where the true mean lies with 95 % confidence.
    pub interval: (f64, f64),
}

impl Difference {
    /// Whether chance alone rarely makes such a difference: the interval doesn't hold 0.
    pub fn is_significant(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }
}

/// Compares a series of one result with one of another, point by point and metric by metric. What only one has, or has
/// with fewer than two seeds, is left out.
pub fn compare(first: (&Results, &str), second: (&Results, &str)) -> Vec<Difference> {
    let mut points: Vec<&[f64]> = Vec::new();
    for run in first.0.runs.iter().filter(|run| run.series == first.1) {
        if !points.contains(&run.at.as_slice()) {
            points.push(&run.at);
        }
    }
    let metrics = first.0.columns();
    let mut found = Vec::new();
    for at in points {
        for class in ["batch", "service"] {
            for metric in &metrics {
                let of = |(results, series): (&Results, &str)| results.values(series, at, class, metric);
                let (ours, theirs) = (of(first), of(second));
                let pairs: Vec<(f64, f64)> = ours
                    .iter()
                    .filter_map(|(seed, a)| Some((*a, theirs.iter().find(|(s, _)| s == seed)?.1)))
                    .filter(|(a, b)| a.is_finite() && b.is_finite())
                    .collect();
                found.extend(difference(at, class, metric, &pairs));
            }
        }
    }
    found
}

fn difference(at: &[f64], class: &str, metric: &str, pairs: &[(f64, f64)]) -> Option<Difference> {
    if pairs.len() < 2 {
        return None;
    }
    let number = pairs.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / number;
    let difference = mean(&|(a, b)| b - a);
    let variance = pairs.iter().map(|(a, b)| (b - a - difference).powi(2)).sum::<f64>() / (number - 1.0);
    let off = t_975(pairs.len() - 1) * (variance / number).sqrt();
    Some(Difference {
        at: at.to_vec(),
        class: class.to_owned(),
        metric: metric.to_owned(),
        first: mean(&|(a, _)| *a),
        second: mean(&|(_, b)| *b),
        pairs: pairs.len(),
        difference,
        interval: (difference - off, difference + off),
    })
}

/// The 97.5 % quantile of Student's distribution with so many degrees of freedom.
fn t_975(freedom: usize) -> f64 {
    const FIRST: [f64; 10] =
        [12.706_2, 4.302_7, 3.182_4, 2.776_4, 2.570_6, 2.446_9, 2.364_6, 2.306_0, 2.262_2, 2.228_1];
    const NORMAL: f64 = 1.959_963_985;
    if let Some(value) = freedom.checked_sub(1).and_then(|at| FIRST.get(at)) {
        return *value;
    }
    // Cornish and Fisher's expansion about the normal one: to four digits from here on.
    let (z, n) = (NORMAL, freedom as f64);
    z + (z.powi(3) + z) / (4.0 * n)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::super::results::Run;
    use super::super::runs::Ran;
    use super::*;

    #[test]
    fn students_quantiles_are_those_of_the_tables() {
        for (freedom, expected) in
            [(1, 12.706), (4, 2.776), (10, 2.228), (11, 2.201), (20, 2.086), (30, 2.042), (120, 1.980)]
        {
            assert!((t_975(freedom) - expected).abs() < 6e-4, "{freedom}: {}", t_975(freedom));
        }
    }

    fn results(series: &str, busy: &[f64]) -> Results {
        let run = |(seed, value): (u64, &f64)| {
            let mut ran = Ran::default();
            ran.measured("batch", "busy", *value);
            Run { config: String::new(), series: series.to_owned(), at: vec![1.0], seed, ran }
        };
        Results { runs: (0..).zip(busy).map(run).collect(), ..Results::default() }
    }

    #[test]
    fn pairs_show_what_their_spread_would_hide() {
        // The values vary by far more than their differences, which are 0.1, 0.2 and 0.3: mean 0.2, standard error
        // 0.1 / sqrt(3), t with two degrees of freedom 4.3027.
        let (a, b) = (results("a", &[1.0, 5.0, 9.0]), results("b", &[1.1, 5.2, 9.3]));
        let found = compare((&a, "a"), (&b, "b"));
        assert_eq!(found.len(), 1);
        let off = 4.302_7 * 0.1 / 3.0_f64.sqrt();
        assert!((found[0].difference - 0.2).abs() < 1e-9 && (found[0].interval.0 - (0.2 - off)).abs() < 1e-6);
        assert!(!found[0].is_significant(), "0.2 - 0.248 is below 0");
        let clear = compare((&a, "a"), (&results("b", &[1.2, 5.2, 9.21]), "b"));
        assert!(clear[0].is_significant(), "{clear:?}");
        assert!(compare((&a, "a"), (&results("b", &[1.0]), "b")).is_empty(), "one pair says nothing");
    }
}
