//! `ohm load tasks`: many short tasks through a cell, from submitted to recorded as finished, beside the same command
//! spawned without one.

mod report;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cell_state::job::Counts;
use serde_json::json;
use study::load::{Spawned, Used, spawn};
use transport::view::{Body, Query};
use transport::{Reply, Request};
use transport_quic::Client;

use super::shutdown;
use crate::bounds::{
    LOAD_SIMULATED_AT_ONCE, LOAD_SPAWN_FOR, LOAD_TASKS_AT_ONCE, LOAD_TASKS_LOOK_EVERY, LOAD_TASKS_MAX,
    LOAD_TASKS_WARM_UP,
};
use crate::connection::{Asker, Connection};
use crate::demo::DemoError;
use crate::failure::{Ended, Failure};
use crate::job_file::{self, Amount, Document, Syntax, duration_us};
use crate::local_cell::{LocalCell, SERVER};
use crate::typed::connect::Format;
use crate::typed::load::{LoadDriver, LoadIsolation, LoadTasksArgs};

/// The scheduler, and the machine or the prefix of the machines, in a cell of its own.
const SCHEDULER: &str = "batch";
const MACHINE: &str = "load";

/// What was asked for, checked.
pub(crate) struct LoadTasks {
    tasks: u32,
    command: Vec<String>,
    driver: LoadDriver,
    isolation: LoadIsolation,
    at_once: u32,
    timeout: Duration,
    target: Target,
    format: Format,
}

/// Where the tasks run.
enum Target {
    /// In a fresh cell, in a temporary directory below this one.
    Own(PathBuf),
    /// In a running one.
    Running(Box<Connection>),
}

/// What was measured.
struct Measured {
    counts: Counts,
    seconds: f64,
    /// By part of the cell, in microseconds; empty when its processes aren't ours.
    cpu_us: BTreeMap<&'static str, u64>,
    /// By one thread, and by as many as there are cores.
    raw: Option<[Spawned; 2]>,
    /// Processor time of one such process, the one who spawned it included.
    raw_cpu_us: Option<f64>,
}

impl LoadTasks {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing that can't be meant.
    pub(crate) fn check(args: LoadTasksArgs) -> Result<LoadTasks, Failure> {
        let (command, format) = own_output(args.command, args.output);
        let input = |problem: String| Err(Failure::Input(problem));
        match (args.driver, command.is_empty()) {
            (LoadDriver::Exec, true) => {
                return input("no command to run: write it after --, such as `-- true`".to_owned());
            }
            (LoadDriver::Simulated, false) => {
                return input(format!(
                    "-- {}: simulated tasks run no command; leave it out",
                    command.join(" ")
                ));
            }
            (LoadDriver::Exec, false) | (LoadDriver::Simulated, true) => {}
        }
        if !(1..=LOAD_TASKS_MAX).contains(&args.tasks) {
            return input(format!("--tasks: {}; write 1 to {LOAD_TASKS_MAX}", args.tasks));
        }
        let at_once = args.at_once.unwrap_or(match args.driver {
            LoadDriver::Exec => LOAD_TASKS_AT_ONCE,
            LoadDriver::Simulated => LOAD_SIMULATED_AT_ONCE,
        });
        if !(1..=LOAD_TASKS_MAX).contains(&at_once) {
            return input(format!("--at-once: {at_once}; write 1 to {LOAD_TASKS_MAX}"));
        }
        let timeout = duration_us(Amount::Text(&args.timeout))
            .map_err(|e| Failure::Input(format!("--timeout: {e}")))?;
        let target = match args.connect.server.clone().filter(|_| !args.own) {
            Some(server) => Target::Running(Box::new(Connection::check(&args.connect.to(server))?)),
            None => Target::Own(args.dir.unwrap_or_else(std::env::temp_dir)),
        };
        let timeout = Duration::from_micros(timeout);
        Ok(LoadTasks {
            tasks: args.tasks,
            command,
            driver: args.driver,
            isolation: args.isolation,
            at_once,
            timeout,
            target,
            format,
        })
    }
}

/// Takes `-o FORMAT` off the end of the command, where people write it, unless it was given before: then those words are
/// the command's.
fn own_output(mut command: Vec<String>, given: Option<Format>) -> (Vec<String>, Format) {
    let word = |format: &str| <Format as clap::ValueEnum>::from_str(format, false).ok();
    if let Some(given) = given {
        return (command, given);
    }
    let found = match command.as_slice() {
        [.., flag, format] if flag == "-o" || flag == "--output" => word(format).map(|format| (2, format)),
        [.., joined] => joined.strip_prefix("--output=").and_then(word).map(|format| (1, format)),
        [] => None,
    };
    let Some((words, format)) = found else { return (command, Format::Table) };
    command.truncate(command.len() - words);
    (command, format)
}

/// Runs the tasks and says how fast that was.
///
/// # Errors
/// The command can't be started, or the cell could not be started or reached, or was lost on the way.
pub(crate) async fn run(load: LoadTasks) -> Result<Ended, Failure> {
    let measured = measure(&load).await?;
    report::show(&load, &measured)?;
    Ok(if measured.counts.completed == load.tasks { Ended::Well } else { Ended::Unsound })
}

async fn measure(load: &LoadTasks) -> Result<Measured, Failure> {
    // Before there is a cell that could want the processors.
    let before = Used::of(std::process::id());
    let raw = raw(load)?;
    let spent = before.zip(Used::of(std::process::id())).map(|(before, now)| now.since(&before));
    let raw_cpu_us = raw.zip(spent).map(|(raw, spent)| {
        let count = raw.iter().map(|spawned| spawned.count).sum::<u64>();
        (spent.cpu_us + spent.children_cpu_us) as f64 / count.max(1) as f64
    });
    let (counts, seconds, cpu_us) = match &load.target {
        Target::Own(dir) => own(load, dir).await?,
        Target::Running(connection) => {
            let mut server = connection.clone().open().await?;
            let (counts, seconds) = tasks(load, &mut server, load.tasks).await?;
            (counts, seconds, BTreeMap::new())
        }
    };
    Ok(Measured { counts, seconds, cpu_us, raw, raw_cpu_us })
}

fn raw(load: &LoadTasks) -> Result<Option<[Spawned; 2]>, Failure> {
    if load.driver == LoadDriver::Simulated {
        return Ok(None);
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let by = |threads| {
        let failed = |e| Failure::Input(format!("-- {}: can't be started: {e}", load.command.join(" ")));
        spawn(&load.command, threads, LOAD_SPAWN_FOR).map_err(failed)
    };
    Ok(Some([by(1)?, by(cores)?]))
}

type Ran = (Counts, f64, BTreeMap<&'static str, u64>);

/// Runs the tasks in a cell of its own, and stops and removes it, whatever happens.
async fn own(load: &LoadTasks, dir: &Path) -> Result<Ran, Failure> {
    let scratch = tempfile::Builder::new().prefix("ohm-load-").tempdir_in(dir);
    let scratch = scratch.map_err(|e| Failure::write(dir, e))?;
    let mut cell = LocalCell::create(std::env::current_exe()?, scratch.path(), "load")?;
    let stop = shutdown::asked(false)?;
    let ran = tokio::select! {
        ran = own_in(load, &mut cell) => ran,
        () = stop => Err(DemoError::Interrupted.into()),
    };
    cell.processes.stop_all().await;
    crate::stray_tasks::kill(cell.dir()).await;
    ran
}

async fn own_in(load: &LoadTasks, cell: &mut LocalCell) -> Result<Ran, Failure> {
    let address = cell.start_server(([127, 0, 0, 1], 0).into(), &[]).await?;
    let scheduler = cell.start_scheduler(SCHEDULER, SCHEDULER, SCHEDULER, &["--log", "warn"])?;
    // Each task asks for a millicore, so the bound holds by arithmetic.
    let cpu = format!("{}m", load.at_once);
    let args = ["--cpu", &cpu, "--log", "warn", "--isolation", load.isolation.word()];
    let agent = match load.driver {
        LoadDriver::Exec => cell.start_agent(MACHINE, &args)?,
        LoadDriver::Simulated => cell.start_simulated_agent(&format!("{MACHINE}-"), 1, &args)?,
    };
    let client = cell.connect().await?;
    ready(cell, &client).await?;
    let mut pid = |name: &str| cell.processes.pid(name);
    let parts = [pid(SERVER), pid(&scheduler), pid(&agent)];
    let mut server = asker(cell, address).await?;
    tasks(load, &mut server, LOAD_TASKS_WARM_UP.min(load.tasks)).await?;
    let before = Parts::of(parts);
    let (counts, seconds) = tasks(load, &mut server, load.tasks).await?;
    Ok((counts, seconds, Parts::of(parts).since(&before)))
}

async fn asker(cell: &LocalCell, address: SocketAddr) -> Result<Asker, Failure> {
    let credentials = cell.credentials(transport::Role::Operator, crate::local_cell::OPERATOR)?;
    Connection::to(address, credentials).open().await
}

async fn ready(cell: &LocalCell, client: &Client) -> Result<(), Failure> {
    let live = |reply: &Reply| matches!(reply, Reply::Schedulers(s) if s.iter().any(|s| s.live));
    cell.wait_for(client, "the scheduler", Request::ListSchedulers, live).await?;
    let machines = |reply: &Reply| match reply {
        Reply::View(view) => matches!(&view.body, Body::Cell(c) if c.machines[0] >= 1),
        _ => false,
    };
    let request = Request::Read { at: None, query: Query::Cell };
    Ok(cell.wait_for(client, "the machine", request, machines).await?)
}

/// Submits a job of so many tasks, and waits until all are over.
async fn tasks(load: &LoadTasks, server: &mut Asker, count: u32) -> Result<(Counts, f64), Failure> {
    let schema = server.status().await?.config.schema;
    let name = format!("load-{:016x}", super::load::instance());
    let spec = job(load, &name, count, &schema)?;
    let begin = Instant::now();
    server.submit(spec).await?;
    let counts = loop {
        let (_, job) = server.job(None, &name, 0, 0).await?;
        let counts = job.row.counts;
        if counts.pending == 0 && counts.live() == 0 {
            break counts;
        }
        if begin.elapsed() >= load.timeout {
            server.stop(&name).await?;
            let problem = format!("--timeout: {counts} after {:?}; the job {name} was stopped", load.timeout);
            return Err(Failure::Input(problem));
        }
        tokio::time::sleep(LOAD_TASKS_LOOK_EVERY).await;
    };
    Ok((counts, begin.elapsed().as_secs_f64()))
}

fn job(
    load: &LoadTasks,
    name: &str,
    count: u32,
    schema: &cell_state::resources::Schema,
) -> Result<cell_state::job::JobSpec, Failure> {
    let run = match (load.driver, load.command.split_first()) {
        (LoadDriver::Exec, Some((command, args))) => json!({"command": command, "args": args}),
        (LoadDriver::Exec, None) | (LoadDriver::Simulated, _) => {
            json!({"driver": "simulated", "run_for": "0s"})
        }
    };
    let file = json!({
        "name": name,
        "groups": [{
            "count": count,
            "resources": {"cpu": "1m", "memory": 0},
            "restart": {"on": "never"},
            "run": run,
        }],
    });
    let document = Document::parse(&file.to_string(), Syntax::Json);
    let spec = document.and_then(|document| job_file::spec(&document, job_file::Resources::Known(schema)));
    spec.map_err(|error| Failure::JobFile { file: name.to_owned(), error })
}

/// Processor time by part of the cell.
struct Parts(BTreeMap<&'static str, u64>);

impl Parts {
    /// Of the server, the scheduler and the agent.
    fn of([server, scheduler, agent]: [Option<u32>; 3]) -> Parts {
        let used = |pid: Option<u32>| pid.and_then(Used::of).unwrap_or_default();
        let nurseries: Vec<Used> =
            agent.map(children).unwrap_or_default().into_iter().filter_map(Used::of).collect();
        let forks: u64 = nurseries.iter().map(|nursery| nursery.cpu_us).sum();
        Parts(BTreeMap::from([
            ("server", used(server).cpu_us),
            ("scheduler", used(scheduler).cpu_us),
            ("agent", used(agent).cpu_us + forks),
            ("shims_and_tasks", nurseries.iter().map(|nursery| nursery.children_cpu_us).sum()),
        ]))
    }

    fn since(self, before: &Parts) -> BTreeMap<&'static str, u64> {
        let earlier = |part| before.0.get(part).copied().unwrap_or(0);
        self.0.into_iter().map(|(part, us)| (part, us.saturating_sub(earlier(part)))).collect()
    }
}

/// The children of a process, whichever of its threads made them.
fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str], given: Option<Format>) -> (Vec<String>, Format) {
        own_output(words.iter().map(|word| (*word).to_owned()).collect(), given)
    }

    /// What is typed after `--`, the format given before it, and what both mean.
    type Case = (&'static [&'static str], Option<Format>, &'static [&'static str], Format);

    #[test]
    fn a_trailing_output_flag_is_ours_unless_one_was_given_before() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let table: [Case; 8] = [
            (&["true"], None, &["true"], Format::Table),
            (&["true", "-o", "json"], None, &["true"], Format::Json),
            (&["true", "--output", "wide"], None, &["true"], Format::Wide),
            (&["true", "--output=json"], None, &["true"], Format::Json),
            (&["get", "-o", "json"], Some(Format::Table), &["get", "-o", "json"], Format::Table),
            (&["cc", "-o", "a.out"], None, &["cc", "-o", "a.out"], Format::Table),
            (&["-o", "json"], None, &[], Format::Json),
            (&[], None, &[], Format::Table),
        ];
        for (typed, given, command, format) in table {
            assert_eq!(split(typed, given), (words(command), format), "{typed:?}");
        }
    }
}
