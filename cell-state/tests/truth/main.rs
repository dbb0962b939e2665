//! The cell's truth, tested from outside: commit tables, a slow reference model, pinned bytes.

mod bytes;
mod golden;
mod histories;
mod model;
mod pages;
mod same;
mod script;
mod tables;
mod words;
