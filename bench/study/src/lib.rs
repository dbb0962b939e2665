//! The shell of studies: reads recorded traces, submits a load to a live cell, and follows the cell's log to count
//! what became of it. What a load is and how it is counted is in the `bench` package.

pub mod bounds;
pub mod experiment;
pub mod golden;
pub mod google2011;
pub mod idle;
pub mod live;
pub mod load;
mod locate;
pub mod plot;
mod replica;
pub mod report;
mod rows;
pub mod traces;
pub mod witness;

pub use google2011::read;
pub use rows::TraceError;
pub use witness::Witness;
