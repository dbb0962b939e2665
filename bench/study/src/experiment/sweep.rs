//! Running all points of a study: in parallel, each once, results in the order of the file whatever the threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file::{Case, Study, StudyError};
use super::metrics::Metrics;
use super::results::{Results, Row, config};

/// The rows of both classes, or why the point can't be run.
type Outcome = Result<[Row; 2], String>;

/// Runs what `known` doesn't have yet, on so many threads; tells how many are done of how many.
///
/// # Errors
/// The study has a setting that can't be run.
pub fn run(
    study: &Study,
    known: &Results,
    threads: usize,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<Results, StudyError> {
    let form = |problem| StudyError::Form { path: study.name.clone(), problem };
    let cases = study.cases().map_err(form)?;
    let todo: Vec<(&Case, u64)> =
        cases.iter().flat_map(|case| (0..study.seeds).map(move |seed| (case, seed))).collect();
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(todo.len()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((case, seed)) = todo.get(at) else { return };
            let rows = known.of(&config(&case.point, *seed)).map_or_else(|| fresh(case, *seed), Ok);
            // The same configuration may have been run as another series, or under another name of it.
            let named = |row| Row { series: case.series.clone(), at: case.at.clone(), ..row };
            let rows = rows.map(|rows| rows.map(named));
            found.lock().expect("no worker panics while it holds the list").push((at, rows));
            done(finished.fetch_add(1, Ordering::Relaxed) + 1, todo.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().expect("all workers have ended");
    found.sort_by_key(|(at, _)| *at);
    let rows: Result<Vec<[Row; 2]>, String> = found.into_iter().map(|(_, rows)| rows).collect();
    Ok(Results { rows: rows.map_err(form)?.into_iter().flatten().collect() })
}

fn fresh(case: &Case, seed: u64) -> Result<[Row; 2], String> {
    let [batch, service] =
        case.point.run(seed).map_err(|problem| format!("series {:?}: {problem}", case.series))?;
    let row = |class: &str, metrics: Metrics| Row {
        config: config(&case.point, seed),
        series: case.series.clone(),
        at: case.at.clone(),
        seed,
        class: class.to_owned(),
        metrics,
    };
    Ok([row("batch", batch), row("service", service)])
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
