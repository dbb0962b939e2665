//! `ohm study run`: runs studies, and writes their tables, plots and page.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use study::experiment::{self, BUILT_IN, Doing, Results, Runs, Study, curves_parquet, rows_parquet};
use study::plot;
use study::report::{self, Reported};

use super::progress::Progress;
use super::threads;
use crate::bounds::JOB_FILE_BYTES_MAX;
use crate::failure::{Ended, Failure};
use crate::show::{self, Cell, Column, Listing, Tone};
use crate::typed::study::RunArgs;

/// A study that was run.
struct Done {
    study: Study,
    results: Results,
    plots: Vec<String>,
}

/// Runs the studies.
///
/// # Errors
/// A study is wrong, or results can't be written.
pub(super) fn run(args: &RunArgs) -> Result<Ended, Failure> {
    let threads = threads(args.how.threads)?;
    let mut studies = Vec::new();
    for what in &args.what {
        studies.extend(named(what)?);
    }
    std::fs::create_dir_all(&args.how.out).map_err(|source| Failure::write(&args.how.out, source))?;
    let mut done = Vec::new();
    for study in studies {
        let study = if args.how.smoke { study.reduced() } else { study };
        done.push(one(study, &args.how.out, threads, args.fresh)?);
    }
    let reported: Vec<Reported<'_>> =
        done.iter().map(|d| Reported { study: &d.study, results: &d.results, plots: &d.plots }).collect();
    let page = args.how.out.join("report.html");
    write(&page, report::html(&reported).as_bytes())?;
    show::say(&format!("wrote {}", page.display()));
    if args.how.smoke {
        show::say("a small size: what is stated of the full one isn't compared");
    }
    show::listing(&listing(&done), args.output.output)?;
    Ok(Ended::Well)
}

/// The studies of this name: a built-in one, all of them, or a file.
pub(super) fn named(what: &str) -> Result<Vec<Study>, Failure> {
    if what == "all" {
        return BUILT_IN.iter().map(|(name, text)| Ok(Study::parse(name, text)?)).collect();
    }
    if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == what) {
        return Ok(vec![Study::parse(name, text)?]);
    }
    let path = PathBuf::from(what);
    if !path.is_file() {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let problem = format!("{what:?} is neither a file nor one of all, {}", names.join(", "));
        return Err(Failure::Input(problem));
    }
    let size = std::fs::metadata(&path).map_err(|source| Failure::read(&path, source))?.len();
    if size > JOB_FILE_BYTES_MAX {
        return Err(Failure::Input(format!(
            "{what}: {size} bytes; a study has at most {JOB_FILE_BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(&path).map_err(|source| Failure::read(&path, source))?;
    Ok(vec![Study::parse(what, &text)?])
}

fn one(study: Study, out: &Path, threads: usize, fresh: bool) -> Result<Done, Failure> {
    let results = measured(&study, out, threads, fresh)?;
    let file = |ending: &str| out.join(format!("{}{ending}", study.name));
    write(&file(".csv"), results.to_csv(&study).as_bytes())?;
    write(&file(".parquet"), &rows_parquet(&study, &results)?)?;
    if let Some(curves) = results.curves_csv(&study) {
        write(&file("-curves.csv"), curves.as_bytes())?;
    }
    if let Some(curves) = curves_parquet(&study, &results)? {
        write(&file("-curves.parquet"), &curves)?;
    }
    let mut plots = Vec::new();
    for (plotted, number) in study.plot.iter().zip(1..) {
        let plot = plot::svg(&study, plotted, &results)?;
        write(&file(&format!("-{number}.svg")), plot.as_bytes())?;
        write(&file(&format!("-{number}.png")), &plot::png(&plot)?)?;
        plots.push(plot);
    }
    Ok(Done { study, results, plots })
}

/// Runs a study; what was run before, even by a run that was stopped, isn't run again.
pub(super) fn measured(study: &Study, out: &Path, threads: usize, fresh: bool) -> Result<Results, Failure> {
    let mut runs = Runs::open(&out.join(format!("{}.runs.csv", study.name)), fresh)?;
    let progress = Progress::new(&study.name);
    let done = |done, total| progress.of(done, total);
    let results = experiment::run(study, &mut runs, &Doing { threads, done: &done, own: None })?;
    progress.done(results.runs.len());
    for left_out in &results.left_out {
        show::say(&format!("{}: left out: {left_out}", study.name));
    }
    Ok(results)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|source| Failure::write(path, source))
}

/// What the paper or the study states, beside what was measured.
fn listing(done: &[Done]) -> Listing {
    const COLUMNS: [Column; 4] =
        [Column::text("STUDY"), Column::text("STATEMENT"), Column::number("MEASURED"), Column::text("")];
    let mut listing = Listing::new(&COLUMNS);
    for Done { study, results, .. } in done {
        for compared in report::compare(study, results) {
            let found = compared.found.map_or_else(|| "-".to_owned(), |(value, _)| format!("{value:.4}"));
            let verdict = match (compared.holds, compared.found) {
                (true, _) => Cell::toned("as stated", Tone::Good),
                (false, Some(_)) => Cell::toned("differs", Tone::Bad),
                (false, None) => Cell::from("not measured"),
            };
            let cells = vec![study.name.clone().into(), compared.text.clone().into(), found.into(), verdict];
            let row: Value = json!({
                "study": study.name,
                "statement": compared.text,
                "expected": compared.expected,
                "measured": compared.found.map(|(value, _)| value),
                "deviation": compared.found.map(|(_, off)| off),
                "holds": compared.holds,
            });
            listing.push(study.name.clone(), cells, row);
        }
    }
    listing
}
