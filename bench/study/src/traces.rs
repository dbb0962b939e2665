//! Traces of every known format, turned into one [`Scenario`].
//!
//! | format | what is read |
//! |---|---|
//! | `generic` | a directory of tables, see docs/workload-format.md |
//! | `google2011` | Google's cluster trace of 2011, see [`crate::google2011`] |
//! | `azure` | a table of Azure's virtual machines |
//! | `swf` | a log of the Parallel Workloads Archive |
//! | `log` | the log of a cell of our own: the data directory of its server |
//! | `stream` | a table of jobs, one class per file |
//! | `model` | distributions in a TOML file |

mod azure;
pub mod generic;
mod log;
mod model;
mod stream;
mod swf;
mod table;

use std::path::{Path, PathBuf};

use bench::Scenario;
use cell_state::machine::MachineSpec;

pub use log::LogError;
pub use model::ModelFileError;
pub use table::{Problem, Problems};

use crate::rows::TraceError;

/// A format of traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Our tables.
    Generic,
    /// Google's trace of 2011.
    Google2011,
    /// Azure's virtual machines.
    Azure,
    /// The Parallel Workloads Archive's.
    Swf,
    /// A log of our own.
    Log,
    /// A table of jobs.
    Stream,
    /// Distributions.
    Model,
}

/// A trace as it was read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Traced {
    /// What it holds.
    pub scenario: Scenario,
    /// What was left out or added, for people.
    pub notes: Vec<String>,
}

/// What a trace doesn't say by itself.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Given {
    /// Machines to use instead of the trace's; traces without machines need them.
    pub machines: Vec<MachineSpec>,
    /// Decides what the trace leaves open (racks, draws of a model).
    pub seed: u64,
}

/// A trace that can't be turned into a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is wrong.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Tables are wrong.
    #[error("{first}{}", and_more(.count))]
    Tables {
        /// The first mistake.
        first: Box<Problem>,
        /// All of them.
        count: u64,
    },
    /// A log is wrong.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// A model is wrong.
    #[error(transparent)]
    Model(#[from] model::ModelFileError),
    /// The format takes one file or directory.
    #[error("{format} takes {takes}, not {given} paths")]
    Inputs {
        /// The format.
        format: &'static str,
        /// What it takes.
        takes: &'static str,
        /// How many were given.
        given: usize,
    },
    /// The trace names no machines.
    #[error("{path} names no machines; give them with --machine COUNT:CPU:MEMORY or --machines FILE")]
    NoMachines {
        /// The file.
        path: String,
    },
}

fn and_more(count: &u64) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(" (and {} more: see `ohm study check`)", count - 1),
    }
}

impl Format {
    /// All of them, with the words they are typed with.
    pub const ALL: [(&'static str, Format); 7] = [
        ("generic", Format::Generic),
        ("google2011", Format::Google2011),
        ("azure", Format::Azure),
        ("swf", Format::Swf),
        ("log", Format::Log),
        ("stream", Format::Stream),
        ("model", Format::Model),
    ];

    fn word(self) -> &'static str {
        Format::ALL.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// Reads a trace of this format.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(self, inputs: &[PathBuf], given: &Given) -> Result<Traced, ReadError> {
        let mut traced = match self {
            Format::Generic => generic_of(self.one(inputs)?)?,
            Format::Google2011 => google2011(self.one(inputs)?, given.seed)?,
            Format::Azure => azure::read(self.some(inputs)?)?,
            Format::Swf => swf::read(self.one(inputs)?)?,
            Format::Log => log::read(self.one(inputs)?)?,
            Format::Stream => stream::read(self.some(inputs)?)?,
            Format::Model => model::read(self.one(inputs)?, given.seed)?,
        };
        if !given.machines.is_empty() {
            use_machines(&mut traced, &given.machines);
        }
        if traced.scenario.machines.is_empty() {
            let path = inputs.first().map_or_else(String::new, |path| path.display().to_string());
            return Err(ReadError::NoMachines { path });
        }
        Ok(traced)
    }

    /// Draws a scenario from the text of a model.
    ///
    /// # Errors
    /// What is wrong with it, and its line; `name` is what it is called then.
    pub(crate) fn drawn(name: &str, text: &str, seed: u64) -> Result<Scenario, ReadError> {
        Ok(model::drawn(name.to_owned(), text, seed)?.scenario)
    }

    fn one(self, inputs: &[PathBuf]) -> Result<&Path, ReadError> {
        match inputs {
            [input] => Ok(input),
            _ => Err(ReadError::Inputs {
                format: self.word(),
                takes: "one file or directory",
                given: inputs.len(),
            }),
        }
    }

    fn some(self, inputs: &[PathBuf]) -> Result<&[PathBuf], ReadError> {
        if inputs.is_empty() {
            return Err(ReadError::Inputs { format: self.word(), takes: "at least one file", given: 0 });
        }
        Ok(inputs)
    }
}

fn generic_of(dir: &Path) -> Result<Traced, ReadError> {
    let checked = generic::check(dir);
    let count = checked.problems.count;
    match checked.problems.told.into_iter().next() {
        None => Ok(Traced { scenario: checked.scenario, notes: Vec::new() }),
        Some(first) => Err(ReadError::Tables { first: Box::new(first), count }),
    }
}

fn google2011(dir: &Path, seed: u64) -> Result<Traced, ReadError> {
    let trace = crate::google2011::read(dir)?;
    let (scenario, unknown) = trace.scenario(seed);
    let mut notes = Vec::new();
    if unknown > 0 {
        notes.push(format!("{unknown} placements on machines the trace doesn't describe were left out"));
    }
    Ok(Traced { scenario, notes })
}

/// Puts other machines in the place of the trace's. What was recorded of those goes with them.
fn use_machines(traced: &mut Traced, machines: &[MachineSpec]) {
    let scenario = &mut traced.scenario;
    let recorded = scenario.jobs.iter().flat_map(|j| &j.tasks).any(|t| t.placed.is_some());
    if recorded || !scenario.changes.is_empty() {
        let note = "the recorded placements and changes of the trace's own machines were left out";
        traced.notes.push(note.to_owned());
    }
    scenario.machines = machines.to_vec();
    scenario.changes.clear();
    scenario.jobs.iter_mut().flat_map(|j| &mut j.tasks).for_each(|tasks| tasks.placed = None);
}

#[cfg(test)]
mod tests;
