//! Parametric workloads: how often jobs of each class come, how many tasks they have, how long these run and what
//! they ask for, each a distribution. The seed decides the rest.
//!
//! A class draws from a stream of its own: changing one class leaves the jobs of the others as they were.

mod distribution;

use cell_state::bounds::{AMOUNT_MAX, GROUP_TASKS_MAX, PRIORITY_MAX};
use cell_state::{Dimension, Resources};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

pub use distribution::Distribution;

use crate::bounds::{MODEL_CLASSES_MAX, SCENARIO_JOBS_MAX, SCENARIO_MACHINES_MAX};
use crate::fleet::{self, Shape};
use crate::scenario::{Job, Scenario, Tasks, condition};

/// A cell and its work, as distributions.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// How long jobs come, in seconds.
    pub span_s: f64,
    /// The machines, shape by shape.
    #[serde(default)]
    pub machines: Vec<MachineModel>,
    /// The classes of work.
    pub classes: Vec<ClassModel>,
}

/// Machines of one shape.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineModel {
    /// How many.
    pub count: u32,
    /// Cores.
    pub cpu: f64,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Disk in GiB.
    #[serde(default)]
    pub disk_gib: f64,
    /// Whole GPU devices.
    #[serde(default)]
    pub gpus: u32,
    /// Network bandwidth in Mbit/s.
    #[serde(default)]
    pub net_mbit: u64,
}

/// One class of work.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassModel {
    /// Its name.
    pub name: String,
    /// The priority of its jobs.
    pub priority: u16,
    /// Seconds between two jobs.
    pub interarrival_s: Distribution,
    /// Tasks of a job, rounded up to at least one.
    pub tasks: Distribution,
    /// Seconds the tasks of a job run, one draw per job; without it they run on.
    #[serde(default)]
    pub run_for_s: Option<Distribution>,
    /// Cores each task of a job asks for, one draw per job.
    pub cpu: Distribution,
    /// GiB of memory each task of a job asks for, one draw per job.
    pub memory_gib: Distribution,
    /// GiB of disk.
    #[serde(default)]
    pub disk_gib: Option<Distribution>,
    /// GPUs: a share of one device, or a count, rounded to whole ones above one.
    #[serde(default)]
    pub gpus: Option<Distribution>,
    /// Never two tasks of a job on one machine.
    #[serde(default)]
    pub distinct: bool,
    /// All tasks of a job at once or none.
    #[serde(default)]
    pub gang: bool,
    /// Conditions on the machine, like `zone=z1`.
    #[serde(default)]
    pub constraints: Vec<String>,
}

/// A model that can't be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ModelError {
    /// The field, like `classes[0].cpu`.
    pub field: String,
    /// What is wrong with it, and what it may be.
    pub problem: String,
}

/// A GiB.
const GIB: f64 = (1u64 << 30) as f64;

impl Model {
    /// A scenario of this model.
    ///
    /// # Errors
    /// The first field that has a value it can't have, or the jobs would be more than the bound.
    pub fn scenario(&self, seed: u64) -> Result<Scenario, ModelError> {
        self.check()?;
        let shapes: Vec<Shape> = self.machines.iter().map(MachineModel::shape).collect();
        let mut scenario = Scenario { machines: fleet::machines(&shapes, seed), ..Scenario::default() };
        for (number, class) in self.classes.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number as u64);
            let constraints: Result<Vec<_>, _> =
                class.constraints.iter().map(|text| condition(text)).collect();
            let constraints = constraints.map_err(|e| error(number, "constraints", e))?;
            let mut at_s = class.interarrival_s.draw(&mut rng);
            while at_s < self.span_s {
                if scenario.jobs.len() >= SCENARIO_JOBS_MAX {
                    let problem = format!("more than {SCENARIO_JOBS_MAX} jobs, the bound; make them rarer");
                    return Err(error(number, "interarrival_s", problem));
                }
                let name = format!("{}-{}", class.name, scenario.jobs.len());
                let mut job = Job::new(name, Some(us(at_s)), &class.name, class.priority);
                (job.distinct, job.gang) = (class.distinct, class.gang);
                job.tasks.push(Tasks { constraints: constraints.clone(), ..class.draw(&mut rng) });
                scenario.jobs.push(job);
                at_s += class.interarrival_s.draw(&mut rng);
            }
        }
        scenario.put_in_order();
        Ok(scenario)
    }

    fn check(&self) -> Result<(), ModelError> {
        let error = |field: &str, problem: String| ModelError { field: field.to_owned(), problem };
        if !(self.span_s.is_finite() && self.span_s > 0.0) {
            return Err(error("span_s", format!("{} is not a positive number of seconds", self.span_s)));
        }
        let machines: u64 = self.machines.iter().map(|m| u64::from(m.count)).sum();
        if machines > SCENARIO_MACHINES_MAX as u64 {
            return Err(error("machines", format!("{machines} machines; at most {SCENARIO_MACHINES_MAX}")));
        }
        for (number, machine) in self.machines.iter().enumerate() {
            let amounts =
                [("cpu", machine.cpu), ("memory_gib", machine.memory_gib), ("disk_gib", machine.disk_gib)];
            for (field, amount) in amounts {
                if !(0.0..=1e6).contains(&amount) {
                    let problem = format!("{amount} is not between 0 and a million");
                    return Err(error(&format!("machines[{number}].{field}"), problem));
                }
            }
        }
        if self.classes.len() > MODEL_CLASSES_MAX {
            return Err(error(
                "classes",
                format!("{} classes; at most {MODEL_CLASSES_MAX}", self.classes.len()),
            ));
        }
        self.classes.iter().enumerate().try_for_each(|(number, class)| class.check(number))
    }
}

impl MachineModel {
    fn shape(&self) -> Shape {
        let capacity = Resources::cpu_memory((self.cpu * 1e3) as u64, (self.memory_gib * GIB) as u64)
            .with(Dimension::DISK, (self.disk_gib * GIB) as u64)
            .with(Dimension::GPU, u64::from(self.gpus) * 1_000)
            .with(Dimension::NET, self.net_mbit);
        Shape { count: self.count, capacity }
    }
}

impl ClassModel {
    fn check(&self, number: usize) -> Result<(), ModelError> {
        cell_state::validate::name("name", &self.name).map_err(|e| error(number, "name", e.to_string()))?;
        if self.priority > PRIORITY_MAX {
            let problem = format!("{} is no priority; 0 to {PRIORITY_MAX} are", self.priority);
            return Err(error(number, "priority", problem));
        }
        let optional = |field, distribution: &Option<Distribution>| distribution.clone().map(|d| (field, d));
        let all = [
            Some(("interarrival_s", self.interarrival_s.clone())),
            Some(("tasks", self.tasks.clone())),
            optional("run_for_s", &self.run_for_s),
            Some(("cpu", self.cpu.clone())),
            Some(("memory_gib", self.memory_gib.clone())),
            optional("disk_gib", &self.disk_gib),
            optional("gpus", &self.gpus),
        ];
        for (field, distribution) in all.into_iter().flatten() {
            distribution.check().map_err(|problem| error(number, field, problem))?;
        }
        if self.interarrival_s.is_zero() {
            return Err(error(
                number,
                "interarrival_s",
                "without time between jobs they never end".to_owned(),
            ));
        }
        Ok(())
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Tasks {
        // In a fixed order, and each drawn whether it is given or not: what is added later disturbs nothing.
        let count = (self.tasks.draw(rng).ceil() as u32).clamp(1, GROUP_TASKS_MAX);
        let run_for_us = self.run_for_s.as_ref().map(|d| us(d.draw(rng)));
        let ask =
            Resources::cpu_memory(units(self.cpu.draw(rng), 1e3), units(self.memory_gib.draw(rng), GIB));
        let mut or_none = |d: &Option<Distribution>| d.as_ref().map_or(0.0, |d| d.draw(rng));
        let (disk, gpus) = (or_none(&self.disk_gib), or_none(&self.gpus));
        let gpus = if gpus > 1.0 { gpus.round() } else { gpus };
        let ask = ask.with(Dimension::DISK, units(disk, GIB)).with(Dimension::GPU, units(gpus, 1e3));
        Tasks::new(count, ask, run_for_us)
    }
}

fn us(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

fn units(amount: f64, one: f64) -> u64 {
    ((amount * one).round() as u64).min(AMOUNT_MAX)
}

fn error(class: usize, field: &str, problem: String) -> ModelError {
    ModelError { field: format!("classes[{class}].{field}"), problem }
}

#[cfg(test)]
mod tests;
