//! Running all points of a study: in parallel, each once, results in the order of the file whatever the threads.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::file::{Case, Study, StudyError};
use super::results::{Results, Run, config};
use super::runs::{Ran, Runs};
use super::settings::Own;

/// How to run a study.
pub struct Doing<'a> {
    /// Runs at a time.
    pub threads: usize,
    /// Told how many runs are done of how many.
    pub done: &'a (dyn Fn(usize, usize) + Sync),
    /// A policy of the caller's.
    pub own: Option<Own<'a>>,
}

/// Runs what `runs` doesn't have yet, and keeps it there.
///
/// # Errors
/// The study has a setting that can't be run, or a run can't be kept.
pub fn run(study: &Study, runs: &mut Runs, doing: &Doing<'_>) -> Result<Results, StudyError> {
    let cases = study.points()?;
    let mut left_out = BTreeSet::new();
    let mut todo: Vec<(&Case, u64)> = Vec::new();
    for case in &cases {
        match case.settings.missing() {
            Some(why) => drop(left_out.insert(why)),
            None => todo.extend((0..study.seeds).map(|seed| (case, seed))),
        }
    }
    let (next, finished, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let runs = Mutex::new(runs);
    let found: Mutex<Vec<(usize, Result<Run, StudyError>)>> = Mutex::new(Vec::with_capacity(todo.len()));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((case, seed)) = todo.get(at) else { return };
            let run = one(study, case, *seed, &runs, doing.own.as_ref());
            stop.fetch_or(run.is_err(), Ordering::Relaxed);
            found.lock().expect("no worker panics while it holds the list").push((at, run));
            (doing.done)(finished.fetch_add(1, Ordering::Relaxed) + 1, todo.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..doing.threads.clamp(1, todo.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().expect("all workers have ended");
    found.sort_by_key(|(at, _)| *at);
    let runs = found.into_iter().map(|(_, run)| run).collect::<Result<Vec<Run>, StudyError>>()?;
    Ok(Results { runs, left_out })
}

fn one(
    study: &Study,
    case: &Case,
    seed: u64,
    runs: &Mutex<&mut Runs>,
    own: Option<&Own<'_>>,
) -> Result<Run, StudyError> {
    let config = config(study.kind, &case.settings, seed, own.map_or("", |own| own.name));
    let lock = || runs.lock().expect("no worker panics while it holds the runs");
    let known = lock().of(&config).cloned();
    let ran: Ran = match known {
        Some(ran) => ran,
        None => {
            let ran = case.settings.run(seed, own).map_err(|problem| StudyError::Run {
                study: study.name.clone(),
                point: format!("series {:?} at {:?}, seed {seed}", case.series, case.at),
                problem,
            })?;
            lock().keep(&config, &ran).map_err(|source| StudyError::File {
                act: "can't write",
                path: format!("the runs of {}", study.name),
                source,
            })?;
            ran
        }
    };
    Ok(Run { config, series: case.series.clone(), at: case.at.clone(), seed, ran })
}

/// The middle of a list, the lower one of two.
pub fn median(list: &mut [f64]) -> Option<f64> {
    let middle = list.len().checked_sub(1)? / 2;
    Some(*list.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The median and the median absolute deviation from it.
pub fn spread(mut list: Vec<f64>) -> Option<(f64, f64)> {
    let middle = median(&mut list)?;
    let mut away: Vec<f64> = list.iter().map(|value| (value - middle).abs()).collect();
    Some((middle, median(&mut away)?))
}
