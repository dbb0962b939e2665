//! A model of a workload in a TOML file: the fields of [`bench::model::Model`].

use std::io;
use std::path::Path;

use bench::model::{Model, ModelError};

use super::Traced;
use crate::bounds::MODEL_BYTES_MAX;
use crate::locate;
use crate::rows;

/// A model that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// It isn't TOML, or has fields a model doesn't have.
    #[error("{path}, line {line}: {problem}")]
    Form {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A field has a value it can't have.
    #[error("{path}, line {line}: {source}")]
    Value {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: ModelError,
    },
}

/// Reads a model, and draws a scenario from it.
pub(super) fn read(path: &Path, seed: u64) -> Result<Traced, ModelFileError> {
    let name = path.display().to_string();
    let bytes = rows::bounded(path, MODEL_BYTES_MAX)
        .map_err(|source| ModelFileError::Read { path: name.clone(), source })?;
    drawn(name, &String::from_utf8_lossy(&bytes), seed)
}

/// Draws a scenario from the text of a model; `name` is what its file is called where it is wrong.
pub(super) fn drawn(name: String, text: &str, seed: u64) -> Result<Traced, ModelFileError> {
    let model: Model = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..before].iter().filter(|b| **b == b'\n').count() + 1;
        ModelFileError::Form { path: name.clone(), line, problem: error.message().to_owned() }
    })?;
    let scenario = model.scenario(seed).map_err(|source| {
        let line = locate::line(text, &locate::path(&source.field)).unwrap_or(1);
        ModelFileError::Value { path: name, line, source }
    })?;
    Ok(Traced { scenario, notes: vec![format!("drawn with seed {seed}")] })
}
