//! A metric over two axes, as a surface seen from above and one side; one beside the other per series.

use plotters::style::{Color, RGBAColor, RGBColor};

use super::canvas::{Beside, Canvas, FAINT, INK};
use super::frame::{SIZE, finished};
use super::lines::named;
use super::scale::{Scale, written};
use crate::experiment::{Axis, Plotted, Results, Study};

/// How large the box is at most, so that it stays below the heading and above the end of the plot.
const SIDE: f64 = 244.0;

/// How a place in the box (each of x, y, z from 0 to 1) is seen.
struct View {
    middle: (f64, f64),
    size: f64,
}

impl View {
    fn at(&self, x: f64, y: f64, z: f64) -> (f64, f64) {
        // Turned by a bit more than an eighth, and tilted: x runs to the right, y into the depth.
        let (cos, sin) = (0.82, 0.57);
        let (x, y) = (x - 0.5, y - 0.5);
        let across = x * cos + y * sin;
        let deep = y * cos - x * sin;
        (
            self.middle.0 + across * self.size,
            self.middle.1 - deep * self.size * 0.5 - (z - 0.5) * self.size * 0.66,
        )
    }
}

pub(super) fn draw(study: &Study, plotted: &Plotted, results: &Results) -> Result<String, String> {
    let drawn: Vec<&str> =
        study.series.iter().map(|s| s.label.as_str()).filter(|label| plotted.draws(label)).take(3).collect();
    let (xs, ys) = (&study.axis[0], &study.axis[1]);
    let value = |series: &str, x: f64, y: f64| {
        results
            .at(series, &[x, y], &plotted.class, &plotted.metric)
            .map(|(middle, _)| middle)
            .filter(|v| v.is_finite())
    };
    let all = drawn.iter().flat_map(|s| {
        xs.values.iter().flat_map(move |x| ys.values.iter().filter_map(move |y| value(s, *x, *y)))
    });
    let z = Scale::linear(all, plotted.y_min.or(Some(0.0)), plotted.y_max);
    let mut text = String::new();
    let canvas = Canvas::new(&mut text, SIZE.0, SIZE.1)?;
    canvas.bold(&plotted.title, (30.0, 22.0), 15.0, Beside::Left)?;
    let wide = (SIZE.0 - 80.0) / drawn.len().max(1) as f64;
    for (number, series) in drawn.iter().enumerate() {
        // Numbers stand at the left and right of each.
        let middle = (wide * (number as f64 + 0.5) + 12.0, 216.0);
        let view = View { middle, size: (wide * 0.56).min(SIDE) };
        let of = |x: f64, y: f64| value(series, x, y);
        one(&canvas, &view, (xs, ys), &z, &of)?;
        if drawn.len() > 1 {
            canvas.text(series, (view.middle.0, 46.0), 12.0, Beside::Middle)?;
        }
    }
    key(&canvas, &z, &named(plotted))?;
    canvas.finish()?;
    Ok(finished(&text))
}

fn one(
    canvas: &Canvas<'_>,
    view: &View,
    (xs, ys): (&Axis, &Axis),
    z: &Scale,
    value: &dyn Fn(f64, f64) -> Option<f64>,
) -> Result<(), String> {
    let scale = |axis: &Axis| {
        let ends = [axis.values[0], axis.values[axis.values.len() - 1]];
        // The surface ends where the axes do.
        let (min, max) = (Some(ends[0].min(ends[1])), Some(ends[0].max(ends[1])));
        if axis.log {
            Scale::log(ends.into_iter(), min, max)
        } else {
            Scale::linear(ends.into_iter(), min, max)
        }
    };
    let (x, y) = (scale(xs), scale(ys));
    walls(canvas, view, (&x, &y, z))?;
    // From the back to the front, so that what is in front hides what is behind.
    for far in ys.values.windows(2).rev() {
        for pair in xs.values.windows(2) {
            let corners = [(pair[0], far[0]), (pair[1], far[0]), (pair[1], far[1]), (pair[0], far[1])];
            let heights: Option<Vec<f64>> = corners.iter().map(|(x, y)| value(*x, *y)).collect();
            let Some(heights) = heights else { continue };
            let seen: Vec<(f64, f64)> = corners
                .iter()
                .zip(&heights)
                .map(|((at_x, at_y), height)| view.at(x.part(*at_x), y.part(*at_y), z.part(*height)))
                .collect();
            let mean = heights.iter().sum::<f64>() / 4.0;
            canvas.shape(&seen, shade(z.part(mean)))?;
            let around: Vec<(f64, f64)> = seen.iter().copied().chain([seen[0]]).collect();
            canvas.line(&around, INK.mix(0.55), 0.6)?;
        }
    }
    for tick in x.ticks() {
        let (px, py) = view.at(x.part(tick), 0.0, 0.0);
        canvas.text(&written(tick), (px - 1.0, py + 12.0), 10.0, Beside::Right)?;
    }
    for tick in y.ticks() {
        let (px, py) = view.at(1.0, y.part(tick), 0.0);
        canvas.text(&written(tick), (px + 8.0, py + 5.0), 10.0, Beside::Left)?;
    }
    for tick in z.ticks() {
        let (px, py) = view.at(0.0, 0.0, z.part(tick));
        canvas.text(&written(tick), (px - 6.0, py), 10.0, Beside::Right)?;
    }
    let ((ax, ay), (bx, by)) = (view.at(0.5, 0.0, 0.0), view.at(1.0, 0.5, 0.0));
    canvas.text(&xs.label, (ax - 40.0, ay + 42.0), 11.0, Beside::Middle)?;
    canvas.text(&ys.label, (bx + 30.0, by + 26.0), 11.0, Beside::Left)
}

/// The floor and the two walls behind, with their grids.
fn walls(canvas: &Canvas<'_>, view: &View, (x, y, z): (&Scale, &Scale, &Scale)) -> Result<(), String> {
    let line = |from: (f64, f64, f64), to: (f64, f64, f64), width| {
        canvas.line(&[view.at(from.0, from.1, from.2), view.at(to.0, to.1, to.2)], FAINT.mix(1.0), width)
    };
    for part in x.ticks().into_iter().map(|tick| x.part(tick)) {
        line((part, 0.0, 0.0), (part, 1.0, 0.0), 0.75)?;
        line((part, 1.0, 0.0), (part, 1.0, 1.0), 0.75)?;
    }
    for part in y.ticks().into_iter().map(|tick| y.part(tick)) {
        line((0.0, part, 0.0), (1.0, part, 0.0), 0.75)?;
        line((0.0, part, 0.0), (0.0, part, 1.0), 0.75)?;
    }
    for part in z.ticks().into_iter().map(|tick| z.part(tick)) {
        line((0.0, 0.0, part), (0.0, 1.0, part), 0.75)?;
        line((0.0, 1.0, part), (1.0, 1.0, part), 0.75)?;
    }
    let edge = |from: (f64, f64, f64), to: (f64, f64, f64)| {
        canvas.line(&[view.at(from.0, from.1, from.2), view.at(to.0, to.1, to.2)], INK.mix(1.0), 1.0)
    };
    edge((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))?;
    edge((1.0, 0.0, 0.0), (1.0, 1.0, 0.0))?;
    edge((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
}

/// From blue over yellow to red, as in the paper: red is saturation.
fn shade(part: f64) -> RGBAColor {
    const STOPS: [(f64, [f64; 3]); 4] = [
        (0.0, [49.0, 54.0, 149.0]),
        (0.4, [116.0, 173.0, 209.0]),
        (0.7, [254.0, 224.0, 144.0]),
        (1.0, [190.0, 20.0, 38.0]),
    ];
    let after = STOPS.iter().position(|(at, _)| *at >= part).unwrap_or(STOPS.len() - 1).max(1);
    let ((from, low), (to, high)) = (STOPS[after - 1], STOPS[after]);
    let part = ((part - from) / (to - from)).clamp(0.0, 1.0);
    let of = |channel: usize| (low[channel] + (high[channel] - low[channel]) * part) as u8;
    RGBColor(of(0), of(1), of(2)).mix(0.96)
}

/// What the colours stand for.
fn key(canvas: &Canvas<'_>, z: &Scale, name: &str) -> Result<(), String> {
    let (left, top, bottom) = (SIZE.0 - 74.0, 90.0, 340.0);
    const STEPS: usize = 50;
    for step in 0..STEPS {
        let part = |at: usize| bottom - (bottom - top) * at as f64 / STEPS as f64;
        let corners = [
            (left, part(step)),
            (left + 14.0, part(step)),
            (left + 14.0, part(step + 1)),
            (left, part(step + 1)),
        ];
        canvas.shape(&corners, shade((step as f64 + 0.5) / STEPS as f64))?;
    }
    for tick in z.ticks() {
        let y = bottom - (bottom - top) * z.part(tick);
        canvas.text(&written(tick), (left + 19.0, y), 10.0, Beside::Left)?;
    }
    canvas.text(name, (SIZE.0 - 12.0, top - 16.0), 11.0, Beside::Right)
}
