//! `ohm study live`: a study on a real cell, beside the same in virtual time.

use std::path::Path;

use serde_json::{Value, json};
use study::experiment::{Case, Point, Results, Run, Series, Settings, Study};
use study::plot;

use super::live_cell::{self, Lived};
use super::run::{measured, named};
use super::threads;
use crate::bounds::{STUDY_LIVE_PERCENT, STUDY_LIVE_POINTS_MAX, STUDY_LIVE_SECONDS_MAX};
use crate::failure::{Ended, Failure};
use crate::show::{self, Column, Listing};
use crate::typed::study::LiveArgs;

/// Runs it.
///
/// # Errors
/// The study can't be run on a real cell, or a part of the cell can't be started.
pub(super) fn run(args: &LiveArgs) -> Result<Ended, Failure> {
    if !(1..=STUDY_LIVE_SECONDS_MAX).contains(&args.seconds) {
        let problem = format!("--seconds: {} is not between 1 and {STUDY_LIVE_SECONDS_MAX}", args.seconds);
        return Err(Failure::Input(problem));
    }
    let threads = threads(args.how.threads)?;
    let study = prepared(args)?;
    let cases = study.points()?;
    if cases.len() > STUDY_LIVE_POINTS_MAX {
        return Err(Failure::Input(format!(
            "{}: {} points; a live run takes at most {STUDY_LIVE_POINTS_MAX}: try --smoke, or a file with fewer",
            study.name,
            cases.len()
        )));
    }
    let points = cases
        .iter()
        .map(|case| Ok((case, live_point(&study, case)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    std::fs::create_dir_all(&args.how.out).map_err(|source| Failure::write(&args.how.out, source))?;
    let virtual_time = measured(&study, &args.how.out, threads, false)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut both = virtual_time.clone();
    let mut lived_all = Vec::new();
    for (number, (case, point)) in points.iter().enumerate() {
        show::say(&format!(
            "{}: {} of {} on a real cell: {} at {:?}",
            study.name,
            number + 1,
            points.len(),
            case.series,
            case.at
        ));
        let lived = runtime.block_on(live_cell::run(point, args.seconds, &args.how.out))?;
        both.runs.push(Run {
            config: "live".to_owned(),
            series: live_label(&case.series),
            at: case.at.clone(),
            seed: 0,
            ran: lived.ran(),
        });
        lived_all.push((*case, lived));
    }
    let overlaid = overlaid(&study);
    write_all(&overlaid, &both, &args.how.out)?;
    show::listing(&listing(&lived_all, &virtual_time), args.output.output)?;
    Ok(Ended::Well)
}

/// The study, of a size that a machine can play.
fn prepared(args: &LiveArgs) -> Result<Study, Failure> {
    let mut studies = named(&args.what)?;
    let (Some(study), true) = (studies.pop(), studies.is_empty()) else {
        return Err(Failure::Input(format!("{:?} is more than one study", args.what)));
    };
    let mut study = if args.how.smoke { study.reduced() } else { study };
    let own = study.base.get("percent").and_then(toml::Value::as_integer);
    let most = i64::from(STUDY_LIVE_PERCENT);
    let percent = args.percent.map_or(own.unwrap_or(most).min(most), i64::from);
    study.base.insert("percent".to_owned(), percent.into());
    study.seeds = 1;
    study.name.push_str("-live");
    Ok(study)
}

/// The settings of a point, if a real cell can have them.
fn live_point(study: &Study, case: &Case) -> Result<Point, Failure> {
    let refused =
        |problem: &str| Failure::Input(format!("{}: series {:?}: {problem}", study.name, case.series));
    let Settings::Sweep(point) = &case.settings else {
        return Err(refused("this kind of study has no live form"));
    };
    if point.engine != "cell" {
        return Err(refused("engine: a real cell runs the production code; write engine = \"cell\""));
    }
    if point.architecture != "omega" {
        return Err(refused("architecture: a real cell is omega: shared state"));
    }
    if !point.workload.is_empty() {
        return Err(refused("workload: a real cell is given the synthetic cell C"));
    }
    Ok((**point).clone())
}

fn live_label(series: &str) -> String {
    format!("{series}, live")
}

/// The same study with a live series beside each, and only the plots that a live run has metrics for.
fn overlaid(study: &Study) -> Study {
    let mut study = study.clone();
    let with_live = |series: Series| {
        let live = Series { label: live_label(&series.label), set: series.set.clone() };
        [series, live]
    };
    study.series = study.series.into_iter().flat_map(with_live).collect();
    study.plot.retain(|plot| Lived::METRICS.contains(&plot.metric.as_str()));
    for plot in &mut study.plot {
        plot.beside = String::new();
        plot.title.push_str(": virtual time and real processes");
        let live: Vec<String> = plot.series.iter().map(|series| live_label(series)).collect();
        plot.series.extend(live);
    }
    study
}

fn write_all(study: &Study, results: &Results, out: &Path) -> Result<(), Failure> {
    let write = |name: String, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes).map_err(|source| Failure::write(&path, source))
    };
    write(format!("{}.csv", study.name), results.to_csv(study).as_bytes())?;
    for (plotted, number) in study.plot.iter().zip(1..) {
        let svg = plot::svg(study, plotted, results)?;
        write(format!("{}-{number}.svg", study.name), svg.as_bytes())?;
        write(format!("{}-{number}.png", study.name), &plot::png(&svg)?)?;
    }
    show::say(&format!("wrote {}.csv and {} plots to {}", study.name, study.plot.len(), out.display()));
    Ok(())
}

fn listing(lived: &[(&Case, Lived)], virtual_time: &Results) -> Listing {
    const COLUMNS: [Column; 6] = [
        Column::text("SERIES"),
        Column::text("AT"),
        Column::text("CLASS"),
        Column::text("METRIC"),
        Column::number("VIRTUAL"),
        Column::number("LIVE"),
    ];
    let mut listing = Listing::new(&COLUMNS);
    for (case, lived) in lived {
        let ran = lived.ran();
        for class in ["batch", "service"] {
            for metric in Lived::METRICS {
                let live = ran.value(class, metric).unwrap_or_default();
                let expected =
                    virtual_time.at(&case.series, &case.at, class, metric).map_or(f64::NAN, |(v, _)| v);
                let at: Vec<String> = case.at.iter().map(f64::to_string).collect();
                let cells = vec![
                    case.series.clone().into(),
                    at.join(", ").into(),
                    class.into(),
                    metric.into(),
                    format!("{expected:.4}").into(),
                    format!("{live:.4}").into(),
                ];
                let row: Value = json!({
                    "series": case.series, "at": case.at, "class": class, "metric": metric,
                    "virtual": expected, "live": live,
                });
                listing.push(format!("{} {} {class} {metric}", case.series, at.join(",")), cells, row);
            }
        }
    }
    listing
}
