//! The figures of a scenario, for people and for programs.

use bench::scenario::{ClassSummary, Summary};
use cell_state::Dimension;
use cell_state::resources::{FIXED_NAMES, Schema};
use serde_json::{Map, Value, json};

use crate::show::json as shown;
use crate::show::table::facts;
use crate::show::text;

/// The figures as JSON; shares are fractions of one.
pub(super) fn as_json(summary: &Summary) -> Value {
    let classes: Vec<Value> = summary.classes.iter().map(class).collect();
    let packing = summary.packing.as_ref().map(|packing| {
        json!({
            "tasks": packing.tasks,
            "tasks_on_absent_machines": packing.tasks_on_absent,
            "tasks_over": packing.tasks_over,
            "tasks_over_share": packing.over_share(),
            "machines_used": packing.machines_used,
            "machines_over": packing.machines_over,
            "fullest": shares(&packing.fullest),
        })
    });
    json!({
        "machines": summary.machines,
        "machines_at_start": summary.machines_at_start,
        "machine_downs": summary.downs,
        "capacity": shown::resources(&summary.capacity, &Schema::default()),
        "span_s": summary.span_us as f64 / 1e6,
        "jobs": summary.jobs,
        "initial_jobs": summary.initial_jobs,
        "tasks": summary.tasks,
        "initial_tasks": summary.initial_tasks,
        "asked_at_start": shares(&summary.asked_at_start),
        "offered_load": shares(&summary.offered),
        "classes": classes,
        "recorded_placement": packing,
    })
}

fn class(class: &ClassSummary) -> Value {
    json!({
        "class": class.class,
        "jobs": class.jobs,
        "arriving_jobs": class.arriving_jobs,
        "tasks": class.tasks,
    })
}

fn shares(shares: &[f64]) -> Value {
    let named = FIXED_NAMES.iter().zip(shares).map(|(name, share)| ((*name).to_owned(), json!(share)));
    named.collect::<Map<_, _>>().into()
}

/// The figures as lines.
pub(super) fn as_text(summary: &Summary) -> String {
    let mut lines = vec![
        ("machines", machines(summary)),
        ("capacity", capacity(summary)),
        ("span", text::span(summary.span_us)),
        ("jobs", format!("{}, of which {} at the start", summary.jobs, summary.initial_jobs)),
        ("tasks", format!("{}, of which {} at the start", summary.tasks, summary.initial_tasks)),
    ];
    for class in &summary.classes {
        let ClassSummary { class, jobs, arriving_jobs, tasks } = class;
        lines.push(("class", format!("{class}: {jobs} jobs ({arriving_jobs} arriving), {tasks} tasks")));
    }
    if summary.initial_tasks > 0 {
        lines.push(("asked at the start", percents(&summary.asked_at_start)));
    }
    lines.push(("offered load", percents(&summary.offered)));
    lines.push((
        "placement",
        summary.packing.as_ref().map_or_else(
            || "none recorded".to_owned(),
            |p| {
                let over = format!("{} ({:.1} %) beyond capacity", p.tasks_over, p.over_share() * 100.0);
                let machines =
                    format!("{} of {} machines over at some time", p.machines_over, p.machines_used);
                format!("{} tasks recorded, {over}, {machines}", p.tasks)
            },
        ),
    ));
    if let Some(packing) = &summary.packing {
        lines.push(("fullest machine", percents(&packing.fullest)));
        if packing.tasks_on_absent > 0 {
            lines.push(("", format!("{} tasks on machines that were not there", packing.tasks_on_absent)));
        }
    }
    facts(&lines)
}

fn machines(summary: &Summary) -> String {
    let mut text = summary.machines.to_string();
    if summary.machines_at_start < summary.machines {
        text = format!("{text}, of which {} at the start", summary.machines_at_start);
    }
    if summary.downs > 0 {
        text = format!("{text}; {} times one goes down", summary.downs);
    }
    text
}

fn capacity(summary: &Summary) -> String {
    let some = Dimension::all().filter(|d| summary.capacity.get(*d) > 0);
    let named =
        some.map(|d| format!("{} {}", Schema::default().name(d), text::amount(d, summary.capacity.get(d))));
    let all: Vec<String> = named.collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Shares that aren't zero, in percent.
fn percents(shares: &[f64]) -> String {
    let named = FIXED_NAMES.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    let all: Vec<String> = named.map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
