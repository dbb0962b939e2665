//! What the whole-cell tests share: reading the project's own sources, and running real cells of real processes.

pub mod attack;
pub mod binary;
pub mod chaos;
pub mod console;
pub mod file_host;
pub mod fuzz;
pub mod history;
pub mod network;
pub mod party;
pub mod pressure;
pub mod probe;
pub mod source;
pub mod stranger;
pub mod test_cell;
pub mod witness;
