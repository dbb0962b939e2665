//! The reference model of a cell: slow and obvious. Plain maps, every sum added up from scratch each time it is
//! asked for, a transaction tried on a copy of everything. It shares the specs with the product, and no rule.

mod fits;
mod judge;

use std::collections::{BTreeMap, BTreeSet};

use cell_state::admit::Command;
use cell_state::event::{CellConfig, Report, Seen};
use cell_state::job::{Band, JobSpec, RestartOn};
use cell_state::machine::{Grant, MachineSpec, MachineState};
use cell_state::task::Exit;
use cell_state::{JobId, MachineId, Resources, TaskId};

pub(crate) use judge::Told;

/// A task's life, in the model's own words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Pending,
    Placed,
    Running,
    StoppingForGood,
    Leaving,
    Completed,
    Failed,
    Stopped,
}

impl Life {
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Life::Placed | Life::Running | Life::StoppingForGood | Life::Leaving)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ModelTask {
    pub(crate) life: Life,
    pub(crate) epoch: u32,
    pub(crate) restarts: u16,
    pub(crate) machine: Option<usize>,
    pub(crate) promised: Resources,
    pub(crate) grant: Grant,
    /// Tasks it made leave, as long as they are there.
    pub(crate) waits_for: BTreeSet<TaskId>,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelJob {
    pub(crate) wanted: bool,
    pub(crate) version: u32,
    pub(crate) spec: JobSpec,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelMachine {
    pub(crate) spec: MachineSpec,
    pub(crate) state: MachineState,
    pub(crate) incarnation: u64,
    pub(crate) reports_seen: u64,
    pub(crate) changed_at: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelSession {
    pub(crate) scheduler: String,
    pub(crate) instance: u64,
    pub(crate) live: bool,
    pub(crate) answers: BTreeMap<u64, Vec<Told>>,
}

/// The whole model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) seq: u64,
    pub(crate) config: CellConfig,
    pub(crate) machines: Vec<ModelMachine>,
    pub(crate) jobs: BTreeMap<JobId, ModelJob>,
    pub(crate) tasks: BTreeMap<TaskId, ModelTask>,
    pub(crate) quotas: BTreeMap<(String, Band), Resources>,
    pub(crate) sessions: Vec<ModelSession>,
    next_job: u32,
}

impl Model {
    /// What a machine's tasks are charged together.
    pub(crate) fn used(&self, machine: usize) -> Resources {
        let there = || self.tasks.iter().filter(move |(_, t)| t.life.is_live() && t.machine == Some(machine));
        let mut grouped = BTreeSet::new();
        let mut sum = Resources::ZERO;
        for (id, newcomer) in there().filter(|(_, t)| !t.waits_for.is_empty()) {
            let victims = newcomer.waits_for.iter().map(|v| &self.tasks[v].promised);
            let held = victims.fold(Resources::ZERO, |sum, r| sum.plus(r));
            sum = sum.plus(&newcomer.promised.max(&held));
            grouped.insert(*id);
            grouped.extend(newcomer.waits_for.iter().copied());
        }
        let others = there().filter(|(id, _)| !grouped.contains(id));
        others.fold(sum, |sum, (_, t)| sum.plus(&t.promised))
    }

    /// What may be committed to a machine.
    pub(crate) fn limit(&self, machine: usize) -> Resources {
        self.config.overcommit.limit(&self.machines[machine].spec.capacity)
    }

    /// What a team's live tasks of a band are promised.
    pub(crate) fn team_used(&self, team: &str, band: Band) -> Resources {
        let theirs = self.tasks.iter().filter(|(id, t)| {
            let spec = &self.jobs[&id.job].spec;
            t.life.is_live() && spec.team == team && Band::of(spec.priority) == band
        });
        theirs.fold(Resources::ZERO, |sum, (_, t)| sum.plus(&t.promised))
    }

    fn on(&self, machine: usize) -> Vec<TaskId> {
        let there = self.tasks.iter().filter(|(_, t)| t.life.is_live() && t.machine == Some(machine));
        there.map(|(id, _)| *id).collect()
    }

    pub(crate) fn machine_named(&self, name: &str) -> Option<usize> {
        self.machines.iter().position(|m| m.spec.name == name)
    }

    pub(crate) fn job_named(&self, name: &str) -> Option<JobId> {
        self.jobs.iter().find(|(_, j)| j.spec.name == name).map(|(id, _)| *id)
    }

    /// Changes nothing but marks the machine changed by the entry that is being made.
    pub(crate) fn touch(&mut self, machine: usize) {
        self.machines[machine].changed_at = self.seq;
    }

    /// Obeys a command that the product admitted with an event.
    pub(crate) fn obey(&mut self, command: &Command) {
        self.seq += 1;
        match command {
            Command::Configure(config) => {
                if config.overcommit != self.config.overcommit {
                    (0..self.machines.len()).for_each(|m| self.touch(m));
                }
                self.config = config.clone();
            }
            Command::SetQuota { team, band, limit } => match limit {
                Some(limit) => drop(self.quotas.insert((team.clone(), *band), *limit)),
                None => drop(self.quotas.remove(&(team.clone(), *band))),
            },
            Command::RegisterMachine { spec, incarnation } => self.register(spec, *incarnation),
            Command::SetMachineState { machine, state, grace_us: _ } => {
                let machine = self.machine_named(machine).expect("admitted");
                self.set_state(machine, *state);
            }
            Command::SubmitJob(spec) => self.submit(spec),
            Command::StopJob { name } => {
                let job = self.job_named(name).expect("admitted");
                self.jobs.get_mut(&job).expect("just found").wanted = false;
                let tasks: Vec<TaskId> = self.tasks.keys().copied().filter(|t| t.job == job).collect();
                tasks.into_iter().for_each(|task| self.stop_for_good(task));
            }
            Command::ForgetJobs { jobs } => {
                for job in jobs {
                    let over = !self
                        .tasks
                        .iter()
                        .any(|(id, t)| id.job == *job && (t.life.is_live() || t.life == Life::Pending));
                    if over && self.jobs.remove(job).is_some() {
                        self.tasks.retain(|id, _| id.job != *job);
                    }
                }
            }
            Command::OpenSession { scheduler, instance } => {
                let known =
                    self.sessions.iter_mut().find(|s| s.scheduler == *scheduler && s.instance == *instance);
                match known {
                    Some(session) => session.live = true,
                    None => self.sessions.push(ModelSession {
                        scheduler: scheduler.clone(),
                        instance: *instance,
                        live: true,
                        answers: BTreeMap::new(),
                    }),
                }
            }
            Command::EndSession { session } => self.sessions[session.0 as usize].live = false,
            Command::Report { machine, incarnation, first, reports } => {
                self.report(machine.index(), *incarnation, *first, reports);
            }
        }
    }

    fn register(&mut self, spec: &MachineSpec, incarnation: u64) {
        let at = match self.machine_named(&spec.name) {
            Some(at) => at,
            None => {
                self.machines.push(ModelMachine {
                    spec: spec.clone(),
                    state: MachineState::Ready,
                    incarnation,
                    reports_seen: 0,
                    changed_at: 0,
                });
                self.machines.len() - 1
            }
        };
        if self.machines[at].incarnation != incarnation {
            self.machines[at].incarnation = incarnation;
            self.machines[at].reports_seen = 0;
            self.on(at).into_iter().for_each(|task| self.lost(task));
        }
        self.machines[at].spec = spec.clone();
        if self.machines[at].state == MachineState::Down {
            self.machines[at].state = MachineState::Ready;
        }
        self.touch(at);
    }

    fn set_state(&mut self, machine: usize, state: MachineState) {
        self.machines[machine].state = state;
        self.touch(machine);
        for task in self.on(machine) {
            match state {
                MachineState::Ready => {}
                MachineState::Down => self.lost(task),
                MachineState::Draining => self.ask_to_leave(task),
            }
        }
    }

    fn submit(&mut self, spec: &JobSpec) {
        let job = self.job_named(&spec.name).unwrap_or(JobId(self.next_job));
        self.next_job = self.next_job.max(job.0 + 1);
        let version = self.jobs.get(&job).map_or(1, |j| j.version + 1);
        self.jobs.insert(job, ModelJob { wanted: true, version, spec: spec.clone() });
        for (group, g) in spec.groups.iter().enumerate() {
            for index in 0..g.count {
                let id = TaskId { job, group: group as u16, index };
                let task = self.tasks.entry(id).or_insert(ModelTask {
                    life: Life::Pending,
                    epoch: 0,
                    restarts: 0,
                    machine: None,
                    promised: Resources::ZERO,
                    grant: Grant::default(),
                    waits_for: BTreeSet::new(),
                });
                match task.life {
                    Life::Stopped | Life::Failed => (task.life, task.restarts) = (Life::Pending, 0),
                    // It is to run after all, once its process is gone.
                    Life::StoppingForGood => (task.life, task.restarts) = (Life::Leaving, 0),
                    Life::Pending | Life::Placed | Life::Running | Life::Leaving | Life::Completed => {}
                }
            }
            let surplus = |t: &&TaskId| t.job == job && usize::from(t.group) == group && t.index >= g.count;
            let surplus: Vec<TaskId> = self.tasks.keys().filter(surplus).copied().collect();
            surplus.into_iter().for_each(|task| self.stop_for_good(task));
        }
    }

    pub(crate) fn stop_for_good(&mut self, id: TaskId) {
        let task = self.tasks.get_mut(&id).expect("a task of the model");
        task.life = match task.life {
            Life::Pending => Life::Stopped,
            Life::Placed | Life::Running | Life::Leaving => Life::StoppingForGood,
            same @ (Life::StoppingForGood | Life::Completed | Life::Failed | Life::Stopped) => same,
        };
    }

    pub(crate) fn ask_to_leave(&mut self, id: TaskId) {
        let task = self.tasks.get_mut(&id).expect("a task of the model");
        if matches!(task.life, Life::Placed | Life::Running) {
            task.life = Life::Leaving;
        }
    }

    fn lost(&mut self, id: TaskId) {
        let next = if self.tasks[&id].life == Life::StoppingForGood { Life::Stopped } else { Life::Pending };
        self.off(id, next);
    }

    /// A live task leaves its machine.
    fn off(&mut self, id: TaskId, next: Life) {
        let task = self.tasks.get_mut(&id).expect("a task of the model");
        task.life = next;
        task.grant = Grant::default();
        task.waits_for.clear();
        if let Some(machine) = task.machine {
            self.touch(machine);
        }
        for other in self.tasks.values_mut() {
            other.waits_for.remove(&id);
        }
    }

    fn report(&mut self, machine: usize, incarnation: u64, first: u64, reports: &[Report]) {
        assert_eq!(self.machines[machine].incarnation, incarnation, "admitted");
        for (number, report) in (first..).zip(reports) {
            if number <= self.machines[machine].reports_seen {
                continue;
            }
            self.machines[machine].reports_seen = number;
            let Some(task) = self.tasks.get_mut(&report.task) else { continue };
            if task.epoch != report.epoch || task.machine != Some(machine) || !task.life.is_live() {
                continue;
            }
            match report.seen {
                Seen::Started if task.life == Life::Placed => task.life = Life::Running,
                Seen::Started => {}
                Seen::Ended(exit) => self.ended(report.task, exit),
            }
        }
    }

    fn ended(&mut self, id: TaskId, exit: Exit) {
        let good = exit == Exit::Code(0);
        let rule = self.jobs[&id.job].spec.groups[usize::from(id.group)].restart;
        let task = self.tasks.get_mut(&id).expect("just found");
        let wanted_again = match rule.on {
            RestartOn::Always => true,
            RestartOn::Failure => !good,
            RestartOn::Never => false,
        };
        let next = match task.life {
            Life::StoppingForGood => Life::Stopped,
            Life::Leaving => Life::Pending,
            _ if wanted_again && task.restarts < rule.attempts => {
                task.restarts += 1;
                Life::Pending
            }
            _ if good => Life::Completed,
            _ => Life::Failed,
        };
        self.off(id, next);
    }

    /// The machines as the product numbers them.
    pub(crate) fn machine_ids(&self) -> impl Iterator<Item = MachineId> + use<> {
        (0..self.machines.len() as u32).map(MachineId)
    }
}
