//! Metrics side by side: a bar per series, its classes stacked.

use plotters::style::Color;

use super::canvas::{Beside, Canvas, FAINT, INK};
use super::frame::{INNER, Legend, Mark, SIZE, colour, draw_legend, finished};
use super::lines::words;
use super::scale::{Scale, written};
use crate::experiment::{Plotted, Results, Study};

pub(super) fn draw(study: &Study, plotted: &Plotted, results: &Results) -> Result<String, String> {
    let drawn: Vec<&str> = study
        .series
        .iter()
        .map(|s| s.label.as_str())
        .filter(|label| plotted.draws(label) && results.runs.iter().any(|run| run.series == *label))
        .collect();
    let at = plotted.point(study);
    let value = |series: &str, class: &str, metric: &str| {
        results.at(series, &at, class, metric).map_or(0.0, |(middle, _)| middle)
    };
    let tops = plotted
        .metrics
        .iter()
        .flat_map(|m| drawn.iter().map(move |s| value(s, "batch", m) + value(s, "service", m)));
    let scale = Scale::linear(tops, plotted.y_min, plotted.y_max);
    let mut text = String::new();
    let canvas = Canvas::new(&mut text, SIZE.0, SIZE.1)?;
    let (left, top, right, bottom) = INNER;
    let high = |value: f64| bottom - scale.part(value) * (bottom - top);
    canvas.bold(&plotted.title, (left, 22.0), 15.0, Beside::Left)?;
    for tick in scale.ticks() {
        canvas.line(&[(left, high(tick)), (right, high(tick))], FAINT.mix(1.0), 0.75)?;
        canvas.text(&written(tick), (left - 7.0, high(tick)), 11.0, Beside::Right)?;
    }
    let group = (right - left) / plotted.metrics.len() as f64;
    let wide = group * 0.8 / drawn.len().max(1) as f64;
    for (place, metric) in plotted.metrics.iter().enumerate() {
        let begin = left + group * (place as f64 + 0.1);
        canvas.text(&words(metric), (begin + group * 0.4, bottom + 14.0), 12.0, Beside::Middle)?;
        for (number, series) in drawn.iter().enumerate() {
            let x = begin + wide * number as f64;
            let mut from = 0.0;
            for (class, strength) in [("batch", 1.0), ("service", 0.4)] {
                let to = from + value(series, class, metric);
                let corners = [
                    (x, high(from)),
                    (x + wide * 0.9, high(from)),
                    (x + wide * 0.9, high(to)),
                    (x, high(to)),
                ];
                canvas.shape(&corners, colour(number).mix(strength))?;
                from = to;
            }
        }
    }
    canvas.line(&[(left, top), (left, bottom), (right, bottom)], INK.mix(1.0), 1.0)?;
    canvas.upwards(&plotted.y, (16.0, (top + bottom) / 2.0), 12.0)?;
    let mut legend = Vec::new();
    for (number, series) in drawn.iter().enumerate() {
        for (class, strength) in [("batch", 1.0), ("service", 0.4)] {
            let label = format!("{series}, {class}");
            legend.push(Legend { label, colour: colour(number).mix(strength), mark: Mark::Field });
        }
    }
    draw_legend(&canvas, &legend)?;
    canvas.finish()?;
    Ok(finished(&text))
}
