//! `ohm dev`: a whole cell on this machine, each part a process of its own, to try things.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;

use cell_state::job::Desired;
use cell_state::machine::MachineState;
use transport::view::{Body, Query};
use transport::{Reply, Request, Role};

use super::agent::this_machine;
use super::shutdown;
use crate::bounds::{POLL_EVERY, STOP_GRACE};
use crate::connection::{Connection, address};
use crate::failure::{Ended, Failure};
use crate::job_file::template;
use crate::local_cell::{LocalCell, LocalCellError, OPERATOR, SERVER};
use crate::show::{self, text};
use crate::stray_tasks;
use crate::typed::roles::DevArgs;

/// The policies of the two schedulers, which are also their names.
const POLICIES: [&str; 2] = ["batch", "service"];

/// What was asked for, checked.
pub(crate) struct Dev {
    dir: Option<PathBuf>,
    listen: SocketAddr,
    agents: u32,
    simulate: Option<u32>,
}

impl Dev {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: DevArgs) -> Result<Dev, Failure> {
        let listen = address("--listen", &args.listen)?;
        Ok(Dev { dir: args.dir, listen, agents: args.agents, simulate: args.simulate })
    }

    fn machines(&self) -> u32 {
        self.simulate.unwrap_or(self.agents)
    }
}

pub(crate) async fn run(dev: Dev) -> Result<Ended, Failure> {
    let mut stop = pin!(shutdown::asked(false)?);
    let temporary = match &dev.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("ohm-dev-").tempdir()?),
    };
    let dir = dev.dir.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path));
    let dir = dir.expect("a directory was given or made");
    std::fs::create_dir_all(dir).map_err(|e| Failure::write(dir, e))?;
    let mut cell = LocalCell::create(std::env::current_exe()?, dir, "dev")?;
    let started = tokio::select! {
        started = start(&mut cell, &dev) => Some(started),
        () = &mut stop => None,
    };
    let ended = match started {
        Some(Ok(())) => {
            let file = hello(cell.dir())?;
            show::print(&welcome(&cell, &dev, &file))?;
            tokio::select! {
                () = supervise(&mut cell) => {}
                () = &mut stop => {}
            }
            Ok(Ended::Well)
        }
        Some(Err(error)) => Err(error.into()),
        None => Ok(Ended::Well),
    };
    shut_down(&mut cell).await;
    ended
}

async fn start(cell: &mut LocalCell, dev: &Dev) -> Result<(), LocalCellError> {
    cell.start_server(dev.listen, &[]).await?;
    for policy in POLICIES {
        cell.start_scheduler(policy, policy, policy, &[])?;
    }
    match dev.simulate {
        Some(count) => {
            cell.start_simulated_agent("sim-", count, &[])?;
        }
        None => start_agents(cell, dev.agents)?,
    }
    let client = cell.connect().await?;
    let wanted = dev.machines() as usize;
    let live = |reply: &Reply| matches!(reply, Reply::Schedulers(s) if s.iter().filter(|s| s.live).count() >= POLICIES.len());
    cell.wait_for(&client, "the schedulers", Request::ListSchedulers, live).await?;
    let ready = |reply: &Reply| match reply {
        Reply::View(view) => matches!(&view.body, Body::Cell(c) if c.machines[0] as usize >= wanted),
        _ => false,
    };
    cell.wait_for(&client, "the machines", Request::Read { at: None, query: Query::Cell }, ready).await
}

/// Starts agents that share what this machine has.
fn start_agents(cell: &mut LocalCell, count: u32) -> Result<(), LocalCellError> {
    let whole = this_machine(cell.dir());
    let share = |amount: u64| (amount / u64::from(count)).to_string();
    let cpu = format!("{}m", whole.cpu_milli / u64::from(count));
    for i in 1..=count {
        let rack = format!("rack=r{i}");
        // Each has a range of ports of its own: they share one network.
        let width = 12_000 / count;
        let first = 20_000 + (i - 1) * width;
        let ports = format!("{first}-{}", first + width - 1);
        let (memory, disk) = (share(whole.memory_bytes), share(whole.disk_bytes));
        let args =
            ["--cpu", &cpu, "--memory", &memory, "--disk", &disk, "--attribute", &rack, "--ports", &ports];
        cell.start_agent(&format!("m{i}"), &args)?;
    }
    Ok(())
}

/// Writes a job file to try, unless there is one from last time.
fn hello(dir: &Path) -> Result<PathBuf, Failure> {
    let path = dir.join("hello.toml");
    if !path.exists() {
        std::fs::write(&path, template("hello")).map_err(|e| Failure::write(&path, e))?;
    }
    Ok(path)
}

fn welcome(cell: &LocalCell, dev: &Dev, file: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "ohm".to_owned());
    let machines = match dev.simulate {
        Some(n) => format!("{n} simulated machines"),
        None => format!("{} agents sharing this machine", dev.agents),
    };
    format!(
        "A cell is running: a server, a batch and a service scheduler, {machines}.\n\
         Everything is in {dir}; logs in {dir}/log. Ctrl-C stops it all, tasks included.\n\n\
         In another terminal:\n\n  \
         export OHM_SERVER={server} OHM_PKI={pki}\n\n  \
         {program} job run {file}\n  \
         {program} job logs hello\n  \
         {program} node list\n",
        dir = cell.dir().display(),
        server = cell.address(),
        pki = cell.pki().display(),
        file = file.display(),
    )
}

/// Tells of processes that die, for ever: the cell must cope, and a person may want to watch it.
async fn supervise(cell: &mut LocalCell) {
    loop {
        for died in cell.processes.died() {
            let log = died.log.display();
            show::say(&format!("ohm: {} ended by itself ({}); its log is {log}", died.name, died.status));
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Stops every job, so that no task outlives the cell, and then every process.
pub(crate) async fn shut_down(cell: &mut LocalCell) {
    show::say("ohm: stopping");
    if cell.is_started()
        && cell.processes.is_running(SERVER)
        && let Err(failure) = stop_jobs(cell).await
    {
        show::say(&format!("ohm: tasks did not stop by themselves: {}", failure.told()));
    }
    cell.processes.stop_all().await;
    match stray_tasks::kill(cell.dir()).await {
        0 => {}
        n => show::say(&format!(
            "ohm: killed {} that outlived the agents",
            text::counted(n as u64, "task", "tasks")
        )),
    }
}

async fn stop_jobs(cell: &LocalCell) -> Result<(), Failure> {
    let mut server =
        Connection::to(cell.address(), cell.credentials(Role::Operator, OPERATOR)?).open().await?;
    for job in server.jobs(None).await?.iter().filter(|j| j.desired == Desired::Run) {
        server.stop(&job.name).await?;
    }
    let until = Instant::now() + STOP_GRACE;
    loop {
        // Tasks of a machine that is down can't be waited for.
        let machines = server.machines(None).await?;
        let there = machines.iter().filter(|m| m.state != MachineState::Down);
        if there.map(|m| m.tasks).sum::<u32>() == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Failure::Input(format!("{STOP_GRACE:?} were not enough")));
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}
