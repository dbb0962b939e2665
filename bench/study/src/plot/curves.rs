//! Curves that runs give: distributions, or something over time. Those of the first seed.

use super::frame::{Frame, Legend, Mark, colour, finished};
use super::scale::Scale;
use crate::experiment::{Plotted, Results, Study};

pub(super) fn draw(study: &Study, plotted: &Plotted, results: &Results) -> Result<String, String> {
    let drawn: Vec<&str> =
        study.series.iter().map(|s| s.label.as_str()).filter(|label| plotted.draws(label)).collect();
    let classes: Vec<&str> =
        if plotted.class.is_empty() { vec!["batch", "service"] } else { vec![plotted.class.as_str()] };
    let mut lines: Vec<(Legend, Vec<(f64, f64)>)> = Vec::new();
    let at = plotted.point(study);
    for (number, series) in drawn.iter().enumerate() {
        for class in &classes {
            let run = results.runs.iter().find(|run| run.series == *series && run.at == at);
            let curve =
                run.and_then(|r| r.ran.curves.iter().find(|c| c.class == *class && c.name == plotted.curve));
            let Some(curve) = curve else { continue };
            let label = if classes.len() == 1 { (*series).to_owned() } else { format!("{series}, {class}") };
            let mark = if classes.len() > 1 && *class == "service" { Mark::Dashes } else { Mark::Line };
            lines.push((Legend { label, colour: colour(number), mark }, curve.points.clone()));
        }
    }
    let xs = || lines.iter().flat_map(|(_, points)| points.iter().map(|(x, _)| *x));
    let ys = || lines.iter().flat_map(|(_, points)| points.iter().map(|(_, y)| *y));
    let x = if plotted.x_log {
        Scale::log(xs(), None, plotted.x_max)
    } else {
        Scale::linear(xs(), None, plotted.x_max)
    };
    let y = if plotted.y_log {
        Scale::log(ys(), plotted.y_min, plotted.y_max)
    } else {
        Scale::linear(ys(), plotted.y_min, plotted.y_max)
    };
    let legend: Vec<Legend> = lines
        .iter()
        .map(|(e, _)| Legend { label: e.label.clone(), colour: e.colour, mark: e.mark })
        .collect();
    let mut text = String::new();
    let frame = Frame::new(&mut text, plotted, (x, &plotted.x), (y, &plotted.y), &legend)?;
    for (entry, points) in &lines {
        frame.line(points, entry)?;
    }
    frame.finish()?;
    Ok(finished(&text))
}
