//! The workload that a point names: read once, however many points and seeds run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bench::scenario::Scenario;
use bench::virtual_cell::Class;
use xxhash_rust::xxh3::Xxh3;

use crate::traces::{Format, Given};

/// A workload that was found where a point says it is.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Found {
    path: PathBuf,
    format: Format,
    /// What the same in another place, or on another machine, has too.
    pub(super) digest: String,
    /// Its classes of work, and whose figures the jobs of each count in.
    pub(super) classes: BTreeMap<String, Class>,
    /// As it was read; `None` for a model, which is drawn anew for each seed.
    scenario: Option<Arc<Scenario>>,
}

/// Models that come with the program, for its own studies.
const MODELS: [(&str, &str); 2] = [
    ("beyond-scale-model.toml", include_str!("../../studies/beyond-scale-model.toml")),
    ("beyond-scale-small.toml", include_str!("../../studies/beyond-scale-small.toml")),
];

/// The text of the model that comes with the program under this name, unless there is a file of that name.
fn built_in(path: &Path) -> Option<&'static str> {
    let (_, text) = MODELS.iter().find(|(name, _)| path == Path::new(name))?;
    (!path.exists()).then_some(*text)
}

/// Workloads that were read, by path and digest: the last few, for a study runs each of them many times.
static READ: Mutex<BTreeMap<(PathBuf, String), Arc<Scenario>>> = Mutex::new(BTreeMap::new());

/// Workloads kept in memory.
const KEPT: usize = 4;

impl Found {
    /// Finds and reads a workload.
    ///
    /// # Errors
    /// There is none, or it is wrong: what, and where.
    pub(super) fn read(path: &Path) -> Result<Found, String> {
        let format = format(path)?;
        let digest = digest(path)?;
        let drawn = format == Format::Model;
        let scenario = if drawn {
            Arc::new(read(path, format, 0)?)
        } else {
            let key = (path.to_owned(), digest.clone());
            let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.contains_key(&key) {
                let scenario = Arc::new(read(path, format, 0)?);
                while known.len() >= KEPT {
                    known.pop_first();
                }
                known.insert(key.clone(), scenario);
            }
            known[&key].clone()
        };
        let class_of = |job: &bench::scenario::Job| (job.class.clone(), Class::of(&job.class, job.priority));
        let classes = scenario.jobs.iter().map(class_of).collect();
        let scenario = (!drawn).then_some(scenario);
        Ok(Found { path: path.to_owned(), format, digest, classes, scenario })
    }

    /// The workload; a model is drawn with this seed.
    pub(super) fn scenario(&self, seed: u64) -> Result<Scenario, String> {
        match &self.scenario {
            Some(scenario) => Ok((**scenario).clone()),
            None => read(&self.path, self.format, seed),
        }
    }
}

fn read(path: &Path, format: Format, seed: u64) -> Result<Scenario, String> {
    if let Some(text) = built_in(path) {
        let name = path.display().to_string();
        return Format::drawn(&name, text, seed).map_err(|error| error.to_string());
    }
    let given = Given { seed, ..Given::default() };
    format.read(&[path.to_owned()], &given).map(|traced| traced.scenario).map_err(|error| error.to_string())
}

/// What a path holds: tables, Google's trace, a model, or a log of the Parallel Workloads Archive.
fn format(path: &Path) -> Result<Format, String> {
    let shown = path.display();
    if built_in(path).is_some() {
        return Ok(Format::Model);
    }
    if !path.exists() {
        return Err(format!("there is no {shown}; paths are relative to the study's file"));
    }
    let has = |name: &str| path.join(name).exists() || path.join(format!("{name}.gz")).exists();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if path.is_dir() && has("jobs.csv") {
        Ok(Format::Generic)
    } else if path.is_dir() && (has("machines_t0.csv") || has("task_events")) {
        Ok(Format::Google2011)
    } else if name.ends_with(".toml") {
        Ok(Format::Model)
    } else if name.ends_with(".swf") {
        Ok(Format::Swf)
    } else {
        Err(format!(
            "{shown} is neither a directory of tables, nor Google's trace of 2011, a model (.toml) or a log (.swf); \
             `ohm study convert` makes tables of other traces"
        ))
    }
}

/// A hash of all that a workload's files hold, by their names.
fn digest(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("can't read {}: {error}", path.display());
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(told)?;
        let found: Result<Vec<PathBuf>, std::io::Error> = entries.map(|e| e.map(|e| e.path())).collect();
        files = found.map_err(told)?;
        files.retain(|file| file.is_file());
        files.sort();
    }
    let mut hash = Xxh3::new();
    if let Some(text) = built_in(path) {
        files.clear();
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(text.as_bytes());
    }
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        let mut open = std::fs::File::open(&file).map_err(told)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match std::io::Read::read(&mut open, &mut buffer).map_err(told)? {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
    }
    Ok(format!("{:016x}", hash.digest()))
}
