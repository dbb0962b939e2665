//! Plots of a study: lines over the first axis, one per series, medians with their deviation.

use plotters::prelude::*;

use crate::experiment::{Plotted, Results, Study, StudyError};

/// Width and height of a plot, in pixels.
const SIZE: (u32, u32) = (760, 460);

/// A line of a plot: its label, and at each x the median and its deviation.
type Line = (String, Vec<(f64, f64, f64)>);

/// Draws one plot as SVG.
///
/// # Errors
/// It can't be drawn.
pub fn svg(study: &Study, plotted: &Plotted, results: &Results) -> Result<String, StudyError> {
    let mut text = String::new();
    let lines = lines(study, plotted, results);
    draw(&mut text, study, plotted, &lines)
        .map_err(|error| StudyError::Plot { plot: plotted.title.clone(), problem: error.to_string() })?;
    Ok(text)
}

/// The lines of a plot: one per series, or per series and value of the second axis.
fn lines(study: &Study, plotted: &Plotted, results: &Results) -> Vec<Line> {
    let seconds: Vec<Option<f64>> = match study.axis.get(1) {
        Some(axis) => axis.values.iter().map(|value| Some(*value)).collect(),
        None => vec![None],
    };
    let mut lines = Vec::new();
    for series in &study.series {
        for second in &seconds {
            let label = match (second, study.axis.get(1)) {
                (Some(value), Some(axis)) => format!("{}, {} {value}", series.label, axis.label),
                _ => series.label.clone(),
            };
            let at = |x: &f64| {
                let values: Vec<f64> = std::iter::once(*x).chain(*second).collect();
                let (middle, off) = results.at(&series.label, &values, &plotted.class, &plotted.metric)?;
                Some((*x, middle, off))
            };
            lines.push((label, study.axis[0].values.iter().filter_map(at).collect()));
        }
    }
    lines
}

fn draw(
    text: &mut String,
    study: &Study,
    plotted: &Plotted,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let axis = &study.axis[0];
    let scale = |x: f64| if axis.log { x.max(1e-9).log10() } else { x };
    let xs = axis.values.iter().map(|x| scale(*x));
    let (left, right) = (xs.clone().fold(f64::MAX, f64::min), xs.fold(f64::MIN, f64::max));
    let room = ((right - left) * 0.03).max(0.05);
    let highest = lines.iter().flat_map(|(_, points)| points).map(|(_, y, off)| y + off).fold(0.0, f64::max);
    let top = if highest > 0.0 { highest * 1.1 } else { 1.0 };
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&plotted.title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(left - room..right + room, 0.0..top)?;
    let shown = |x: &f64| if axis.log { format!("{:.3}", 10f64.powf(*x)) } else { format!("{x:.2}") };
    let short = |x: &f64| shown(x).trim_end_matches('0').trim_end_matches('.').to_owned();
    chart
        .configure_mesh()
        .x_desc(&axis.label)
        .y_desc(format!("{} ({})", plotted.metric, plotted.class))
        .x_label_formatter(&short)
        .draw()?;
    for (number, (label, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().map(|(x, y, _)| (scale(*x), *y)), style))?
            .label(label)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        for (x, y, off) in points {
            let ends = vec![(scale(*x), (y - off).max(0.0)), (scale(*x), y + off)];
            chart.draw_series(std::iter::once(PathElement::new(ends, colour.stroke_width(1))))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    root.present()?;
    Ok(())
}
