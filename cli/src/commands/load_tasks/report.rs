//! How the result of `ohm load tasks` is shown.

use serde_json::{Value, json};

use super::{LoadTasks, Measured};
use crate::failure::Failure;
use crate::show;
use crate::show::table::facts;
use crate::typed::load::LoadDriver;

/// Shows it.
///
/// # Errors
/// It can't be written.
pub(super) fn show(load: &LoadTasks, measured: &Measured) -> Result<(), Failure> {
    show::one(load.format, "load-tasks", &as_json(load, measured), |_| as_text(load, measured))
}

impl Measured {
    fn finished(&self) -> u32 {
        self.counts.completed + self.counts.failed + self.counts.stopped
    }

    fn tasks_per_s(&self) -> f64 {
        f64::from(self.finished()) / self.seconds.max(1e-9)
    }

    fn per_task(&self, part: &str) -> Option<f64> {
        let us = *self.cpu_us.get(part)?;
        Some(us as f64 / f64::from(self.finished().max(1)))
    }

    /// The part of the rate at which as many threads as cores spawn the command.
    fn of_raw(&self) -> Option<f64> {
        self.raw.map(|[_, all]| self.tasks_per_s() / all.per_s())
    }
}

fn as_json(load: &LoadTasks, measured: &Measured) -> Value {
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let cpu = |part| measured.per_task(part).map(round);
    json!({
        "driver": driver(load),
        "command": load.command,
        "isolation": load.isolation.word(),
        "tasks": load.tasks,
        "completed": measured.counts.completed,
        "failed": measured.counts.failed,
        "seconds": round(measured.seconds),
        "tasks_per_s": round(measured.tasks_per_s()),
        "raw_spawn_per_s": measured.raw.map(|[_, all]| round(all.per_s())),
        "raw_spawn_threads": measured.raw.map(|[_, all]| all.threads),
        "raw_spawn_per_s_one_thread": measured.raw.map(|[one, _]| round(one.per_s())),
        "share_of_raw_spawn": measured.of_raw().map(round),
        "raw_spawn_cpu_us": measured.raw_cpu_us.map(round),
        "agent_cpu_us_per_task": cpu("agent"),
        "server_cpu_us_per_task": cpu("server"),
        "scheduler_cpu_us_per_task": cpu("scheduler"),
        "shim_and_task_cpu_us_per_task": cpu("shims_and_tasks"),
    })
}

fn as_text(load: &LoadTasks, measured: &Measured) -> String {
    let cpu = |part| measured.per_task(part).map_or_else(|| "-".to_owned(), |us| format!("{us:.1} µs"));
    let mut rows = vec![
        ("tasks", format!("{} in {:.2} s: {}", load.tasks, measured.seconds, measured.counts)),
        ("tasks/s", format!("{:.0}", measured.tasks_per_s())),
    ];
    if let Some([one, all]) = measured.raw {
        let share = measured.of_raw().unwrap_or_default() * 100.0;
        rows.push((
            "raw spawn/s",
            format!("{:.0} by {} threads, {:.0} by one", all.per_s(), all.threads, one.per_s()),
        ));
        rows.push(("share of raw", format!("{share:.0} %")));
        rows.push((
            "raw cpu/spawn",
            measured.raw_cpu_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.1} µs")),
        ));
    }
    rows.push(("agent cpu/task", cpu("agent")));
    rows.push(("server cpu/task", cpu("server")));
    rows.push(("scheduler cpu/task", cpu("scheduler")));
    if load.driver == LoadDriver::Exec {
        rows.push(("shim and task cpu/task", cpu("shims_and_tasks")));
    }
    facts(&rows)
}

fn driver(load: &LoadTasks) -> &'static str {
    match load.driver {
        LoadDriver::Exec => "exec",
        LoadDriver::Simulated => "simulated",
    }
}
