//! Admission: requests to change the cell that aren't transactions, judged on the state and turned into events.
//!
//! Everything that arrives from outside is checked here, once, before it becomes an event: `apply` relies on it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::event::{CellConfig, Event, Report};
use crate::ids::{JobId, MachineId, SessionId, Time};
use crate::job::{Band, Desired, JobSpec};
use crate::machine::{Machine, MachineSpec, MachineState};
use crate::resources::{Resources, Schema};
use crate::{bounds, validate};

/// A request to change the cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make the cell, or change its settings.
    Configure(CellConfig),
    /// Set or lift a quota.
    SetQuota {
        /// The team.
        team: String,
        /// The band.
        band: Band,
        /// The limit, or none.
        limit: Option<Resources>,
    },
    /// An agent introduces its machine.
    RegisterMachine {
        /// Its description.
        spec: MachineSpec,
        /// Which life of its records this is.
        incarnation: u64,
    },
    /// Drain, undrain or give up a machine.
    SetMachineState {
        /// The machine's name.
        machine: String,
        /// Its new state.
        state: MachineState,
        /// Microseconds that tasks have at most to end once they are asked to, when it is drained; `None` leaves that to
        /// their jobs.
        grace_us: Option<u64>,
    },
    /// Submit a job.
    SubmitJob(JobSpec),
    /// Stop a job.
    StopJob {
        /// Its name.
        name: String,
    },
    /// Drop jobs that are over.
    ForgetJobs {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// A scheduler process introduces itself.
    OpenSession {
        /// The name its certificate gives it.
        scheduler: String,
        /// Its random number.
        instance: u64,
    },
    /// A scheduler process is gone.
    EndSession {
        /// Its session.
        session: SessionId,
    },
    /// An agent reports.
    Report {
        /// The machine.
        machine: MachineId,
        /// Which life of its records this is.
        incarnation: u64,
        /// The number of the first report.
        first: u64,
        /// What was seen.
        reports: Vec<Report>,
    },
}

/// The answer to an admitted command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Done, or already so.
    Done,
    /// The machine's number.
    Machine(MachineId),
    /// The job's number and version.
    Job {
        /// Its number.
        job: JobId,
        /// The version the submission made, or the current one if it changed nothing.
        version: u32,
        /// Whether it changed anything.
        changed: bool,
    },
    /// The session's number, and the highest transaction number it has used.
    Session {
        /// Its number.
        session: SessionId,
        /// The number of its last transaction; the next one must be higher.
        last_number: u64,
    },
    /// Reports up to this number are in the cell, now or before.
    Reported {
        /// The number.
        upto: u64,
    },
}

/// An admitted command: the event to log, if anything changes, and the answer to give once it is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// `None` when the cell already is as asked.
    pub event: Option<Event>,
    /// The answer.
    pub answer: Answer,
}

/// A bad request: one clear error, and nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Rejection {
    /// What kind of mistake it is.
    pub code: RejectionCode,
    /// The field that is wrong, as a path (`groups[0].resources.cpu`).
    pub field: String,
    /// The value, what is wrong with it, and the way out.
    pub problem: String,
}

/// The kinds of mistakes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RejectionCode {
    /// A field has a value it can't have.
    Invalid,
    /// What is named isn't in the cell.
    NotFound,
    /// The sender may not do this to that object.
    NotAllowed,
    /// The cell is at a bound.
    Full,
    /// The answer is no longer remembered.
    Forgotten,
}

impl Rejection {
    /// A field has a value it can't have.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Rejection {
        Rejection { code: RejectionCode::Invalid, field: field.into(), problem: problem.into() }
    }

    /// A rejection of another kind.
    pub fn new(code: RejectionCode, field: impl Into<String>, problem: impl Into<String>) -> Rejection {
        Rejection { code, field: field.into(), problem: problem.into() }
    }
}

impl Admitted {
    fn with(event: Event, answer: Answer) -> Result<Admitted, Rejection> {
        Ok(Admitted { event: Some(event), answer })
    }

    fn unchanged(answer: Answer) -> Result<Admitted, Rejection> {
        Ok(Admitted { event: None, answer })
    }
}

/// Judges a command on the state.
///
/// # Errors
/// The first thing wrong with it.
pub fn admit(cell: &Cell, time: Time, command: Command) -> Result<Admitted, Rejection> {
    match command {
        Command::Configure(config) => {
            validate::config(&config)?;
            if cell.config() == &config {
                return Admitted::unchanged(Answer::Done);
            }
            if !cell.config().name.is_empty() && cell.config().name != config.name {
                let problem =
                    format!("{:?}: a cell can't be renamed from {:?}", config.name, cell.config().name);
                return Err(Rejection::invalid("name", problem));
            }
            for machine in cell.machines() {
                let limit = config.overcommit.limit(&machine.spec.capacity);
                within("overcommit", machine, &limit, &config.schema)?;
            }
            Admitted::with(Event::Configured { config }, Answer::Done)
        }
        Command::SetQuota { team, band, limit } => set_quota(cell, team, band, limit),
        Command::RegisterMachine { spec, incarnation } => register(cell, time, spec, incarnation),
        Command::SetMachineState { machine, state, grace_us } => {
            if grace_us.is_some() && state == MachineState::Ready {
                let problem = "only a machine that is drained or down has one, and it is to be ready";
                return Err(Rejection::invalid("grace", problem));
            }
            let found = cell
                .machine_named(&machine)
                .ok_or_else(|| not_found("machine", &machine, "ohm node list"))?;
            // One that is being drained may be hurried.
            let is_done = match state {
                MachineState::Ready => true,
                MachineState::Draining => grace_us.is_none(),
                MachineState::Down => cell.given_up(found.id, grace_us).is_empty(),
            };
            if found.state == state && is_done {
                return Admitted::unchanged(Answer::Done);
            }
            Admitted::with(Event::MachineStateSet { machine: found.id, state, grace_us, time }, Answer::Done)
        }
        Command::SubmitJob(spec) => submit(cell, time, spec),
        Command::StopJob { name } => {
            let job = cell.job_named(&name).ok_or_else(|| not_found("job", &name, "ohm job list"))?;
            let answer = Answer::Job { job: job.id, version: job.current().version, changed: false };
            if job.desired == Desired::Stop {
                return Admitted::unchanged(answer);
            }
            let answer = Answer::Job { job: job.id, version: job.current().version, changed: true };
            Admitted::with(Event::JobStopped { job: job.id, time }, answer)
        }
        Command::ForgetJobs { mut jobs } => {
            jobs.retain(|id| cell.job(*id).is_some_and(|job| job.is_over()));
            if jobs.is_empty() {
                return Admitted::unchanged(Answer::Done);
            }
            Admitted::with(Event::JobsForgotten { jobs }, Answer::Done)
        }
        Command::OpenSession { scheduler, instance } => open_session(cell, time, scheduler, instance),
        Command::EndSession { session } => match cell.session(session) {
            Some(found) if found.live => Admitted::with(Event::SessionEnded { session, time }, Answer::Done),
            Some(_) | None => Admitted::unchanged(Answer::Done),
        },
        Command::Report { machine, incarnation, first, reports } => {
            report(cell, time, machine, incarnation, first, reports)
        }
    }
}

fn not_found(field: &str, name: &str, listing: &str) -> Rejection {
    Rejection::new(
        RejectionCode::NotFound,
        field,
        format!("{name:?} is not in the cell; `{listing}` shows what is"),
    )
}

fn set_quota(cell: &Cell, team: String, band: Band, limit: Option<Resources>) -> Result<Admitted, Rejection> {
    validate::name("team", &team)?;
    if cell.quotas().limit(&team, band) == limit.as_ref() {
        return Admitted::unchanged(Answer::Done);
    }
    if limit.is_some() && cell.quotas().limits().count() >= bounds::QUOTAS_MAX {
        let problem = format!("the cell has {} quotas, its bound; lift one first", bounds::QUOTAS_MAX);
        return Err(Rejection::new(RejectionCode::Full, "quota", problem));
    }
    Admitted::with(Event::QuotaSet { team, band, limit }, Answer::Done)
}

fn register(cell: &Cell, time: Time, spec: MachineSpec, incarnation: u64) -> Result<Admitted, Rejection> {
    validate::machine(&spec, &cell.config().schema)?;
    let known = cell.machine_named(&spec.name);
    let machine = known.map_or(MachineId(cell.machines().len() as u32), |m| m.id);
    if machine.index() >= bounds::MACHINES_MAX {
        let problem = format!("the cell has {} machines, its bound", bounds::MACHINES_MAX);
        return Err(Rejection::new(RejectionCode::Full, "machine", problem));
    }
    let answer = Answer::Machine(machine);
    let same = |m: &Machine| m.incarnation == incarnation && *m.spec == spec && m.state != MachineState::Down;
    if known.is_some_and(same) {
        return Admitted::unchanged(answer);
    }
    if let Some(machine) = known.filter(|m| m.incarnation == incarnation) {
        // What it holds survives the registration, so it must fit what is registered.
        within(
            "machine.capacity",
            machine,
            &cell.config().overcommit.limit(&spec.capacity),
            &cell.config().schema,
        )?;
        let kept = machine.load.extra().grants.values().flat_map(|grant| &grant.devices);
        if let Some((device, _)) = kept.into_iter().find(|(d, _)| usize::from(*d) >= spec.devices.len()) {
            let problem = format!("device {device} is in use; drain the machine before removing devices");
            return Err(Rejection::invalid("machine.devices", problem));
        }
    }
    Admitted::with(Event::MachineRegistered { machine, spec: Arc::new(spec), incarnation, time }, answer)
}

/// What a machine holds is never over its limit, so a limit can't be lowered below it.
fn within(field: &str, machine: &Machine, limit: &Resources, schema: &Schema) -> Result<(), Rejection> {
    let Some(dimension) = machine.load.used.first_over(limit) else { return Ok(()) };
    let (used, limit) = (machine.load.used.get(dimension), limit.get(dimension));
    let (name, machine) = (schema.name(dimension), &machine.spec.name);
    let problem = format!("{name} would be {limit} on {machine}, where {used} are in use; drain it first");
    Err(Rejection::invalid(field, problem))
}

fn submit(cell: &Cell, time: Time, spec: JobSpec) -> Result<Admitted, Rejection> {
    validate::job(&spec, &cell.config().schema)?;
    let Some(job) = cell.job_named(&spec.name) else {
        if cell.jobs().count() >= bounds::JOBS_MAX {
            let problem =
                format!("the cell has {} jobs, its bound; wait for old ones to be dropped", bounds::JOBS_MAX);
            return Err(Rejection::new(RejectionCode::Full, "job", problem));
        }
        let job = cell.next_job();
        if job.0 >= bounds::JOB_NUMBERS_MAX {
            let problem = format!("the cell has numbered {} jobs, its bound", bounds::JOB_NUMBERS_MAX);
            return Err(Rejection::new(RejectionCode::Full, "job", problem));
        }
        return Admitted::with(
            Event::JobSubmitted { job, spec: Arc::new(spec), time },
            Answer::Job { job, version: 1, changed: true },
        );
    };
    let current = job.current();
    if *current.spec == spec && job.desired == Desired::Run {
        let answer = Answer::Job { job: job.id, version: current.version, changed: false };
        return Admitted::unchanged(answer);
    }
    validate::successor(&current.spec, &spec)?;
    if job.versions.len() >= bounds::JOB_VERSIONS_MAX {
        let problem = format!(
            "{:?} has tasks of {} versions, the bound; wait until older tasks have ended",
            spec.name,
            bounds::JOB_VERSIONS_MAX
        );
        return Err(Rejection::new(RejectionCode::Full, "job", problem));
    }
    let answer = Answer::Job { job: job.id, version: current.version + 1, changed: true };
    Admitted::with(Event::JobSubmitted { job: job.id, spec: Arc::new(spec), time }, answer)
}

fn open_session(cell: &Cell, time: Time, scheduler: String, instance: u64) -> Result<Admitted, Rejection> {
    validate::name("scheduler", &scheduler)?;
    if let Some(known) = cell.sessions().find(&scheduler, instance) {
        let answer = Answer::Session { session: known.id, last_number: known.last_number };
        if known.live {
            return Admitted::unchanged(answer);
        }
        return Admitted::with(Event::SessionOpened { session: known.id, scheduler, instance, time }, answer);
    }
    if cell.sessions().live().count() >= bounds::SESSIONS_MAX {
        let problem =
            format!("{} sessions are live, the bound; stop a scheduler first", bounds::SESSIONS_MAX);
        return Err(Rejection::new(RejectionCode::Full, "session", problem));
    }
    let session = cell.sessions().next();
    let answer = Answer::Session { session, last_number: 0 };
    Admitted::with(Event::SessionOpened { session, scheduler, instance, time }, answer)
}

fn report(
    cell: &Cell,
    time: Time,
    machine: MachineId,
    incarnation: u64,
    first: u64,
    reports: Vec<Report>,
) -> Result<Admitted, Rejection> {
    let Some(found) = cell.machine(machine) else {
        let problem = format!("{} is not in the cell; register it first", machine.0);
        return Err(Rejection::new(RejectionCode::NotFound, "machine", problem));
    };
    if found.incarnation != incarnation {
        let problem = format!("{incarnation} is not the machine's ({}); register again", found.incarnation);
        return Err(Rejection::new(RejectionCode::NotAllowed, "incarnation", problem));
    }
    if reports.is_empty() || reports.len() > bounds::REPORTS_MAX {
        let problem =
            format!("{} reports in one message, allowed are 1 to {}", reports.len(), bounds::REPORTS_MAX);
        return Err(Rejection::invalid("reports", problem));
    }
    let next = found.reports_seen + 1;
    if first == 0 || first > next {
        let problem = format!("{first} leaves a gap; the next report is number {next}");
        return Err(Rejection::invalid("first", problem));
    }
    let upto = first + reports.len() as u64 - 1;
    if upto < next {
        return Admitted::unchanged(Answer::Reported { upto: found.reports_seen });
    }
    Admitted::with(Event::Reported { machine, incarnation, first, reports, time }, Answer::Reported { upto })
}
