//! `ohm scale`: what a large cell costs in memory, on disk, in processor time and in waiting, and how each of these grows.

mod copies;
mod growth;
mod measured;
mod pause;
pub(crate) mod peers;
mod process;
mod report;
mod sized;

use std::path::PathBuf;
use std::time::Duration;

use cell_state::Resources;
use cell_state::bounds::AMOUNT_MAX;
use study::load::{MACHINE_CPU_MILLI, MACHINE_MEMORY};

use super::checks::Checks;
use super::{DemoError, Scratch, until_interrupted};
use crate::bounds::SCALE_PROBES;
use crate::failure::{Ended, Failure};
use crate::local_cell::LocalCell;
use crate::show::print;
use crate::typed::connect::Format;
use crate::typed::demo::ScaleArgs;

/// How full the machines are made, in percent.
const FILL: u64 = 80;

/// How large a cell is made, and what is measured in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sizes {
    machines: u32,
    tasks: u32,
    tasks_per_job: u32,
    /// Entries that the restart replays.
    entries: u32,
    subscribers: u32,
    agents: u32,
    /// How long commits and idle peers are looked at.
    watch: Duration,
    /// How often the server writes a checkpoint, in seconds: the first whole one is waited for.
    checkpoint_s: u32,
    /// Nothing is looked at but the restart.
    only_restart: bool,
}

/// What was asked for, checked.
pub(crate) struct Scale {
    sizes: Sizes,
    growth: bool,
    keep: Option<PathBuf>,
    format: Format,
}

impl Scale {
    /// Checks what was typed.
    ///
    /// # Errors
    /// More tasks than the machines could hold at the smallest size.
    pub(crate) fn check(args: ScaleArgs) -> Result<Scale, Failure> {
        let sizes = Sizes {
            machines: args.machines,
            tasks: args.tasks,
            tasks_per_job: args.tasks_per_job,
            // The other half fills the cell first, by large transactions.
            entries: args.entries.min(args.tasks / 2),
            subscribers: args.subscribers,
            agents: args.agents,
            watch: Duration::from_secs(args.seconds),
            checkpoint_s: 10,
            only_restart: false,
        };
        if args.growth && (sizes.machines < 8 || sizes.tasks < 800) {
            let problem = "an eighth of it must still be a cell; expected at least 8 machines and 800 tasks";
            return Err(Failure::Input(format!("--growth: {problem}")));
        }
        let each = sizes.each();
        if sizes.task().0[0] == 0 {
            let most = MACHINE_CPU_MILLI * FILL / 100;
            return Err(Failure::Input(format!("--tasks: {each} per machine; at most {most} fit")));
        }
        Ok(Scale { sizes, growth: args.growth, keep: args.keep, format: args.output.output })
    }
}

impl Sizes {
    /// Tasks on each machine, those for probing included.
    fn each(&self) -> u64 {
        (u64::from(self.tasks) + u64::from(SCALE_PROBES)).div_ceil(u64::from(self.machines))
    }

    /// What each task asks for: equal tasks fill every machine alike.
    fn task(&self) -> Resources {
        let part = |whole: u64| (whole * FILL / 100 / self.each()).min(AMOUNT_MAX);
        Resources::cpu_memory(part(MACHINE_CPU_MILLI), part(MACHINE_MEMORY))
    }
}

/// Fills one cell or, for growth, several, and measures them.
///
/// # Errors
/// A part of a cell could not be started or reached, or nothing moves any more.
pub(crate) async fn run(scale: Scale) -> Result<Ended, Failure> {
    let mut scratch = Scratch::new(scale.keep.as_deref(), "ohm-scale-")?;
    let mut checks = Checks::default();
    let shown = until_interrupted(show(&scale, &scratch, &mut checks)).await;
    match &shown {
        Ok(_) | Err(Failure::Demo(DemoError::Interrupted)) => {}
        Err(_) => scratch.keep(),
    }
    print(&shown?)?;
    Ok(if checks.all_passed() { Ended::Well } else { Ended::Unsound })
}

async fn show(scale: &Scale, scratch: &Scratch, checks: &mut Checks) -> Result<String, Failure> {
    if scale.growth {
        let found = growth::measure(scratch, &scale.sizes, checks).await?;
        return Ok(match scale.format {
            Format::Json => report::growth_json(&found, checks),
            Format::Table | Format::Wide | Format::Name => report::growth_text(&found, checks),
        });
    }
    let measured = measure(scratch, "scale", &scale.sizes, checks).await?;
    Ok(match scale.format {
        Format::Json => report::json(&measured, checks),
        Format::Table | Format::Wide | Format::Name => report::text(&measured, checks),
    })
}

/// Makes a cell of this size in a directory of its own, measures it, and stops it, whatever happens.
async fn measure(
    scratch: &Scratch,
    name: &str,
    sizes: &Sizes,
    checks: &mut Checks,
) -> Result<measured::Measured, Failure> {
    let dir = scratch.part(name)?;
    let mut cell = LocalCell::create(std::env::current_exe()?, &dir, "scale")?;
    // Dropped on an interruption, which stops the processes as well.
    let measured = sized::measure(&mut cell, sizes, checks).await;
    cell.processes.stop_all().await;
    measured
}
