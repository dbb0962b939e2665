//! The figures of one measurement, the same for both sides, and medians of them.

use serde::Serialize;

/// What one measurement found. Only committed transactions count; a transaction that is lost counts as lost alone.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    /// Committed per second.
    pub(crate) transactions_per_s: f64,
    /// Placements committed per second.
    pub(crate) ops_per_s: f64,
    /// From sending a transaction to its answer.
    pub(crate) p50_us: f64,
    /// The same.
    pub(crate) p99_us: f64,
    /// Microseconds of the server's processor time per committed placement.
    pub(crate) server_cpu_us_per_op: f64,
    /// Bytes the server's process made the disk write, per committed placement.
    pub(crate) disk_bytes_per_op: f64,
    /// The part of the transactions that was lost to others.
    pub(crate) lost_share: f64,
    /// Bytes of a placement in Ohm's log.
    pub(crate) log_bytes_per_op: Option<f64>,
}

/// The median of each figure.
pub(crate) fn median_of(all: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| median(all.iter().map(figure).collect());
    let log = all.iter().map(|m| m.log_bytes_per_op).collect::<Option<Vec<f64>>>();
    Measured {
        transactions_per_s: of(|m| m.transactions_per_s),
        ops_per_s: of(|m| m.ops_per_s),
        p50_us: of(|m| m.p50_us),
        p99_us: of(|m| m.p99_us),
        server_cpu_us_per_op: of(|m| m.server_cpu_us_per_op),
        disk_bytes_per_op: of(|m| m.disk_bytes_per_op),
        lost_share: of(|m| m.lost_share),
        log_bytes_per_op: log.map(median),
    }
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        for (figures, expected) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(figures), expected);
        }
    }
}
