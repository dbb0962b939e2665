//! The jobs of a load: simulated tasks that are pending again whenever they end.

use cell_state::admit::Answer;
use cell_state::job::{GroupSpec, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::{Resources, TaskId};
use transport::{Reply, Request};
use transport_quic::{CallError, Client};

use super::calls::patient;
use super::error::LoadError;
use super::field::Field;
use super::{Parties, TASK_CPU_MILLI, TASK_MEMORY};
use crate::bounds::LOAD_TASKS_PER_JOB;

/// Submits the jobs, and gives each scheduler the tasks of its own.
pub(super) async fn submit(
    field: &Field,
    parties: &Parties,
    operator: &Client,
) -> Result<Vec<String>, LoadError> {
    const WHAT: &str = "submitting a job";
    let (count, whole) = (field.settings.schedulers, field.settings.tasks);
    let mut jobs = Vec::new();
    for (owner, scheduler) in parties.schedulers.iter().enumerate() {
        let mut left = whole / count + u32::from((owner as u32) < whole % count);
        while left > 0 {
            let tasks = left.min(LOAD_TASKS_PER_JOB);
            left -= tasks;
            let name = job_name(parties, jobs.len());
            let request = Request::SubmitJob(job(&name, &scheduler.identity().name, tasks));
            let answer = patient(operator, request, WHAT).await?;
            let Reply::Done { answer: Answer::Job { job, .. }, .. } = answer else {
                return Err(LoadError::Answer(WHAT));
            };
            field.free(owner).extend((0..tasks).map(|index| TaskId { job, group: 0, index }));
            jobs.push(name);
        }
    }
    Ok(jobs)
}

/// Stops these jobs.
pub(super) async fn stop(operator: &Client, jobs: &[String]) -> Result<(), LoadError> {
    for job in jobs {
        patient(operator, Request::StopJob { name: job.clone() }, "stopping a job").await?;
    }
    Ok(())
}

/// Stops the jobs of a load that was cut off.
///
/// # Errors
/// The cell can't be reached.
pub async fn stop_jobs(parties: &Parties) -> Result<(), LoadError> {
    let operator = Client::connect(parties.server, &parties.operator).await?;
    for number in 0.. {
        let request = Request::StopJob { name: job_name(parties, number) };
        match patient(&operator, request, "stopping a job").await {
            Ok(_) => {}
            // They were numbered without gaps, so there are no more.
            Err(LoadError::Call { source: CallError::Refused(_), .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn job_name(parties: &Parties, number: usize) -> String {
    format!("{}{number}-{:x}", parties.prefix, parties.instance)
}

fn job(name: &str, scheduler: &str, count: u32) -> JobSpec {
    let restart = Restart { on: RestartOn::Always, attempts: cell_state::bounds::RESTARTS_MAX, delay_us: 0 };
    let group = GroupSpec {
        name: "main".to_owned(),
        count,
        resources: Resources::cpu_memory(TASK_CPU_MILLI, TASK_MEMORY),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: Vec::new(),
        restart,
        data: cell_state::job::data::Data::default(),
        stop_grace_us: 0,
        run: Run::Simulated { run_for_us: None, exit_code: 0 },
    };
    JobSpec {
        name: name.to_owned(),
        kind: JobKind::Batch,
        priority: 100,
        team: "load".to_owned(),
        scheduler: scheduler.to_owned(),
        groups: vec![group],
    }
}
