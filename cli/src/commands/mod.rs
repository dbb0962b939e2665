//! The commands: each module checks what was typed, then does it. Nothing starts before everything is checked.

pub(crate) mod logging;
pub(crate) mod pki;
pub(crate) mod shutdown;

mod agent;
mod confirm;
pub(crate) mod dev;
mod job_check;
mod job_logs;
mod job_plan;
mod job_reads;
mod job_run;
mod job_stop;
mod job_why;
mod load;
mod load_report;
mod load_tasks;
mod node;
mod pages;
mod quota;
mod reads;
mod scheduler;
mod server;
mod service;
mod study;
mod task;
mod task_exec;
mod task_name;
mod top;
mod txn;

use std::future::Future;

use crate::demo;
use crate::failure::{Ended, Failure};
use crate::typed::jobs::JobCommand;
use crate::typed::load::LoadKind;
use crate::typed::roles::{SchedulerCommand, ServerCommand};
use crate::typed::tasks::TaskCommand;
use crate::typed::{Cli, Command};

/// Does what was typed.
///
/// # Errors
/// What stood in the way.
pub(crate) fn run(cli: Cli) -> Result<Ended, Failure> {
    match cli.command {
        Command::Pki(command) => pki::run(command),
        Command::Dev(args) => wait_for(dev::run(dev::Dev::check(args)?)),
        Command::Demo(args) => wait_for(demo::run(demo::Demo::check(args)?)),
        Command::Scale(args) => wait_for(demo::scale::run(demo::scale::Scale::check(args)?)),
        Command::Load(args) => match args.kind {
            None => wait_for(load::run(load::Load::check(args.load)?)),
            Some(LoadKind::Tasks(args)) => wait_for(load_tasks::run(load_tasks::LoadTasks::check(args)?)),
        },
        Command::Study(command) => study::run(command),
        Command::DemoTask(args) => demo::task::run(&args),
        Command::ScalePeers(args) => wait_for(demo::scale::peers::run(args)),
        Command::Server(args) => match args.command {
            None => server::run(server::Server::check(args.run)?),
            Some(ServerCommand::Run(args)) => server::run(server::Server::check(*args)?),
            Some(ServerCommand::Verify(args)) => server::verify(&args),
        },
        Command::Scheduler(command) => match command {
            SchedulerCommand::Run(args) => {
                scheduler::run(scheduler::Scheduler::check(&args.policy, args.scheduler)?)
            }
            SchedulerCommand::Batch(args) => scheduler::run(scheduler::Scheduler::check("batch", *args)?),
            SchedulerCommand::Service(args) => scheduler::run(scheduler::Scheduler::check("service", *args)?),
            SchedulerCommand::List(args) => wait_for(reads::schedulers(args)),
        },
        Command::Agent(args) => agent::run(agent::Agent::check(*args)?),
        Command::Job(command) => job(command),
        Command::Task(command) => match command {
            TaskCommand::Exec(args) => wait_for(task_exec::run(task_exec::TaskExec::check(args)?)),
            TaskCommand::Fs(command) => wait_for(task::files(command)),
            TaskCommand::Signal(args) => wait_for(task::signal(args)),
        },
        Command::Node(command) => wait_for(node::run(command)),
        Command::Service(command) => wait_for(service::run(command)),
        Command::Top(args) => wait_for(top::run(top::Top::check(args)?)),
        Command::Txn(command) => wait_for(txn::run(command)),
        Command::Conflicts(command) => wait_for(txn::conflicts(command)),
        Command::State(args) => wait_for(reads::state(args)),
        Command::Status(args) => wait_for(reads::status(args)),
        Command::Audit(args) => wait_for(reads::audit(args)),
        Command::Quota(command) => wait_for(quota::run(command)),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    }
}

fn job(command: JobCommand) -> Result<Ended, Failure> {
    match command {
        JobCommand::Run(args) => wait_for(job_run::run(job_run::JobRun::check(args)?)),
        JobCommand::Plan(args) => wait_for(job_plan::run(job_plan::JobPlan::check(args)?)),
        JobCommand::Check(args) => job_check::run(&args),
        JobCommand::List(args) => wait_for(job_reads::list(args)),
        JobCommand::Status(args) => wait_for(job_reads::status(args)),
        JobCommand::Stop(args) => wait_for(job_stop::run(args)),
        JobCommand::Logs(args) => wait_for(job_logs::run(job_logs::JobLogs::check(args)?)),
        JobCommand::Why(args) => wait_for(job_why::run(args)),
        JobCommand::Init(args) => job_check::init(&args),
    }
}

/// Runs a command that talks to a server: one thread is the fastest runtime for a single connection.
fn wait_for(command: impl Future<Output = Result<Ended, Failure>>) -> Result<Ended, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ended = command.await;
        crate::connection::leave().await;
        ended
    })
}
