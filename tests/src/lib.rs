//! What the whole-cell tests share: reading the project's own sources, and running real cells of real processes.

pub mod binary;
pub mod chaos;
pub mod console;
pub mod party;
pub mod probe;
pub mod source;
pub mod test_cell;
pub mod witness;
