//! Checks: what a run has to show, each with what was found. One that fails makes the run fail, and is listed.

use serde_json::{Value, json};

use crate::show::{Cell, Column, Listing, Tone};

/// The checks of a run, in the order they were made.
#[derive(Default)]
pub(super) struct Checks {
    list: Vec<Check>,
}

struct Check {
    part: &'static str,
    what: &'static str,
    passed: bool,
    found: String,
}

impl Checks {
    /// Notes a check: what must be so, whether it is, and what was found.
    pub(super) fn note(
        &mut self,
        part: &'static str,
        what: &'static str,
        passed: bool,
        found: impl Into<String>,
    ) {
        self.list.push(Check { part, what, passed, found: found.into() });
    }

    /// Notes a check that passes when there is nothing to complain about.
    pub(super) fn none(&mut self, part: &'static str, what: &'static str, complaints: &[String]) {
        let found = match complaints {
            [] => "none".to_owned(),
            [first, ..] => format!("{}, the first: {first}", complaints.len()),
        };
        self.note(part, what, complaints.is_empty(), found);
    }

    /// Whether all passed.
    pub(super) fn all_passed(&self) -> bool {
        self.list.iter().all(|check| check.passed)
    }

    /// One row per check.
    pub(super) fn listing(&self) -> Listing {
        const COLUMNS: [Column; 4] =
            [Column::text("PART"), Column::text("CHECK"), Column::text("RESULT"), Column::text("FOUND")];
        let mut listing = Listing::new(&COLUMNS);
        for check in &self.list {
            let result =
                if check.passed { Cell::toned("ok", Tone::Good) } else { Cell::toned("FAILED", Tone::Bad) };
            let cells = vec![check.part.into(), check.what.into(), result, Cell::from(&check.found)];
            listing.push(check.what, cells, Value::Null);
        }
        listing
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let one = |c: &Check| json!({"part": c.part, "check": c.what, "passed": c.passed, "found": c.found});
        Value::Array(self.list.iter().map(one).collect())
    }
}
