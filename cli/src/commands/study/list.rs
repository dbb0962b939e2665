//! `ohm study list`: the studies that come with the program.

use serde_json::json;
use study::experiment::{BUILT_IN, Study};

use crate::failure::{Ended, Failure};
use crate::show::{self, Column, Listing};
use crate::typed::study::ListArgs;

/// Lists them.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn run(args: &ListArgs) -> Result<Ended, Failure> {
    const COLUMNS: [Column; 3] = [Column::text("STUDY"), Column::number("RUNS"), Column::text("")];
    let mut listing = Listing::new(&COLUMNS);
    for (name, text) in BUILT_IN {
        // Only read: whether the traces they run are there doesn't matter here.
        let study: Study = toml::from_str(text).expect("the studies of the program are sound");
        let runs = study.runs();
        let cells = vec![name.into(), runs.to_string().into(), study.title.clone().into()];
        listing.push(name.to_owned(), cells, json!({ "study": name, "runs": runs, "title": study.title }));
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}
