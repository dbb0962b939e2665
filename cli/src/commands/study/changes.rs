//! What `ohm study convert` is asked to change: read from the flags first, made when the trace is there.

use bench::Scenario;
use bench::scenario::condition;
use bench::transform::{self, Failures, Prefill, TransformError};
use cell_state::constraint::Constraint;

use crate::failure::Failure;
use crate::job_file::{self, Amount};
use crate::typed::workloads::ConvertArgs;

/// The priority of the jobs a cell is filled with: batch work.
const PREFILL_PRIORITY: u16 = 150;

/// All changes, in the order they are made.
pub(super) struct Changes {
    seed: u64,
    first_us: Option<u64>,
    priorities: Vec<(String, u16)>,
    rates: Vec<(String, f64)>,
    labels: Vec<(String, Vec<(String, f64)>)>,
    bonds: Vec<(String, f64, Constraint)>,
    prefill: Option<f64>,
    failures: Option<(f64, f64)>,
}

impl Changes {
    /// Reads the flags.
    ///
    /// # Errors
    /// A flag makes no sense.
    pub(super) fn check(args: &ConvertArgs) -> Result<Changes, Failure> {
        let all = |flag: &'static str,
                   typed: &[String],
                   form: &'static str|
         -> Result<Vec<(String, String)>, Failure> {
            typed.iter().map(|text| pair(flag, text, form)).collect()
        };
        let priorities =
            all("--priority", &args.priority, "CLASS=PRIORITY")?.into_iter().map(|(class, text)| {
                number("--priority", &text, "a whole number").map(|priority| (class, priority))
            });
        let rates = all("--rate", &args.rate, "CLASS=FACTOR")?
            .into_iter()
            .map(|(class, text)| number("--rate", &text, "a number").map(|factor| (class, factor)));
        let labels = all("--label", &args.label, "KEY=VALUE:WEIGHT,…")?
            .into_iter()
            .map(|(key, values)| weights(&values).map(|values| (key, values)));
        let failures = match (&args.mtbf, &args.mttr) {
            (Some(mtbf), Some(mttr)) => {
                Some((duration_us("--mtbf", mtbf)? as f64 / 1e6, duration_us("--mttr", mttr)? as f64 / 1e6))
            }
            (_, _) => None,
        };
        Ok(Changes {
            seed: args.seed,
            first_us: args.first.as_ref().map(|text| duration_us("--first", text)).transpose()?,
            priorities: priorities.collect::<Result<_, _>>()?,
            rates: rates.collect::<Result<_, _>>()?,
            labels: labels.collect::<Result<_, _>>()?,
            bonds: args.bind.iter().map(|text| bond(text)).collect::<Result<_, _>>()?,
            prefill: args.prefill.map(|percent| percent / 100.0),
            failures,
        })
    }

    /// Makes the changes, and says what they came to.
    ///
    /// # Errors
    /// One can't be made.
    pub(super) fn make(&self, scenario: &mut Scenario) -> Result<Vec<String>, Failure> {
        let told = |flag: &str| {
            let flag = flag.to_owned();
            move |error: TransformError| Failure::Input(format!("{flag}: {error}"))
        };
        let mut notes = Vec::new();
        if let Some(first_us) = self.first_us {
            scenario.cut(first_us);
        }
        for (class, priority) in &self.priorities {
            transform::set_priority(scenario, class, *priority).map_err(told("--priority"))?;
        }
        for (class, factor) in &self.rates {
            transform::scale_rate(scenario, class, *factor, self.seed).map_err(told("--rate"))?;
        }
        for (key, values) in &self.labels {
            transform::label(scenario, key, values, self.seed).map_err(told("--label"))?;
        }
        for (class, share, constraint) in &self.bonds {
            transform::bind(scenario, class, *share, constraint, self.seed).map_err(told("--bind"))?;
        }
        if let Some(target) = self.prefill {
            let how =
                Prefill { target, size: None, priority: PREFILL_PRIORITY, run_for_us: None, seed: self.seed };
            let filled = transform::prefill(scenario, &how).map_err(told("--prefill"))?;
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            let (before, after) = (percent(filled.before), percent(filled.after));
            notes.push(format!("filled from {before} to {after} with {} tasks", filled.tasks));
        }
        if let Some((mtbf_s, mttr_s)) = self.failures {
            let how = Failures { mtbf_s, mttr_s, seed: self.seed };
            let failures = transform::fail(scenario, &how).map_err(told("--mtbf"))?;
            notes.push(format!("{failures} failures of machines added"));
        }
        Ok(notes)
    }
}

fn pair(flag: &str, text: &str, form: &str) -> Result<(String, String), Failure> {
    match text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty()) {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Failure::Input(format!("{flag}: {text:?} has another form; write {form}"))),
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str, what: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::Input(format!("{flag}: {text:?} is not {what} in range")))
}

fn weights(text: &str) -> Result<Vec<(String, f64)>, Failure> {
    let value = |part: &str| match part.rsplit_once(':') {
        None => Ok((part.to_owned(), 1.0)),
        Some((value, weight)) => Ok((value.to_owned(), number("--label", weight, "a weight")?)),
    };
    text.split(',').map(value).collect()
}

fn bond(text: &str) -> Result<(String, f64, Constraint), Failure> {
    let wrong = |problem: String| {
        Failure::Input(format!(
            "--bind: {text:?}: {problem}; write CLASS:SHARE:CONDITION, like batch:0.5:zone=z1"
        ))
    };
    let mut parts = text.splitn(3, ':');
    let (Some(class), Some(share), Some(test)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("too few parts".to_owned()));
    };
    let share = share.parse().map_err(|_| wrong(format!("{share:?} is not a number")))?;
    Ok((class.to_owned(), share, condition(test).map_err(wrong)?))
}

fn duration_us(flag: &str, text: &str) -> Result<u64, Failure> {
    job_file::duration_us(Amount::Text(text)).map_err(|problem| Failure::Input(format!("{flag}: {problem}")))
}
