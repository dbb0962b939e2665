//! Workloads and metrics, each defined once: what a cell is given to do, and how what it did is counted.
//!
//! Pure: traces arrive as records (the `study` package reads the files), chance as a seed, and what happened in a
//! cell as its own log entries.

pub mod bounds;
pub mod cell_c;
mod curve;
pub mod division;
pub mod figures;
pub mod fleet;
pub mod growth;
pub mod marginals;
pub mod model;
pub mod omega2013;
pub mod opportunistic;
pub mod priority;
pub mod recording;
pub mod scenario;
pub mod shape;
pub mod synthetic;
pub mod tally;
pub mod trace;
pub mod transform;
pub mod units;
pub mod virtual_cell;
pub mod workload;

pub use division::Division;
pub use figures::Figures;
pub use scenario::Scenario;
pub use tally::Tally;
pub use trace::Trace;
pub use workload::Workload;
