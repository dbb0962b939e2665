//! `ohm study compare`: two settings on the same seeds, and which metrics differ.

use serde_json::{Value, json};
use study::experiment::{self, Difference, Study};

use super::run::{measured, named};
use super::threads;
use crate::bounds::STUDY_COMPARE_SEEDS;
use crate::failure::{Ended, Failure};
use crate::show::{self, Cell, Column, Listing, Tone};
use crate::typed::study::CompareArgs;

/// Compares them.
///
/// # Errors
/// A study is wrong, the two don't go together, or results can't be written.
pub(super) fn run(args: &CompareArgs) -> Result<Ended, Failure> {
    let threads = threads(args.how.threads)?;
    if args.seeds.is_some_and(|seeds| seeds < 2) {
        return Err(Failure::Input("--seeds: at least 2: one pair says nothing of chance".to_owned()));
    }
    let mut a = single(&args.a)?;
    let mut b = match &args.b {
        Some(b) => single(b)?,
        None => a.clone(),
    };
    let labels = (
        label(&a, "--first", args.first.as_deref(), 0)?,
        label(&b, "--second", args.second.as_deref(), usize::from(args.b.is_none()))?,
    );
    if args.how.smoke {
        (a, b) = (a.reduced(), b.reduced());
    }
    if a.axis != b.axis || a.kind != b.kind {
        return Err(Failure::Input(format!(
            "{} and {} have other axes: their points are no pairs",
            a.name, b.name
        )));
    }
    let seeds = args.seeds.unwrap_or(a.seeds.max(b.seeds).max(STUDY_COMPARE_SEEDS));
    a.series.retain(|series| series.label == labels.0);
    b.series.retain(|series| series.label == labels.1);
    (a.seeds, b.seeds) = (seeds, seeds);
    // Each has runs of its own, even when both are of one file.
    a.name.push_str("-first");
    b.name.push_str("-second");
    std::fs::create_dir_all(&args.how.out).map_err(|source| Failure::write(&args.how.out, source))?;
    let first = measured(&a, &args.how.out, threads, false)?;
    let second = measured(&b, &args.how.out, threads, false)?;
    let found = experiment::compare((&first, &labels.0), (&second, &labels.1));
    let different = found.iter().filter(|d| d.is_significant()).count();
    show::say(&format!(
        "{:?} and {:?} on {seeds} seeds: {different} of {} means differ with 95 % confidence",
        labels.0,
        labels.1,
        found.len()
    ));
    show::listing(&listing(&found), args.output.output)?;
    Ok(Ended::Well)
}

fn single(what: &str) -> Result<Study, Failure> {
    match named(what)?.as_slice() {
        [study] => Ok(study.clone()),
        _ => Err(Failure::Input(format!("{what:?} is more than one study"))),
    }
}

/// The series to compare: as asked, or by its number.
fn label(study: &Study, flag: &str, asked: Option<&str>, number: usize) -> Result<String, Failure> {
    let labels: Vec<&str> = study.series.iter().map(|series| series.label.as_str()).collect();
    let found = match asked {
        Some(asked) => labels.iter().find(|label| **label == asked),
        None => labels.get(number),
    };
    found.map(|label| (*label).to_owned()).ok_or_else(|| {
        let problem = asked.map_or_else(
            || "there is no second series".to_owned(),
            |asked| format!("{asked:?} is no series"),
        );
        Failure::Input(format!("{flag}: {problem} of {}; it has {}", study.name, labels.join(", ")))
    })
}

fn listing(found: &[Difference]) -> Listing {
    const COLUMNS: [Column; 8] = [
        Column::text("AT"),
        Column::text("CLASS"),
        Column::text("METRIC"),
        Column::number("FIRST"),
        Column::number("SECOND"),
        Column::number("DIFFERENCE"),
        Column::number("95 %"),
        Column::text(""),
    ];
    let mut listing = Listing::new(&COLUMNS);
    for d in found {
        let at: Vec<String> = d.at.iter().map(f64::to_string).collect();
        let (low, high) = d.interval;
        let verdict = if d.is_significant() { Cell::toned("differs", Tone::Notable) } else { Cell::from("") };
        let cells = vec![
            at.join(", ").into(),
            d.class.clone().into(),
            d.metric.clone().into(),
            format!("{:.4}", d.first).into(),
            format!("{:.4}", d.second).into(),
            format!("{:+.4}", d.difference).into(),
            format!("{low:+.4} to {high:+.4}").into(),
            verdict,
        ];
        let row: Value = json!({
            "at": d.at,
            "class": d.class,
            "metric": d.metric,
            "first": d.first,
            "second": d.second,
            "pairs": d.pairs,
            "difference": d.difference,
            "interval": [low, high],
            "significant": d.is_significant(),
        });
        listing.push(format!("{} {} {}", at.join(","), d.class, d.metric), cells, row);
    }
    listing
}
