//! Studies: a file says what is varied, every point is run, and the results are tables, plots and a page.
//!
//! A study file is TOML: `[base]` holds the settings of every point, each `[[series]]` sets some of them otherwise, and
//! each `[[axis]]` varies one. All combinations are run, once per seed. What a point's settings are is decided by the
//! kind of the study: see [`Settings`].

mod cell;
mod columnar;
mod file;
mod first_fit;
mod mapreduce;
mod metrics;
mod paired;
mod plotted;
mod point;
mod results;
mod runs;
mod settings;
mod shape;
mod sweep;
mod workload;

pub use columnar::{curves_parquet, rows_parquet};
pub use file::{Axis, Case, Check, Series, Study, StudyError};
pub use mapreduce::MapReduceSettings;
pub use metrics::Metrics;
pub use paired::{Difference, compare};
pub use plotted::{Form, Plotted};
pub use point::Point;
pub use results::{Results, Run};
pub use runs::{Curve, Measured, Ran, Runs};
pub use settings::{Kind, Own, Settings};
pub use shape::{ShapeSettings, trace_path};
pub use sweep::{Doing, median, run, spread};

/// The studies that come with the program: the Omega paper's figures, then those beyond them.
pub const BUILT_IN: [(&str, &str); 20] = [
    ("figure-2", include_str!("../studies/figure-2.toml")),
    ("figure-3", include_str!("../studies/figure-3.toml")),
    ("figure-4", include_str!("../studies/figure-4.toml")),
    ("figure-5-7", include_str!("../studies/figure-5-7.toml")),
    ("figure-8", include_str!("../studies/figure-8.toml")),
    ("figure-9", include_str!("../studies/figure-9.toml")),
    ("figure-10", include_str!("../studies/figure-10.toml")),
    ("figure-11", include_str!("../studies/figure-11.toml")),
    ("figure-12-14", include_str!("../studies/figure-12-14.toml")),
    ("figure-12-14-trace", include_str!("../studies/figure-12-14-trace.toml")),
    ("figure-13", include_str!("../studies/figure-13.toml")),
    ("figure-15", include_str!("../studies/figure-15.toml")),
    ("figure-16", include_str!("../studies/figure-16.toml")),
    ("beyond-staleness", include_str!("../studies/beyond-staleness.toml")),
    ("beyond-herding", include_str!("../studies/beyond-herding.toml")),
    ("beyond-near-full", include_str!("../studies/beyond-near-full.toml")),
    ("beyond-in-flight", include_str!("../studies/beyond-in-flight.toml")),
    ("beyond-mitigations", include_str!("../studies/beyond-mitigations.toml")),
    ("beyond-fairness", include_str!("../studies/beyond-fairness.toml")),
    ("beyond-scale", include_str!("../studies/beyond-scale.toml")),
];

/// The value that this part of a list is at most.
fn quantile(list: &[f64], part: f64) -> f64 {
    let mut sorted = list.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
