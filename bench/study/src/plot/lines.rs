//! A metric over an axis: a line per series, medians with their deviation.

use super::frame::{Frame, Legend, Mark, colour, finished};
use super::scale::Scale;
use crate::experiment::{Plotted, Results, Study};

/// A line: its place in the legend, and at each x the median and its deviation.
struct Line {
    entry: Legend,
    points: Vec<(f64, f64, f64)>,
}

/// What the label of a series ends with that was measured on real processes.
const LIVE: &str = ", live";

pub(super) fn draw(study: &Study, plotted: &Plotted, results: &Results) -> Result<String, String> {
    let lines = lines(study, plotted, results);
    let axis = &study.axis[0];
    let xs = || axis.values.iter().copied();
    let ys = || lines.iter().flat_map(|line| &line.points).flat_map(|(_, y, off)| [y - off, y + off]);
    let x = if axis.log { Scale::log(xs(), None, plotted.x_max) } else { Scale::tight(xs(), plotted.x_max) };
    let y = if plotted.y_log {
        Scale::log(ys(), plotted.y_min, plotted.y_max)
    } else {
        Scale::linear(ys(), plotted.y_min, plotted.y_max)
    };
    let x_name = if plotted.x.is_empty() { &axis.label } else { &plotted.x };
    let y_name = named(plotted);
    let mut text = String::new();
    let legend: Vec<Legend> = lines.iter().map(|line| copied(&line.entry)).collect();
    let frame = Frame::new(&mut text, plotted, (x, x_name), (y, &y_name), &legend)?;
    for Line { entry, points } in &lines {
        let through: Vec<(f64, f64)> = points.iter().map(|(x, y, _)| (*x, *y)).collect();
        frame.line(&through, entry)?;
        if entry.mark == Mark::Line {
            points.iter().try_for_each(|point| frame.spread(*point, entry))?;
        }
    }
    frame.finish()?;
    Ok(finished(&text))
}

fn copied(entry: &Legend) -> Legend {
    Legend { label: entry.label.clone(), colour: entry.colour, mark: entry.mark }
}

fn lines(study: &Study, plotted: &Plotted, results: &Results) -> Vec<Line> {
    let seconds: Vec<Option<f64>> = match study.axis.get(1) {
        Some(axis) => axis.values.iter().map(|value| Some(*value)).collect(),
        None => vec![None],
    };
    let mut lines = Vec::new();
    let drawn: Vec<&str> =
        study.series.iter().map(|s| s.label.as_str()).filter(|label| plotted.draws(label)).collect();
    for series in &drawn {
        for (at_second, second) in seconds.iter().enumerate() {
            let label = match (second, study.axis.get(1)) {
                (Some(value), Some(axis)) if drawn.len() == 1 => format!("{} {value}", axis.label),
                (Some(value), Some(axis)) => format!("{series}, {} {value}", axis.label),
                _ => (*series).to_owned(),
            };
            let of = |metric: &str| -> Vec<(f64, f64, f64)> {
                let at = |x: &f64| {
                    let values: Vec<f64> = std::iter::once(*x).chain(*second).collect();
                    let (middle, off) = results.at(series, &values, &plotted.class, metric)?;
                    middle.is_finite().then_some((*x, middle, off))
                };
                study.axis[0].values.iter().filter_map(at).collect()
            };
            // What was measured on real processes is drawn beside the same in virtual time, in its colour.
            let live = series.ends_with(LIVE);
            let before = lines.iter().filter(|line: &&Line| line.entry.mark == Mark::Line).count();
            let colour = colour(if live { before.saturating_sub(seconds.len()) + at_second } else { before });
            let mark = if live { Mark::Dashes } else { Mark::Line };
            let entry = Legend { label: label.clone(), colour, mark };
            lines.push(Line { entry, points: of(&plotted.metric) });
            if !plotted.beside.is_empty() {
                let entry = Legend {
                    label: format!("{label}: {}", words(&plotted.beside)),
                    colour,
                    mark: Mark::Dashes,
                };
                lines.push(Line { entry, points: of(&plotted.beside) });
            }
        }
    }
    lines
}

/// What the y axis is called.
pub(super) fn named(plotted: &Plotted) -> String {
    if !plotted.y.is_empty() {
        return plotted.y.clone();
    }
    let of = if plotted.class.is_empty() { String::new() } else { format!(", {} jobs", plotted.class) };
    format!("{}{of}", words(&plotted.metric))
}

/// The name of a metric as people write it.
pub(super) fn words(metric: &str) -> String {
    match metric {
        "busy" => "busyness".to_owned(),
        "useful" => "without conflicts".to_owned(),
        "wait_s" => "mean wait, s".to_owned(),
        "wait_s_p90" => "90th percentile of the wait, s".to_owned(),
        "placed_jobs" => "part of jobs placed in full".to_owned(),
        other => other.replace('_', " "),
    }
}
