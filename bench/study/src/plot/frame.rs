//! The frame of a plot: heading, axes with grid and numbers, and the legend beside it.

use plotters::style::{Color, RGBAColor};

use super::canvas::{Beside, COLOURS, Canvas, FAINT, INK, shown};
use super::scale::{Scale, written};
use crate::experiment::Plotted;

/// Shown width and height of a plot.
pub(super) const SIZE: (f64, f64) = (820.0, 440.0);

/// Where the axes lie: left, top, right, bottom.
pub(super) const INNER: (f64, f64, f64, f64) = (74.0, 46.0, 580.0, 386.0);

/// A line through more points than these is thin.
const MANY: usize = 1_000;

/// How a series is marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// By a line.
    Line,
    /// By a dashed line.
    Dashes,
    /// By a field of colour.
    Field,
}

/// An entry of the legend.
pub(super) struct Legend {
    /// What it is called.
    pub(super) label: String,
    /// Its colour.
    pub(super) colour: RGBAColor,
    /// How it is marked.
    pub(super) mark: Mark,
}

/// The colour of a series by its number.
pub(super) fn colour(number: usize) -> RGBAColor {
    let fainter = [1.0, 0.55, 0.3][(number / COLOURS.len()).min(2)];
    COLOURS[number % COLOURS.len()].mix(fainter)
}

/// A frame with its axes.
pub(super) struct Frame<'a> {
    canvas: Canvas<'a>,
    x: Scale,
    y: Scale,
}

impl<'a> Frame<'a> {
    /// Draws the heading, the axes and the legend.
    pub(super) fn new(
        text: &'a mut String,
        plotted: &Plotted,
        (x, x_name): (Scale, &str),
        (y, y_name): (Scale, &str),
        legend: &[Legend],
    ) -> Result<Frame<'a>, String> {
        let canvas = Canvas::new(text, SIZE.0, SIZE.1)?;
        let frame = Frame { canvas, x, y };
        frame.canvas.bold(&plotted.title, (INNER.0, 22.0), 15.0, Beside::Left)?;
        frame.grid()?;
        frame.canvas.text(x_name, ((INNER.0 + INNER.2) / 2.0, SIZE.1 - 16.0), 12.0, Beside::Middle)?;
        frame.canvas.upwards(y_name, (16.0, (INNER.1 + INNER.3) / 2.0), 12.0)?;
        draw_legend(&frame.canvas, legend)?;
        Ok(frame)
    }

    fn grid(&self) -> Result<(), String> {
        let (left, top, right, bottom) = INNER;
        let at_x = |value: f64| left + self.x.part(value) * (right - left);
        let at_y = |value: f64| bottom - self.y.part(value) * (bottom - top);
        for value in self.x.between() {
            self.canvas.line(&[(at_x(value), top), (at_x(value), bottom)], FAINT.mix(0.5), 0.5)?;
        }
        for value in self.y.between() {
            self.canvas.line(&[(left, at_y(value)), (right, at_y(value))], FAINT.mix(0.5), 0.5)?;
        }
        for value in self.x.ticks() {
            self.canvas.line(&[(at_x(value), top), (at_x(value), bottom)], FAINT.mix(1.0), 0.75)?;
            self.canvas.text(&written(value), (at_x(value), bottom + 14.0), 11.0, Beside::Middle)?;
        }
        for value in self.y.ticks() {
            self.canvas.line(&[(left, at_y(value)), (right, at_y(value))], FAINT.mix(1.0), 0.75)?;
            self.canvas.text(&written(value), (left - 7.0, at_y(value)), 11.0, Beside::Right)?;
        }
        let around = [(left, top), (left, bottom), (right, bottom)];
        self.canvas.line(&around, INK.mix(1.0), 1.0)
    }

    /// Where a point lies.
    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, top, right, bottom) = INNER;
        (left + self.x.part(x) * (right - left), bottom - self.y.part(y) * (bottom - top))
    }

    /// A line through points.
    pub(super) fn line(&self, points: &[(f64, f64)], entry: &Legend) -> Result<(), String> {
        let points: Vec<(f64, f64)> = points.iter().map(|point| self.at(*point)).collect();
        match entry.mark {
            Mark::Line | Mark::Field => {
                // Something measured by the minute is a thick band otherwise.
                let width = if points.len() > MANY { 0.75 } else { 2.0 };
                self.canvas.line(&points, entry.colour, width)
            }
            Mark::Dashes => self.canvas.dashes(&points, entry.colour, 1.5),
        }
    }

    /// Ends the drawing.
    pub(super) fn finish(self) -> Result<(), String> {
        self.canvas.finish()
    }

    /// A point with the deviation above and below it.
    pub(super) fn spread(&self, (x, y, off): (f64, f64, f64), entry: &Legend) -> Result<(), String> {
        self.canvas.dot(self.at((x, y)), 2.5, entry.colour)?;
        if off <= 0.0 {
            return Ok(());
        }
        let (low, high) = (self.at((x, y - off)), self.at((x, y + off)));
        self.canvas.line(&[low, high], entry.colour, 1.0)?;
        for (x, y) in [low, high] {
            self.canvas.line(&[(x - 3.0, y), (x + 3.0, y)], entry.colour, 1.0)?;
        }
        Ok(())
    }
}

/// Draws a legend at the right.
pub(super) fn draw_legend(canvas: &Canvas<'_>, legend: &[Legend]) -> Result<(), String> {
    let left = INNER.2 + 18.0;
    let mut y = INNER.1 + 8.0;
    let step = if legend.len() > 18 { 13.0 } else { 18.0 };
    for Legend { label, colour, mark } in legend {
        match mark {
            Mark::Line => canvas.line(&[(left, y), (left + 22.0, y)], *colour, 2.5)?,
            Mark::Dashes => canvas.dashes(&[(left, y), (left + 22.0, y)], *colour, 1.5)?,
            Mark::Field => canvas.shape(
                &[(left, y - 5.0), (left + 22.0, y - 5.0), (left + 22.0, y + 5.0), (left, y + 5.0)],
                *colour,
            )?,
        }
        for (number, line) in folded(label).iter().enumerate() {
            if number > 0 {
                y += 13.0;
            }
            canvas.text(line, (left + 28.0, y), 11.0, Beside::Left)?;
        }
        y += step;
    }
    Ok(())
}

/// A label in lines that are as wide as the legend at most.
fn folded(label: &str) -> Vec<String> {
    const WIDE: usize = 28;
    let mut lines = vec![String::new()];
    for word in label.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDE {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// The text of a drawing of the usual size.
pub(super) fn finished(text: &str) -> String {
    shown(text, SIZE.0, SIZE.1)
}
