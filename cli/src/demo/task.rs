//! What a task of the demo does on a system without the usual tools: `ohm demo-task` checksums or compresses one file,
//! or sleeps.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::files;
use crate::failure::{Ended, Failure};
use crate::typed::demo::{DemoTaskArgs, DemoWork};

/// How long a task of the demo's service sleeps: longer than the demo needs it.
pub(super) const SLEEP: Duration = Duration::from_secs(60);

/// Does the work on the line of the list that is this task's.
///
/// # Errors
/// There is no such line, or the file can't be read.
pub(crate) fn run(args: &DemoTaskArgs) -> Result<Ended, Failure> {
    if args.work == DemoWork::Sleep {
        std::thread::sleep(SLEEP);
        return Ok(Ended::Well);
    }
    let list = fs::read_to_string(&args.list).map_err(|e| Failure::read(&args.list, e))?;
    let number = args.first + args.index;
    let none = || Failure::Input(format!("{} has no line {}", args.list.display(), number + 1));
    let file = PathBuf::from(list.lines().nth(number).ok_or_else(none)?);
    let mut out = io::stdout().lock();
    match args.work {
        DemoWork::Checksum => {
            let (checksum, _) = files::checksum(&file).map_err(|e| Failure::read(&file, e))?;
            writeln!(out, "{checksum}  {}", file.display())?;
        }
        DemoWork::Compress => {
            let mut source = fs::File::open(&file).map_err(|e| Failure::read(&file, e))?;
            let mut packed = GzEncoder::new(out, Compression::default());
            io::copy(&mut source, &mut packed)?;
            packed.finish()?.flush()?;
        }
        DemoWork::Sleep => {}
    }
    Ok(Ended::Well)
}
