//! `ohm study check`: whether tables are sound, and what is in them.

use serde_json::json;
use study::traces::{Problem, generic};

use super::summary;
use crate::failure::{Ended, Failure};
use crate::show;
use crate::typed::workloads::CheckArgs;

/// Checks the tables in a directory.
///
/// # Errors
/// The result can't be written; tables that are wrong are a result.
pub(super) fn run(args: &CheckArgs) -> Result<Ended, Failure> {
    let checked = generic::check(&args.dir);
    let problems = &checked.problems;
    let name = args.dir.display().to_string();
    if problems.count > 0 {
        let json = json!({"sound": false, "problems": problems.told, "problem_count": problems.count});
        show::one(args.output.output, &name, &json, |_| told(&problems.told, problems.count))?;
        return Ok(Ended::Unsound);
    }
    let found = checked.scenario.summary();
    let json =
        json!({"sound": true, "problems": [], "problem_count": 0, "summary": summary::as_json(&found)});
    show::one(args.output.output, &name, &json, |_| summary::as_text(&found))?;
    Ok(Ended::Well)
}

fn told(told: &[Problem], count: u64) -> String {
    let mut lines: Vec<String> = told.iter().map(ToString::to_string).collect();
    let untold = count - told.len() as u64;
    if untold > 0 {
        lines.push(format!("and {untold} more"));
    }
    lines.join("\n")
}
