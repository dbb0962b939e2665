//! `ohm study`: contention studied in virtual time.

mod bench;
mod changes;
mod check;
mod compare;
mod convert;
mod defects;
mod golden;
mod list;
mod live;
mod live_cell;
mod progress;
mod run;
mod summary;

use crate::failure::{Ended, Failure};
use crate::typed::study::StudyCommand;

/// Does what was typed.
///
/// # Errors
/// What stood in the way.
pub(super) fn run(command: StudyCommand) -> Result<Ended, Failure> {
    match command {
        StudyCommand::List(args) => list::run(&args),
        StudyCommand::Run(args) => run::run(&args),
        StudyCommand::Compare(args) => compare::run(&args),
        StudyCommand::Live(args) => live::run(&args),
        StudyCommand::Convert(args) => convert::run(&args),
        StudyCommand::Check(args) => check::run(&args),
        StudyCommand::Golden(args) => golden::run(&args),
        StudyCommand::Defects(args) => defects::run(&args),
        StudyCommand::Bench(args) => bench::run(&args),
    }
}

/// Threads to run on: as asked, else one per core.
fn threads(asked: Option<usize>) -> Result<usize, Failure> {
    match asked {
        Some(0) => Err(Failure::Input("--threads: at least 1".to_owned())),
        Some(threads) => Ok(threads.min(crate::bounds::STUDY_THREADS_MAX)),
        None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
    }
}
