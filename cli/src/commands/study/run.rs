//! `ohm study run`: runs studies, and writes their tables, plots and page.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use study::experiment::{self, BUILT_IN, Results, Study};
use study::plot;
use study::report::{self, Reported};

use super::threads;
use crate::bounds::JOB_FILE_BYTES_MAX;
use crate::demo::progress::Progress;
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
    let threads = threads(args.threads)?;
    let mut studies = Vec::new();
    for what in &args.what {
        studies.extend(named(what)?);
    }
    std::fs::create_dir_all(&args.out).map_err(|source| Failure::write(&args.out, source))?;
    let mut done = Vec::new();
    for study in studies {
        let study = if args.smoke { study.reduced() } else { study };
        done.push(one(study, &args.out, threads, args.fresh)?);
    }
    let reported: Vec<Reported<'_>> =
        done.iter().map(|d| Reported { study: &d.study, results: &d.results, plots: &d.plots }).collect();
    let page = args.out.join("report.html");
    write(&page, &report::html(&reported))?;
    show::say(&format!("wrote {}", page.display()));
    show::listing(&listing(&done), args.output.output)?;
    Ok(Ended::Well)
}

/// The studies of this name: a built-in one, all of them, or a file.
fn named(what: &str) -> Result<Vec<Study>, Failure> {
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
    let table = out.join(format!("{}.csv", study.name));
    let known = if fresh { Results::default() } else { Results::read(&table, &study)? };
    let progress = Progress::new(&study.name, 0);
    let results =
        experiment::run(&study, &known, threads, &|done, total| progress.of(done as u64, total as u64))?;
    progress.done(&format!("{} runs", results.rows.len() / 2));
    write(&table, &results.to_csv(&study))?;
    let mut plots = Vec::new();
    for (plotted, number) in study.plot.iter().zip(1..) {
        let plot = plot::svg(&study, plotted, &results)?;
        write(&out.join(format!("{}-{number}.svg", study.name)), &plot)?;
        plots.push(plot);
    }
    Ok(Done { study, results, plots })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::write(path, source))
}

/// What the paper states, beside what was measured.
fn listing(done: &[Done]) -> Listing {
    const COLUMNS: [Column; 4] =
        [Column::text("STUDY"), Column::text("THE PAPER"), Column::number("MEASURED"), Column::text("")];
    let mut listing = Listing::new(&COLUMNS);
    for Done { study, results, .. } in done {
        for compared in report::compare(study, results) {
            let found = compared.found.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
            let verdict = match compared.holds {
                true => Cell::toned("as stated", Tone::Good),
                false => Cell::toned("differs", Tone::Bad),
            };
            let cells = vec![study.name.clone().into(), compared.text.clone().into(), found.into(), verdict];
            let row: Value = json!({
                "study": study.name,
                "statement": compared.text,
                "measured": compared.found,
                "holds": compared.holds,
            });
            listing.push(study.name.clone(), cells, row);
        }
    }
    listing
}
