//! What machines and tasks use: as tables, and as JSON.

use cell_state::Dimension;
use serde_json::{Value, json};
use transport::usage::{MachineUsageRow, TaskUsageRow, Usage, UsageView};

use super::table::{Cell, Column, Listing, Tone};
use super::{colours, text};

pub(crate) const MACHINES: [Column; 8] = [
    Column::text("MACHINE"),
    Column::text("STATUS"),
    Column::number("TASKS"),
    Column::text("CPU USED/PROMISED/LIMIT"),
    Column::text("MEMORY USED/PROMISED/LIMIT"),
    Column::text("READ").wide(),
    Column::text("WRITTEN").wide(),
    Column::text("SAMPLED"),
];

pub(crate) const TASKS: [Column; 10] = [
    Column::text("TASK"),
    Column::text("MACHINE"),
    Column::number("PRIORITY"),
    Column::text("CPU USED/PROMISED"),
    Column::text("MEMORY USED/PROMISED"),
    Column::text("PEAK"),
    Column::text("READ"),
    Column::text("WRITTEN"),
    Column::number("PROCESSES").wide(),
    Column::text("CPU TIME").wide(),
];

/// The cells of a machine's row.
pub(crate) fn machine_cells(row: &MachineUsageRow) -> Vec<String> {
    let cpu = |amount| text::amount(Dimension::CPU, amount);
    let memory = text::bytes;
    let sampled = row.age_us.map_or_else(|| "never".to_owned(), |age| format!("{} ago", text::span(age)));
    vec![
        row.name.clone(),
        row.state.to_string(),
        row.tasks.to_string(),
        format!(
            "{} / {} / {}",
            cpu(row.usage.cpu_milli),
            cpu(row.promised.get(Dimension::CPU)),
            cpu(row.limit.get(Dimension::CPU))
        ),
        format!(
            "{} / {} / {}",
            memory(row.usage.memory_bytes),
            memory(row.promised.get(Dimension::MEMORY)),
            memory(row.limit.get(Dimension::MEMORY))
        ),
        memory(row.usage.read_bytes),
        memory(row.usage.written_bytes),
        sampled,
    ]
}

/// The cells of a task's row.
pub(crate) fn task_cells(row: &TaskUsageRow) -> Vec<String> {
    let usage = &row.usage;
    vec![
        name(row),
        row.machine.clone(),
        row.priority.to_string(),
        format!(
            "{} / {}",
            text::amount(Dimension::CPU, usage.cpu_milli),
            text::amount(Dimension::CPU, row.promised.get(Dimension::CPU))
        ),
        format!("{} / {}", text::bytes(usage.memory_bytes), text::bytes(row.promised.get(Dimension::MEMORY))),
        text::bytes(usage.memory_peak_bytes),
        text::bytes(usage.read_bytes),
        text::bytes(usage.written_bytes),
        usage.processes.to_string(),
        text::span(usage.cpu_us),
    ]
}

/// More than is promised is worth a look.
fn tone(used: u64, promised: u64) -> Tone {
    if used > promised { Tone::Notable } else { Tone::Plain }
}

/// A task as commands take it.
pub(crate) fn name(row: &TaskUsageRow) -> String {
    format!("{}/{}/{}", row.job, row.group, row.task.index)
}

/// The tasks as a listing.
pub(crate) fn tasks(rows: &[TaskUsageRow]) -> Listing {
    let mut listing = Listing::new(&TASKS);
    for row in rows {
        let mut cells: Vec<Cell> = task_cells(row).into_iter().map(Cell::from).collect();
        let (cpu, memory) = (row.promised.get(Dimension::CPU), row.promised.get(Dimension::MEMORY));
        cells[3] = Cell::toned(task_cells(row)[3].clone(), tone(row.usage.cpu_milli, cpu));
        cells[4] = Cell::toned(task_cells(row)[4].clone(), tone(row.usage.memory_bytes, memory));
        listing.push(name(row), cells, task_json(row));
    }
    listing
}

fn machines(rows: &[MachineUsageRow]) -> Listing {
    let mut listing = Listing::new(&MACHINES);
    for row in rows {
        listing.push(
            row.name.clone(),
            machine_cells(row).into_iter().map(Cell::from).collect(),
            machine_json(row),
        );
    }
    listing
}

/// Both tables, one after the other.
pub(crate) fn tables(view: &UsageView, wide: bool) -> String {
    let mut out = machines(&view.machines).table(wide, colours());
    let shown = tasks(&view.tasks);
    if !shown.is_empty() {
        out.push_str("\n\n");
        out.push_str(&shown.table(wide, colours()));
    }
    if (view.tasks.len() as u32) < view.tasks_total {
        out.push_str(&format!("\n{} of {} tasks", view.tasks.len(), view.tasks_total));
    }
    out
}

/// The tasks, one name per line.
pub(crate) fn names(view: &UsageView) -> String {
    tasks(&view.tasks).names()
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "cpu": usage.cpu_milli,
        "cpu_us": usage.cpu_us,
        "memory": usage.memory_bytes,
        "memory_peak": usage.memory_peak_bytes,
        "read_bytes": usage.read_bytes,
        "written_bytes": usage.written_bytes,
        "processes": usage.processes,
    })
}

/// A machine's row.
pub(crate) fn machine_json(row: &MachineUsageRow) -> Value {
    json!({
        "machine": row.name,
        "state": row.state.to_string(),
        "tasks": row.tasks,
        "sampled": row.sampled,
        "limit": {"cpu": row.limit.get(Dimension::CPU), "memory": row.limit.get(Dimension::MEMORY)},
        "promised": {"cpu": row.promised.get(Dimension::CPU), "memory": row.promised.get(Dimension::MEMORY)},
        "usage": usage_json(&row.usage),
        "age_us": row.age_us,
    })
}

fn task_json(row: &TaskUsageRow) -> Value {
    json!({
        "task": name(row),
        "id": row.task.to_string(),
        "epoch": row.epoch,
        "job": row.job,
        "machine": row.machine,
        "priority": row.priority,
        "promised": {"cpu": row.promised.get(Dimension::CPU), "memory": row.promised.get(Dimension::MEMORY)},
        "usage": usage_json(&row.usage),
        "age_us": row.age_us,
    })
}

/// All of it.
pub(crate) fn json(view: &UsageView) -> Value {
    json!({
        "at": view.at.0,
        "time": text::instant(view.time),
        "machines": view.machines.iter().map(machine_json).collect::<Value>(),
        "tasks": view.tasks.iter().map(task_json).collect::<Value>(),
        "tasks_total": view.tasks_total,
    })
}
