//! Whether a run has the figures a record asks for.

use std::collections::BTreeMap;

use bench::omega2013::{Figures, Value};

use super::record::{Figure, Record, Sameness};

/// A field that differs from its record.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The field, by its path.
    pub field: String,
    /// What came out; nothing if there is no such figure.
    pub found: Option<f64>,
    /// What the record has.
    pub expected: f64,
}

/// The first field in which a run differs from its record.
pub fn compare(record: &Record, figures: &Figures) -> Option<Difference> {
    let end = BTreeMap::from([("end_of_simulation_s".to_owned(), record.end_of_simulation_s)]);
    let of_end = vec![("end_of_simulation_s", Value::Real(figures.end_s))];
    let mut groups = vec![(String::new(), &end, of_end)];
    for (name, wanted) in &record.workloads {
        let found = figures.workloads.iter().find(|(class, _)| class.word() == name);
        let fields = found.map_or_else(Vec::new, |(_, f)| f.fields());
        groups.push((format!("workloads.{name}."), wanted, fields));
    }
    for (name, wanted) in &record.schedulers {
        let found = figures.schedulers.iter().find(|(kind, _)| kind == name);
        let fields = found.map_or_else(Vec::new, |(_, f)| f.fields());
        groups.push((format!("schedulers.{name}."), wanted, fields));
    }
    groups.push(("cell.".to_owned(), &record.cell, figures.cell.fields()));
    groups.into_iter().find_map(|(prefix, wanted, found)| group(record.sameness, &prefix, wanted, &found))
}

fn group(
    sameness: Sameness,
    prefix: &str,
    wanted: &BTreeMap<String, Figure>,
    found: &[(&'static str, Value)],
) -> Option<Difference> {
    let difference =
        |name: &str, found, expected| Difference { field: format!("{prefix}{name}"), found, expected };
    // In the order in which we list figures, then those we don't have.
    for (name, value) in found {
        let Some(expected) = wanted.get(*name) else { continue };
        if !is_same(sameness, name, *value, *expected) {
            return Some(difference(name, Some(number(*value)), *expected));
        }
    }
    let unknown = wanted.iter().find(|(name, _)| !found.iter().any(|(known, _)| known == name));
    unknown.map(|(name, expected)| difference(name, None, *expected))
}

fn number(value: Value) -> f64 {
    match value {
        Value::Count(count) => count as f64,
        Value::Real(real) => real,
    }
}

/// Half of the last digit that averages are recorded with, and of the last digit of percentiles.
const AVERAGE_OFF: f64 = 0.501e-6;
const PERCENTILE_OFF: f64 = 0.501e-4;

/// Figures the original takes from a formula that ignores which percentile is asked for: not compared.
const UNRELIABLE: [&str; 2] = ["attempts_p99", "waitFull_p99"];

/// What two-level runs are compared by: their rules are given only in outline.
const IN_OUTLINE: [&str; 10] = [
    "busy",
    "useful",
    "wasted",
    "waitFirst_avg",
    "waitFirst_p50",
    "waitFirst_p90",
    "waitFirst_p99",
    "waitFull_avg",
    "waitFull_p90",
    "avgCpuLocked",
];

fn is_same(sameness: Sameness, name: &str, value: Value, expected: f64) -> bool {
    let found = number(value);
    match sameness {
        Sameness::Percent(percent) => {
            !IN_OUTLINE.contains(&name) || (found - expected).abs() <= expected.abs() * percent / 100.0
        }
        Sameness::Exact if UNRELIABLE.contains(&name) => true,
        Sameness::Exact => match value {
            Value::Count(_) => found == expected,
            Value::Real(_) if name.contains("_p") && name.starts_with("wait") => {
                (found - expected).abs() <= PERCENTILE_OFF
            }
            Value::Real(_) => (found - expected).abs() <= AVERAGE_OFF,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_figure_has_its_own_precision() {
        use Sameness::{Exact, Percent};
        let table = [
            (Exact, "txOk", Value::Count(7), 7.0, true),
            (Exact, "txOk", Value::Count(7), 8.0, false),
            (Exact, "busy", Value::Real(0.118_281_4), 0.118_281, true),
            (Exact, "busy", Value::Real(0.118_282), 0.118_281, false),
            (Exact, "waitFirst_p90", Value::Real(0.061_74), 0.0617, true),
            (Exact, "waitFirst_p90", Value::Real(0.0619), 0.0617, false),
            (Exact, "waitFirst_avg", Value::Real(0.061_74), 0.0617, false),
            (Exact, "attempts_p99", Value::Count(7), 2.0, true),
            (Percent(5.0), "busy", Value::Real(0.104), 0.1, true),
            (Percent(5.0), "busy", Value::Real(0.106), 0.1, false),
            (Percent(5.0), "txOk", Value::Count(1), 9.0, true),
        ];
        for (sameness, name, found, expected, same) in table {
            assert_eq!(is_same(sameness, name, found, expected), same, "{name} {found:?} {expected}");
        }
    }

    #[test]
    fn an_unknown_figure_differs() {
        let wanted = BTreeMap::from([("txOk".to_owned(), 1.0), ("txMaybe".to_owned(), 2.0)]);
        let found = [("txOk", Value::Count(1))];
        let difference = group(Sameness::Exact, "schedulers.Batch.", &wanted, &found).unwrap();
        assert_eq!((difference.field.as_str(), difference.found), ("schedulers.Batch.txMaybe", None));
    }
}
