//! Job files: TOML or JSON with human units, turned into the spec the cell keeps. Step 1 (submit) of a
//! placement's life begins here.
//!
//! ```text
//! text ──document──▶ nodes with line numbers ──convert──▶ JobSpec ──cell_state::validate──▶ bounds checked
//! ```
//!
//! An own walk over the nodes, with one table of all fields ([`fields`]), gives errors that name the line, the
//! field, the value and the way out. Only the first error is told: the others often follow from it.

mod care;
mod constraint;
mod container;
mod convert;
mod data;
mod document;
mod fields;
mod isolation;
mod section;
mod shapes;
mod template;
mod units;

use std::fmt;

use cell_state::job::JobSpec;
use cell_state::resources::Schema;
use cell_state::validate;

pub(crate) use data::{artifacts_shown, secrets_shown};
pub(crate) use document::{Document, Syntax};
pub(crate) use fields::reference;
pub(crate) use isolation::shown as isolation_shown;
pub(crate) use shapes::{Shape, shapes};
pub(crate) use template::template;
pub(crate) use units::{Amount, amount, bytes, duration_us};

/// What is wrong with a job file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JobFileError {
    /// The line, where the syntax tells (TOML).
    pub(crate) line: Option<u32>,
    /// The path of the field (`groups[0].resources.cpu`), empty when the text itself is broken.
    pub(crate) field: String,
    /// The value, what is wrong with it, and the way out.
    pub(crate) problem: String,
}

impl JobFileError {
    /// An error about the text as a whole.
    pub(crate) fn of_text(problem: String) -> JobFileError {
        JobFileError { line: None, field: String::new(), problem }
    }
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for JobFileError {}

/// How far the names of a cell's resources are known when a file is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resources<'a> {
    /// The cell's own names: everything is checked.
    Known(&'a Schema),
    /// Not asked the cell yet: a whole amount of an unknown resource passes for now.
    NotYetKnown,
}

/// Turns a document into a spec that is within all bounds.
///
/// # Errors
/// The first thing wrong with it.
pub(crate) fn spec(document: &Document, resources: Resources<'_>) -> Result<JobSpec, JobFileError> {
    let spec = convert::job(document.root(), resources)?;
    let fallback = Schema::default();
    let schema = match resources {
        Resources::Known(schema) => schema,
        Resources::NotYetKnown => &fallback,
    };
    validate::job(&spec, schema).map_err(|rejection| {
        let field = field_of(&rejection.field);
        JobFileError { line: document.line_of(&field), field, problem: rejection.problem }
    })?;
    Ok(spec)
}

/// The field of the file that a field of the spec comes from: what a task does has a table of its own there.
fn field_of(spec_field: &str) -> String {
    let inner = ["command", "args", "env", "log"].map(|name| (format!("].{name}"), format!("].run.{name}")));
    let found = inner.iter().find(|(ending, _)| spec_field.ends_with(ending));
    found.map_or_else(|| spec_field.to_owned(), |(ending, own)| spec_field.replace(ending.as_str(), own))
}
