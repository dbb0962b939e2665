//! What the whole-cell tests share: reading the project's own sources, and running real cells of real processes.

pub mod source;
