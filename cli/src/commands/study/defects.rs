//! `ohm study defects`: what each defect of the public simulator does to its results.

use serde_json::json;
use study::golden::{self, Change, Effect};

use crate::demo::progress::Progress;
use crate::failure::{Ended, Failure};
use crate::show::{self, Column, Listing};
use crate::typed::study::DefectsArgs;

/// Runs the golden records once for each defect, without it.
///
/// # Errors
/// The directory can't be read, or the result not be written.
pub(super) fn run(args: &DefectsArgs) -> Result<Ended, Failure> {
    const COLUMNS: [Column; 5] = [
        Column::text("WITHOUT"),
        Column::number("RECORDS CHANGED"),
        Column::text("MOST"),
        Column::text("NEXT"),
        Column::text("THEN"),
    ];
    let golden = golden::read(&args.dir)?;
    let progress = Progress::new("runs", 0);
    let effects = golden.effects(&|done, total| progress.of(done as u64, total as u64));
    progress.done(&format!("{} defects left out, one at a time and together", effects.len() - 1));
    let mut listing = Listing::new(&COLUMNS);
    for Effect { defect, changed, largest } in effects {
        let told = |at: usize| largest.get(at).map_or_else(|| "-".to_owned(), told);
        let cells =
            vec![defect.into(), changed.to_string().into(), told(0).into(), told(1).into(), told(2).into()];
        let change =
            |c: &Change| json!({"record": c.record, "field": c.field, "with": c.with, "without": c.without});
        let largest: Vec<_> = largest.iter().map(change).collect();
        let row = json!({"defect": defect, "records_changed": changed, "largest": largest});
        listing.push(defect.to_owned(), cells, row);
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

fn told(change: &Change) -> String {
    let Change { record, field, with, without } = change;
    let short = |number: &f64| {
        if number.fract() == 0.0 || number.abs() >= 1_000.0 {
            format!("{number:.0}")
        } else {
            format!("{number:.4}")
        }
    };
    format!("{record}: {field} {} → {}", short(with), short(without))
}
