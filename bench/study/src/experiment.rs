//! Studies: a file says what is varied, every point is run, and the results are a table, plots and a page.
//!
//! A study file is TOML: `[base]` holds the settings of every point ([`Point`]), each `[[series]]` sets some of them
//! otherwise, and each `[[axis]]` varies one. All combinations are run, once per seed.

mod cell;
mod file;
mod first_fit;
mod metrics;
mod point;
mod results;
mod sweep;
mod workload;

pub use file::{Axis, Case, Check, Plotted, Series, Study, StudyError};
pub use metrics::Metrics;
pub use point::Point;
pub use results::{Results, Row};
pub use sweep::{median, run, spread};

/// The studies that come with the program: the Omega paper's figures and some beyond them.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("figure-5-7", include_str!("../studies/figure-5-7.toml")),
    ("figure-8", include_str!("../studies/figure-8.toml")),
    ("figure-9", include_str!("../studies/figure-9.toml")),
    ("figure-10", include_str!("../studies/figure-10.toml")),
    ("figure-12-14", include_str!("../studies/figure-12-14.toml")),
];
