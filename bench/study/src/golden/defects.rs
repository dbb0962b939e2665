//! What each defect of the original does to its results: golden runs again, with one defect less each time.

use bench::omega2013::{self, Defects, Figures, Settings, Value};

use super::Golden;

/// What a run has without a defect, and with it.
#[derive(Clone, PartialEq, Debug)]
pub struct Effect {
    /// The defect, or `all` of them.
    pub defect: &'static str,
    /// Records whose figures differ without it.
    pub changed: usize,
    /// The figures that change the most, relative to what they were, each of another name.
    pub largest: Vec<Change>,
}

/// A figure with a defect and without it.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The record's number in the file, from 1.
    pub record: usize,
    /// The figure, by its path.
    pub field: String,
    /// As in the original.
    pub with: f64,
    /// Without the defect.
    pub without: f64,
}

/// What is compared: results, not counters of the simulator's own work.
const FIGURES: [&str; 9] = [
    "useful",
    "wasted",
    "confl_per_success",
    "noRes",
    "taskFail",
    "waitFirst_avg",
    "waitFull_avg",
    "unschedTasks",
    "avgCpuUtil",
];

/// Changes shown of one defect.
const SHOWN: usize = 3;

/// Differences from values this small are too small to be told in percent.
const SMALL: f64 = 1e-3;

impl Golden {
    /// The effect of each defect, then of all of them; tells how many runs are done of how many.
    pub fn effects(&self, done: &dyn Fn(usize, usize)) -> Vec<Effect> {
        let variants: Vec<(&'static str, Defects)> = Defects::NAMES
            .into_iter()
            .filter_map(|name| Some((name, Defects::ALL.without(name)?)))
            .chain([("all", Defects::NONE)])
            .collect();
        let total = self.records.len() * (variants.len() + 1);
        let mut finished = 0;
        let mut run = |defects: Defects| -> Vec<Figures> {
            let one = |record: &super::Record| {
                let settings = Settings { defects, ..record.settings() };
                let figures = omega2013::run(&settings, &self.workloads[&record.workload]);
                finished += 1;
                done(finished, total);
                figures
            };
            self.records.iter().map(one).collect()
        };
        let original = run(Defects::ALL);
        variants.into_iter().map(|(name, defects)| effect(name, &original, &run(defects))).collect()
    }
}

fn effect(defect: &'static str, original: &[Figures], without: &[Figures]) -> Effect {
    let mut changes = Vec::new();
    let mut changed = 0;
    for (number, (with, without)) in (1..).zip(original.iter().zip(without)) {
        let before = changes.len();
        for ((field, name, with), (_, _, without)) in listed(with).into_iter().zip(listed(without)) {
            if with != without {
                let relative = (with - without).abs() / with.abs().max(without.abs()).max(SMALL);
                changes.push((relative, name, Change { record: number, field, with, without }));
            }
        }
        changed += usize::from(changes.len() > before);
    }
    changes.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.record.cmp(&b.2.record)));
    let mut names = Vec::new();
    let mut largest = Vec::new();
    for (_, name, change) in changes {
        if largest.len() < SHOWN && !names.contains(&name) {
            names.push(name);
            largest.push(change);
        }
    }
    Effect { defect, changed, largest }
}

/// The figures compared, each with its path and its name.
fn listed(figures: &Figures) -> Vec<(String, &'static str, f64)> {
    let workloads = figures.workloads.iter().map(|(class, f)| (class.word(), f.fields()));
    let schedulers = figures.schedulers.iter().map(|(kind, f)| (*kind, f.fields()));
    let all = workloads.chain(schedulers).chain([("cell", figures.cell.fields())]);
    let mut list = Vec::new();
    for (group, fields) in all {
        for (name, value) in fields.into_iter().filter(|(name, _)| FIGURES.contains(name)) {
            let number = match value {
                Value::Count(count) => count as f64,
                Value::Real(real) => real,
            };
            list.push((format!("{group}.{name}"), name, number));
        }
    }
    list
}
