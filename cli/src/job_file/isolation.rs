//! The table `[groups.isolation]`: how a task is kept apart from others, and within which bounds.

use std::collections::BTreeMap;

use cell_state::bounds;
use cell_state::job::isolation::{Isolation, LIMITS, Share};
use cell_state::resources::Dimension;
use serde_json::{Value as Json, json};

use super::JobFileError;
use super::convert::{plain, written};
use super::section::{Given, Section};
use super::units;

/// Reads the table.
pub(super) fn isolation(given: Option<Given<'_>>) -> Result<Isolation, JobFileError> {
    let Some(given) = given else { return Ok(Isolation::default()) };
    let section = Section::open(given.path.clone(), given.node, "groups[].isolation")?;
    let levels = [("standard", Isolation::default as fn() -> Isolation), ("none", Isolation::none)];
    let level = section.get("level").map_or(Ok(levels[0].1), |given| given.word(&levels))?();
    let share = |name: &str, own: &str, all: &str, level: Share| match section.get(name) {
        None => Ok(level),
        Some(given) => given.word(&[(own, Share::Private), (all, Share::Host)]),
    };
    let amount = |name: &str, dimension: Dimension| {
        let Some(given) = section.get(name) else { return Ok(None) };
        let amount = units::amount(dimension, written(&given, "an amount")?);
        amount.map(Some).map_err(|problem| given.error(problem))
    };
    let number = |name: &str, most: i64| section.get(name).map(|given| given.whole(1..=most)).transpose();
    let texts = |name: &str| {
        let items = section.list_of(name, "texts")?;
        items.iter().map(plain).collect::<Result<Vec<String>, JobFileError>>()
    };
    Ok(Isolation {
        cpu_limit_milli: amount("cpu_limit", Dimension::CPU)?,
        memory_limit_bytes: amount("memory_limit", Dimension::MEMORY)?,
        pids_max: number("pids", i64::from(bounds::TASK_PIDS_MAX))?.map(|n| n as u32),
        io_weight: number("io_weight", 1_000)?.map(|n| n as u16),
        user: section.get("user").map(|given| plain(&given)).transpose()?,
        filesystem: share("filesystem", "private", "host", level.filesystem)?,
        processes: share("processes", "private", "host", level.processes)?,
        ipc: share("ipc", "private", "host", level.ipc)?,
        hostname: share("hostname", "private", "host", level.hostname)?,
        system_calls: share("system_calls", "filtered", "all", level.system_calls)?,
        capabilities: texts("capabilities")?,
        writable: texts("writable")?,
        limits: limits(section.get("limits"))?,
    })
}

fn limits(given: Option<Given<'_>>) -> Result<BTreeMap<String, u64>, JobFileError> {
    let Some(given) = given else { return Ok(BTreeMap::new()) };
    let section = Section::open(given.path.clone(), given.node, "groups[].isolation.limits")?;
    let mut limits = BTreeMap::new();
    for name in LIMITS {
        let Some(given) = section.get(name) else { continue };
        let limit = match name {
            "open_files" => given.whole(0..=i64::from(i32::MAX))? as u64,
            _ => units::bytes(written(&given, "a size such as \"1 MiB\"")?)
                .map_err(|problem| given.error(problem))?,
        };
        limits.insert(name.to_owned(), limit);
    }
    Ok(limits)
}

/// An isolation in the terms of a job file.
pub(crate) fn shown(isolation: &Isolation) -> Json {
    let share = |share: Share, own: &str, all: &str| match share {
        Share::Open => None,
        Share::Private => Some(own.to_owned()),
        Share::Host => Some(all.to_owned()),
    };
    let view = |it: Share| share(it, "private", "host");
    json!({
        "cpu_limit": isolation.cpu_limit_milli.map(|milli| format!("{milli}m")),
        "memory_limit": isolation.memory_limit_bytes,
        "pids": isolation.pids_max,
        "io_weight": isolation.io_weight,
        "user": isolation.user,
        "filesystem": view(isolation.filesystem),
        "processes": view(isolation.processes),
        "ipc": view(isolation.ipc),
        "hostname": view(isolation.hostname),
        "system_calls": share(isolation.system_calls, "filtered", "all"),
        "capabilities": isolation.capabilities,
        "writable": isolation.writable,
        "limits": isolation.limits,
    })
}
