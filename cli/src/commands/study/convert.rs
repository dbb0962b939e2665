//! `ohm study convert`: a trace, changed as wanted, written as tables.

use bench::fleet::{self, Shape};
use cell_state::Resources;
use cell_state::machine::MachineSpec;
use serde_json::json;
use study::traces::{Format, Given, ReadError, generic};

use super::changes::Changes;
use super::summary;
use crate::failure::{Ended, Failure};
use crate::job_file::{self, Amount};
use crate::show;
use crate::typed::workloads::ConvertArgs;

/// Converts a trace.
///
/// # Errors
/// What was typed makes no sense, the trace can't be read, or the tables can't be written.
pub(super) fn run(args: &ConvertArgs) -> Result<Ended, Failure> {
    let changes = Changes::check(args)?;
    let format = Format::ALL.iter().find(|(word, _)| *word == args.format).map(|(_, format)| *format);
    let format = format.ok_or_else(|| Failure::Input(format!("{:?} is no format", args.format)))?;
    let given = Given { machines: machines(args)?, seed: args.seed };
    let mut traced = format.read(&args.inputs, &given)?;
    traced.notes.extend(changes.make(&mut traced.scenario)?);
    generic::write(&traced.scenario, &args.out).map_err(|error| Failure::File {
        act: "can't write",
        path: error.path,
        source: error.source,
    })?;
    for note in &traced.notes {
        show::say(note);
    }
    let found = traced.scenario.summary();
    let out = args.out.display().to_string();
    let json = json!({"out": out, "notes": traced.notes, "summary": summary::as_json(&found)});
    show::one(args.output.output, &out, &json, |_| summary::as_text(&found))?;
    Ok(Ended::Well)
}

/// The machines that were typed or named, if any were.
fn machines(args: &ConvertArgs) -> Result<Vec<MachineSpec>, Failure> {
    if let Some(path) = &args.machines {
        let checked = generic::machines(path);
        let count = checked.problems.count;
        return match checked.problems.told.into_iter().next() {
            Some(first) => Err(ReadError::Tables { first: Box::new(first), count }.into()),
            None if checked.scenario.machines.is_empty() => {
                Err(Failure::Input(format!("--machines: {} has no machines", path.display())))
            }
            None => Ok(checked.scenario.machines),
        };
    }
    let shapes: Result<Vec<Shape>, Failure> = args.machine.iter().map(|text| shape(text)).collect();
    Ok(fleet::machines(&shapes?, args.seed))
}

fn shape(text: &str) -> Result<Shape, Failure> {
    let wrong = |problem: String| {
        Failure::Input(format!("--machine: {text:?}: {problem}; write COUNT:CPU:MEMORY, like 100:16:64GiB"))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let [count, cpu, memory] = parts[..] else {
        return Err(wrong(format!("{} parts, not three", parts.len())));
    };
    let max = bench::bounds::SCENARIO_MACHINES_MAX as u32;
    let count = count.parse::<u32>().ok().filter(|count| (1..=max).contains(count));
    let count = count.ok_or_else(|| wrong(format!("the count is not between 1 and {max}")))?;
    let cpu = job_file::amount(cell_state::Dimension::CPU, Amount::Text(cpu)).map_err(&wrong)?;
    let memory = job_file::bytes(Amount::Text(memory)).map_err(&wrong)?;
    Ok(Shape { count, capacity: Resources::cpu_memory(cpu, memory) })
}
