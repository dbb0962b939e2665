//! The live load generator: submits the jobs of a workload to a running cell, all at once or at their time.

use std::time::Duration;

use bench::workload::{Arrival, tasks};
use cell_state::job::JobSpec;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use transport::Request;
use transport::message::Refusal;
use transport_quic::{CallError, Client};

use crate::bounds::{BUSY_PAUSE, SUBMISSIONS_IN_FLIGHT};

/// A job that could not be submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server refused it, or the connection broke.
    #[error("can't submit job {job}: {source}")]
    Call {
        /// Its name.
        job: String,
        /// The reason.
        source: CallError,
    },
    /// A submission was cut off: this process is shutting down.
    #[error("a submission was cut off: {0}")]
    CutOff(#[from] JoinError),
}

/// What was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Submitted {
    /// Jobs.
    pub jobs: u64,
    /// Their tasks.
    pub tasks: u64,
    /// The most that a job was submitted after its time. Large beside the time between arrivals means that this
    /// generator, not the cell, was the bottleneck.
    pub late_max: Duration,
}

/// Submits jobs in order, with as many unanswered as the bound allows.
///
/// # Errors
/// The first job that was refused; the ones after it may or may not have been submitted.
pub async fn submit(
    client: &Client,
    jobs: impl IntoIterator<Item = JobSpec>,
) -> Result<Submitted, SubmitError> {
    let mut sending = Sending::new(client);
    for job in jobs {
        sending.send(job).await?;
    }
    sending.finish().await
}

/// Submits jobs as they arrive, counted from now.
///
/// # Errors
/// As for [`submit`].
pub async fn play(
    client: &Client,
    arrivals: impl IntoIterator<Item = Arrival>,
) -> Result<Submitted, SubmitError> {
    let start = Instant::now();
    let mut sending = Sending::new(client);
    for arrival in arrivals {
        let due = start + Duration::from_micros(arrival.at_us);
        sleep_until(due).await;
        sending.send(arrival.job).await?;
        sending.done.late_max = sending.done.late_max.max(due.elapsed());
    }
    sending.finish().await
}

/// Submissions under way.
struct Sending<'a> {
    client: &'a Client,
    under_way: JoinSet<Result<u64, SubmitError>>,
    done: Submitted,
}

impl<'a> Sending<'a> {
    fn new(client: &'a Client) -> Sending<'a> {
        Sending { client, under_way: JoinSet::new(), done: Submitted::default() }
    }

    async fn send(&mut self, job: JobSpec) -> Result<(), SubmitError> {
        while self.under_way.len() >= SUBMISSIONS_IN_FLIGHT {
            self.answered().await?;
        }
        self.under_way.spawn(submit_one(self.client.clone(), job));
        Ok(())
    }

    async fn answered(&mut self) -> Result<bool, SubmitError> {
        let Some(answer) = self.under_way.join_next().await else { return Ok(false) };
        self.done.tasks += answer??;
        self.done.jobs += 1;
        Ok(true)
    }

    async fn finish(mut self) -> Result<Submitted, SubmitError> {
        while self.answered().await? {}
        Ok(self.done)
    }
}

async fn submit_one(client: Client, job: JobSpec) -> Result<u64, SubmitError> {
    let (name, count) = (job.name.clone(), tasks(&job));
    let request = Request::SubmitJob(job);
    loop {
        match client.call(request.clone()).await {
            Ok(_) => return Ok(count),
            Err(CallError::Refused(Refusal::Busy)) => sleep(BUSY_PAUSE).await,
            Err(source) => return Err(SubmitError::Call { job: name, source }),
        }
    }
}
