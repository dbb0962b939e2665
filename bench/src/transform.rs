//! Changes of a scenario, each by itself and decided by its seed alone: the rate of one class, how full the cell is
//! at the start, which machines fail, what machines are labelled and jobs bound to, which band a class is in.

mod failures;
mod fill;
mod label;
mod rate;

pub use failures::{Failures, fail};
pub use fill::{CLASS as PREFILL_CLASS, Filled, Prefill, prefill};
pub use label::{bind, label, set_priority};
pub use rate::scale_rate;

use rand::{Rng, RngExt};

/// A change that can't be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum TransformError {
    /// The scenario has no such class.
    #[error("there is no class {class:?}; the scenario has {known}")]
    NoClass {
        /// The class asked for.
        class: String,
        /// The classes there are.
        known: String,
    },
    /// A number is out of range.
    #[error("{what} is {value}; it must be {range}")]
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The result would be too large.
    #[error("{jobs} jobs would be more than {max}, the bound; use a smaller factor, or cut the scenario")]
    TooMany {
        /// Jobs there would be.
        jobs: u64,
        /// The bound.
        max: usize,
    },
    /// There is nothing to take tasks from.
    #[error("the scenario has no tasks to fill the cell with")]
    Nothing,
}

/// Refuses a class that the scenario lacks.
fn known_class(scenario: &crate::Scenario, class: &str) -> Result<(), TransformError> {
    if scenario.jobs.iter().any(|j| j.class == class) {
        return Ok(());
    }
    let known: std::collections::BTreeSet<&str> = scenario.jobs.iter().map(|j| j.class.as_str()).collect();
    let known =
        if known.is_empty() { "none".to_owned() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
    Err(TransformError::NoClass { class: class.to_owned(), known })
}

fn in_range(what: &'static str, value: f64, ok: bool, range: &'static str) -> Result<(), TransformError> {
    if ok { Ok(()) } else { Err(TransformError::OutOfRange { what, value, range }) }
}

/// A number from 0 up to, but without, 1.
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    // 53 bits: every value is exact.
    (rng.random::<u64>() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
