//! The four tables: which columns they have, what is in them, and what a row is.

use std::collections::BTreeMap;

use bench::scenario::condition;
use bench::scenario::{self, Change, DEFAULT_TEAM, Job, Placed, Tasks};
use cell_state::bounds::{
    AMOUNT_MAX, ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, CONSTRAINTS_MAX, GROUP_TASKS_MAX, PRIORITY_MAX,
};
use cell_state::constraint::Constraint;
use cell_state::machine::MachineSpec;
use cell_state::resources::Schema;
use cell_state::{Dimension, Resources, validate};

use super::super::table::{Field, Table, field};
use super::lists;

const NAME: &str = "write 1 to 128 letters, digits, '-', '_' or '.', beginning with a letter or digit";
const MACHINE_NAME: &str = "write the name of a machine of machines.csv";
const CPU: &str = "write whole thousandths of a core";
const MEMORY: &str = "write whole bytes";
const NET: &str = "write whole Mbit/s, or nothing";

pub(super) const MACHINE: [Field; 7] = [
    field("machine", true, NAME),
    field("cpu_milli", true, CPU),
    field("memory_bytes", true, MEMORY),
    field("disk_bytes", false, "write whole bytes, or nothing"),
    field("gpus", false, "write a whole number of devices, at most 64, or nothing"),
    field("net_mbit", false, NET),
    field("attributes", false, "write KEY=VALUE, several with ';' between them, or nothing"),
];

pub(super) const EVENT: [Field; 3] = [
    field("time_us", true, "write whole microseconds from the start"),
    field("machine", true, MACHINE_NAME),
    field("event", true, "write down or up"),
];

pub(super) const JOB: [Field; 7] = [
    field("job", true, NAME),
    field(
        "submit_us",
        true,
        "write whole microseconds from the start, or nothing for a job that was there before",
    ),
    field("class", false, "write a name like batch or service, or nothing for batch"),
    field("priority", false, "write 0 to 399, or nothing for 150"),
    field("team", false, NAME),
    field("distinct", false, "write 1 if no two tasks may share a machine, else 0 or nothing"),
    field("gang", false, "write 1 if all tasks must be placed at once, else 0 or nothing"),
];

pub(super) const TASK: [Field; 12] = [
    field("job", true, "write the name of a job of jobs.csv"),
    field("count", true, "write how many equal tasks: 1 to 1000000"),
    field("cpu_milli", true, CPU),
    field("memory_bytes", true, MEMORY),
    field("disk_bytes", false, "write whole bytes, or nothing"),
    field("gpus", false, "write a share of one device like 0.25, a whole number of devices, or nothing"),
    field("net_mbit", false, NET),
    field("run_for_us", false, "write whole microseconds from start to end, or nothing if it runs on"),
    field("exit_code", false, "write a whole number, or nothing for 0"),
    field("constraints", false, "write conditions like zone=eu, several with ';' between them, or nothing"),
    field("machine", false, MACHINE_NAME),
    field(
        "placed_us",
        false,
        "write when it was placed, in microseconds from the start and not before its submission; nothing without a machine",
    ),
];

/// Where [`TASK`] has the machine, and the time of placement.
pub(super) const TASK_MACHINE: usize = 10;
const TASK_PLACED: usize = 11;

/// The machine of a row.
pub(super) fn machine(table: &mut Table<'_>) -> Option<MachineSpec> {
    let name = name(table, 0);
    let gpus = table.number_or::<u64>(4, 0);
    let sums = amounts(table, [1, 2, 3, 5]);
    let attributes = attributes(table, 6);
    let capacity = sums?.with(Dimension::GPU, gpus?.saturating_mul(1_000));
    let (name, attributes) = (name?, attributes?);
    // Before names are given to devices there must not be a million of them.
    if capacity.get(Dimension::GPU) > cell_state::bounds::DEVICES_MAX as u64 * 1_000 {
        table.wrong(4, "is too many");
        return None;
    }
    let spec = scenario::machine(name, capacity, attributes);
    match validate::machine(&spec, &Schema::default()) {
        Ok(()) => Some(spec),
        Err(rejection) => {
            table.wrong_because(0, "is no machine a cell accepts", &rejection.to_string());
            None
        }
    }
}

/// The event of a row.
pub(super) fn change(table: &mut Table<'_>) -> Option<Change> {
    match table.text(2) {
        "down" => Some(Change::Down),
        "up" => Some(Change::Up),
        _ => {
            table.wrong(2, "is no event");
            None
        }
    }
}

/// The job of a row, without tasks.
pub(super) fn job(table: &mut Table<'_>) -> Option<Job> {
    let name = name(table, 0);
    let submit_us = table.optional(1);
    let class = if table.text(2).is_empty() { Some("batch".to_owned()) } else { self::name(table, 2) };
    let priority = table.number_or::<u16>(3, 150);
    if priority.is_some_and(|p| p > PRIORITY_MAX) {
        table.wrong(3, "is too high");
        return None;
    }
    let team = if table.text(4).is_empty() { Some(DEFAULT_TEAM.to_owned()) } else { self::name(table, 4) };
    let (distinct, gang) = (table.flag(5), table.flag(6));
    Some(Job {
        name: name?,
        submit_us: submit_us?,
        class: class?,
        priority: priority?,
        team: team?,
        distinct: distinct?,
        gang: gang?,
        tasks: Vec::new(),
    })
}

/// The tasks of a row, of a job submitted at this time.
pub(super) fn tasks(table: &mut Table<'_>, submit_us: Option<u64>, machine: Option<u32>) -> Option<Tasks> {
    let count = table.number::<u32>(1);
    if count.is_some_and(|count| count == 0 || count > GROUP_TASKS_MAX) {
        table.wrong(1, "is out of range");
        return None;
    }
    let ask = amounts(table, [2, 3, 4, 6]);
    let gpu = gpu_share(table, 5);
    let run_for_us = table.optional(7);
    let exit_code = table.number_or::<i32>(8, 0);
    let constraints = constraints(table, 9);
    let placed = placed(table, submit_us, machine);
    Some(Tasks {
        count: count?,
        ask: ask?.with(Dimension::GPU, gpu?),
        run_for_us: run_for_us?,
        exit_code: exit_code?,
        constraints: constraints?,
        placed: placed?,
    })
}

fn placed(table: &mut Table<'_>, submit_us: Option<u64>, machine: Option<u32>) -> Option<Option<Placed>> {
    let at_us = table.optional(TASK_PLACED)?;
    if at_us.is_some() && table.text(TASK_MACHINE).is_empty() {
        table.wrong_because(
            TASK_PLACED,
            "is a time without a machine",
            "name the machine, or leave the time out",
        );
        return None;
    }
    // What was there before was placed at the start, if nothing else is said; so was what waited not at all.
    let at_us = at_us.or(submit_us).unwrap_or(0);
    if at_us < submit_us.unwrap_or(0) {
        table.wrong(TASK_PLACED, "is before the job's submission");
        return None;
    }
    Some(machine.map(|machine| Placed { machine, at_us }))
}

fn name(table: &mut Table<'_>, field: usize) -> Option<String> {
    let text = table.text(field).to_owned();
    if validate::name("name", &text).is_ok() {
        return Some(text);
    }
    table.wrong_because(field, "is no name", NAME);
    None
}

/// Cpu, memory, disk and net.
fn amounts(table: &mut Table<'_>, fields: [usize; 4]) -> Option<Resources> {
    let mut read = |i: usize| {
        let amount = if i < 2 { table.number::<u64>(fields[i]) } else { table.number_or(fields[i], 0) };
        let sound = amount.filter(|amount| *amount <= AMOUNT_MAX);
        if amount.is_some() && sound.is_none() {
            table.wrong_because(fields[i], "is too much", "write at most 9007199254740992 (2^53)");
        }
        sound
    };
    let [cpu, memory, disk, net] = [0, 1, 2, 3].map(&mut read);
    Some(Resources::cpu_memory(cpu?, memory?).with(Dimension::DISK, disk?).with(Dimension::NET, net?))
}

/// Thousandths of a device: a share below one, or whole devices.
fn gpu_share(table: &mut Table<'_>, field: usize) -> Option<u64> {
    if table.text(field).is_empty() {
        return Some(0);
    }
    let milli = bench::units::amount(table.text(field), 1_000).ok();
    let sound = milli.filter(|milli| *milli <= 1_000 || (milli % 1_000 == 0 && *milli <= AMOUNT_MAX));
    if sound.is_none() {
        table.wrong(field, "is neither a share of one GPU nor a whole number of GPUs");
    }
    sound
}

fn attributes(table: &mut Table<'_>, field: usize) -> Option<BTreeMap<String, String>> {
    let parts = lists::parts(table.text(field));
    let mut attributes = BTreeMap::new();
    for part in &parts {
        let pair = part.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let sound = |text: &str| text.len() <= ATTRIBUTE_BYTES_MAX;
        match pair.filter(|(key, value)| !key.is_empty() && sound(key) && sound(value)) {
            Some((key, value)) => attributes.insert(key.to_owned(), value.to_owned()),
            None => {
                table.wrong(field, "has a part that is no attribute");
                return None;
            }
        };
    }
    if attributes.len() > ATTRIBUTES_MAX {
        table.wrong_because(field, "has too many attributes", "a machine has at most 64");
        return None;
    }
    Some(attributes)
}

fn constraints(table: &mut Table<'_>, field: usize) -> Option<Vec<Constraint>> {
    let parts = lists::parts(table.text(field));
    if parts.len() > CONSTRAINTS_MAX {
        table.wrong_because(field, "has too many constraints", "a task has at most 64");
        return None;
    }
    let read: Result<Vec<Constraint>, String> = parts.iter().map(|part| condition(part)).collect();
    match read {
        Ok(constraints) => Some(constraints),
        Err(problem) => {
            table.wrong_because(field, "is no list of constraints", &problem);
            None
        }
    }
}
