//! A cell with a history that touches pages of every kind, makes some grow and others go away.

use cell_server::log::faulty::Chance;
use cell_state::admit::{Command, admit};
use cell_state::commit::{Judged, judge};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::ids::{SessionId, Time, TxnId};
use cell_state::job::{GroupSpec, Job, JobKind, JobSpec, Restart, RestartOn, Run};
use cell_state::machine::MachineSpec;
use cell_state::task::{Exit, TaskState};
use cell_state::transaction::{Atomicity, Detection, Op, Transaction};
use cell_state::{Cell, JobId, MachineId, Resources, Seq};

/// The cell and what comes next, the same in every run.
pub(crate) struct History {
    pub(crate) cell: Cell,
    chance: Chance,
    transactions: u64,
}

impl History {
    pub(crate) fn new(seed: u64) -> History {
        History { cell: Cell::new(), chance: Chance(seed), transactions: 0 }
    }

    /// The next event, already applied.
    pub(crate) fn step(&mut self) -> (Seq, Event) {
        let event = loop {
            if let Some(event) = self.propose() {
                break event;
            }
        };
        let seq = self.cell.seq().next();
        self.cell.apply(seq, &event);
        (seq, event)
    }

    fn propose(&mut self) -> Option<Event> {
        let time = Time(self.cell.seq().0 * 1_000_000);
        let command = match self.cell.seq().0 {
            0 => Command::Configure(CellConfig { name: "dev".to_owned(), ..CellConfig::default() }),
            1 => Command::OpenSession { scheduler: "batch".to_owned(), instance: 1 },
            n @ 2..40 => Command::RegisterMachine { spec: machine(n * 3), incarnation: 1 },
            _ => match self.chance.below(12) {
                0 => Command::RegisterMachine { spec: machine(self.chance.below(200)), incarnation: 1 },
                1 | 2 => Command::SubmitJob(self.job()),
                3 => Command::StopJob { name: format!("job-{}", self.chance.below(40)) },
                4 => Command::ForgetJobs { jobs: self.over() },
                5..8 => self.report()?,
                _ => return self.place(time),
            },
        };
        admit(&self.cell, time, command).ok()?.event
    }

    fn job(&mut self) -> JobSpec {
        let count = if self.chance.below(4) == 0 { 700 } else { 1 + self.chance.below(20) as u32 };
        let group = GroupSpec {
            name: "main".to_owned(),
            count,
            resources: Resources::cpu_memory(100, 1 << 20),
            constraints: Vec::new(),
            distinct_machines: false,
            spread: None,
            ports: Vec::new(),
            restart: Restart { on: RestartOn::Never, attempts: 0, delay_us: 0 },
            data: cell_state::job::data::Data::default(),
            stop_grace_us: 1_000,
            run: Run::Simulated { run_for_us: None, exit_code: 0 },
        };
        JobSpec {
            name: format!("job-{}", self.chance.below(40)),
            kind: JobKind::Batch,
            priority: 100,
            team: "red".to_owned(),
            scheduler: "batch".to_owned(),
            groups: vec![group],
        }
    }

    fn over(&self) -> Vec<JobId> {
        self.cell.jobs().filter(|job| job.is_over()).map(|job| job.id).collect()
    }

    /// The agent of some machine has started or seen the end of what is there.
    fn report(&mut self) -> Option<Command> {
        let machines = self.cell.machines();
        let machine = &machines[self.chance.below(machines.len() as u64) as usize];
        let reports = self.cell.assigned(machine.id).into_iter().take(20).map(|assigned| Report {
            task: assigned.task,
            epoch: assigned.epoch,
            seen: if assigned.state == TaskState::Placed {
                Seen::Started
            } else {
                Seen::Ended(Exit::Code(0))
            },
        });
        let reports: Vec<_> = reports.collect();
        let (incarnation, first) = (machine.incarnation, machine.reports_seen + 1);
        (!reports.is_empty()).then_some(Command::Report { machine: machine.id, incarnation, first, reports })
    }

    fn place(&mut self, time: Time) -> Option<Event> {
        let pending: Vec<_> = self.cell.jobs().flat_map(Job::pending).take(60).collect();
        if pending.is_empty() {
            return None;
        }
        let machines = self.cell.machines().len() as u64;
        let ops = pending.into_iter().map(|task| Op::Place {
            task,
            machines: MachineId(self.chance.below(machines) as u32).into(),
            preempt: Vec::new(),
        });
        let ops = ops.collect();
        self.transactions += 1;
        let txn = Transaction {
            id: TxnId { session: SessionId(0), number: self.transactions },
            basis: self.cell.seq(),
            atomicity: Atomicity::Incremental,
            detection: Detection::Fit,
            ops,
            assertions: Vec::new(),
        };
        match judge(&self.cell, time, &txn).unwrap() {
            Judged::New(committed) => Some(Event::Committed(committed)),
            Judged::Again { .. } => None,
        }
    }
}

fn machine(number: u64) -> MachineSpec {
    MachineSpec {
        name: format!("m{number}"),
        capacity: Resources::cpu_memory(4_000, 1 << 33),
        attributes: Default::default(),
        devices: Vec::new(),
        ports: (20_000, 31_999),
    }
}
