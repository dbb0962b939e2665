//! `ohm job stop`: ask a job to stop, and watch until its tasks are gone.

use cell_state::job::Desired;

use super::confirm::confirm;
use crate::bounds::MONITOR_EVERY;
use crate::connection::{Asker, Connection};
use crate::failure::{Ended, Failure};
use crate::show::{self, text};
use crate::typed::jobs::JobStopArgs;

pub(crate) async fn run(args: JobStopArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let (_, job) = server.job(None, &args.job, 0, 0).await?;
    let (name, live) = (job.row.name, job.row.counts.live());
    if job.row.desired == Desired::Run {
        confirm(
            args.yes,
            &format!("Stop job {name}, with {} on machines?", text::counted(live.into(), "task", "tasks")),
        )?;
    }
    server.stop(&name).await?;
    if !args.detach {
        watch(&mut server, &name).await?;
    }
    show::print(&name)?;
    Ok(Ended::Well)
}

/// Watches until no task of the job is on a machine.
async fn watch(server: &mut Asker, name: &str) -> Result<(), Failure> {
    let mut told = None;
    loop {
        let (_, job) = server.job(None, name, 0, 0).await?;
        let live = job.row.counts.live();
        if live == 0 {
            show::say(&format!("{name}: stopped"));
            return Ok(());
        }
        if told != Some(live) {
            show::say(&format!("{name}: {} still there", text::counted(live.into(), "task", "tasks")));
            told = Some(live);
        }
        tokio::time::sleep(MONITOR_EVERY).await;
    }
}
