//! `ohm job check` and `ohm job init`: job files without a server.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cell_state::job::JobSpec;
use cell_state::resources::Schema;

use crate::bounds::JOB_FILE_BYTES_MAX;
use crate::failure::{Ended, Failure};
use crate::job_file::{self, Document, JobFileError, Resources, Syntax};
use crate::show::{self, text};
use crate::typed::jobs::{JobCheckArgs, JobInitArgs};

/// A job file that has been read and makes sense as far as that can be said without the cell.
pub(crate) struct JobFile {
    name: String,
    document: Document,
}

impl JobFile {
    /// Reads a file, or standard input for `-`, and checks it.
    ///
    /// # Errors
    /// It can't be read, or is wrong.
    pub(crate) fn read(path: &Path) -> Result<JobFile, Failure> {
        let name = shown(path);
        let text = read(path, &name)?;
        let syntax = Syntax::of(&name, &text);
        let document = Document::parse(&text, syntax).map_err(|e| wrong(&name, e))?;
        let file = JobFile { name, document };
        file.spec(Resources::NotYetKnown)?;
        Ok(file)
    }

    /// The spec it describes.
    ///
    /// # Errors
    /// It is wrong.
    pub(crate) fn spec(&self, resources: Resources<'_>) -> Result<JobSpec, Failure> {
        job_file::spec(&self.document, resources).map_err(|e| wrong(&self.name, e))
    }

    /// The spec it describes for a cell with these resources.
    ///
    /// # Errors
    /// It is wrong.
    pub(crate) fn spec_for(&self, schema: &Schema) -> Result<JobSpec, Failure> {
        self.spec(Resources::Known(schema))
    }
}

fn wrong(file: &str, error: JobFileError) -> Failure {
    Failure::JobFile { file: file.to_owned(), error }
}

/// How messages call a file.
fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn read(path: &Path, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let limit = JOB_FILE_BYTES_MAX + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|e| Failure::read(path, e))?;
    let whole = |problem: String| wrong(name, JobFileError::of_text(problem));
    if bytes.len() as u64 > JOB_FILE_BYTES_MAX {
        return Err(whole(format!("larger than {} bytes, the bound for job files", JOB_FILE_BYTES_MAX)));
    }
    String::from_utf8(bytes).map_err(|e| whole(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to())))
}

pub(crate) fn run(args: &JobCheckArgs) -> Result<Ended, Failure> {
    let file = JobFile::read(&args.file)?;
    let spec = file.spec(Resources::NotYetKnown)?;
    show::print(&spec.name)?;
    let tasks: u64 = spec.groups.iter().map(|g| u64::from(g.count)).sum();
    show::say(&format!("{}: a sound job file with {}", file.name, text::counted(tasks, "task", "tasks")));
    Ok(Ended::Well)
}

pub(crate) fn init(args: &JobInitArgs) -> Result<Ended, Failure> {
    if args.fields {
        show::print(&job_file::reference())?;
        return Ok(Ended::Well);
    }
    cell_state::validate::name("name", &args.name).map_err(|r| Failure::Input(r.to_string()))?;
    show::print(&job_file::template(&args.name))?;
    Ok(Ended::Well)
}
