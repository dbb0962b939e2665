//! `ohm study golden`: the public simulator's results, run again.

use serde_json::{Map, Value, json};
use study::golden::{self, Checked, Difference, Golden, Record};

use super::threads;
use crate::demo::progress::Progress;
use crate::failure::{Ended, Failure};
use crate::show;
use crate::typed::study::GoldenArgs;

/// Runs every record again.
///
/// # Errors
/// The directory can't be read, or the result not be written.
pub(super) fn run(args: &GoldenArgs) -> Result<Ended, Failure> {
    let threads = threads(args.threads)?;
    let golden = golden::read(&args.dir)?;
    let total = golden.records.len();
    let progress = Progress::new("golden results", total as u64);
    let checked = golden.check_all(threads, &|done| progress.at(done as u64, String::new()));
    progress.done(&format!("{total} run"));
    let equal = checked.iter().filter(|c| c.difference.is_none()).count();
    show::one(args.output.output, "golden", &as_json(&golden, &checked, equal), |_| {
        as_text(&golden, &checked, equal)
    })?;
    Ok(if equal == total { Ended::Well } else { Ended::Unsound })
}

fn as_text(golden: &Golden, checked: &[Checked], equal: usize) -> String {
    let line = |(record, checked): (&Record, &Checked)| match &checked.difference {
        None => format!("equal    {}", record.title()),
        Some(difference) => format!("differs  {}: {}", record.title(), told(difference)),
    };
    let lines: Vec<String> = golden.records.iter().zip(checked).map(line).collect();
    format!("{}\n{equal} of {} equal", lines.join("\n"), checked.len())
}

fn told(difference: &Difference) -> String {
    let Difference { field, found, expected } = difference;
    match found {
        Some(found) => format!("{field} is {found}, expected {expected}"),
        None => format!("{field} is a figure we don't have, expected {expected}"),
    }
}

fn as_json(golden: &Golden, checked: &[Checked], equal: usize) -> Value {
    let record = |(record, checked): (&Record, &Checked)| {
        let difference = checked.difference.as_ref();
        json!({
            "title": record.title(),
            "experiment": record.experiment,
            "equal": difference.is_none(),
            "difference": difference
                .map(|d| json!({"field": d.field, "found": d.found, "expected": d.expected})),
            "figures": figures(checked),
        })
    };
    let records: Vec<Value> = golden.records.iter().zip(checked).map(record).collect();
    json!({"records": records, "equal": equal, "total": checked.len()})
}

/// All figures, in the shape a record has.
fn figures(checked: &Checked) -> Value {
    let fields = |fields: Vec<(&'static str, bench::omega2013::Value)>| -> Value {
        let number = |value| match value {
            bench::omega2013::Value::Count(count) => json!(count),
            bench::omega2013::Value::Real(real) => json!(real),
        };
        fields.into_iter().map(|(name, value)| (name.to_owned(), number(value))).collect::<Map<_, _>>().into()
    };
    let figures = &checked.figures;
    let workloads = figures.workloads.iter();
    let workloads: Map<String, Value> =
        workloads.map(|(class, f)| (class.word().to_owned(), fields(f.fields()))).collect();
    let schedulers = figures.schedulers.iter();
    let schedulers: Map<String, Value> =
        schedulers.map(|(kind, f)| ((*kind).to_owned(), fields(f.fields()))).collect();
    json!({
        "end_of_simulation_s": figures.end_s,
        "workloads": workloads,
        "schedulers": schedulers,
        "cell": fields(figures.cell.fields()),
    })
}
