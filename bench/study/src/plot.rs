//! Plots of a study: as SVG, and the same as PNG.
//!
//! Everything is drawn by our own axes on the plotting library's canvas, twice as large as it is shown, so that lines
//! fall on half pixels. The font is in the program: a plot looks the same on a machine without any.

mod bars;
mod canvas;
mod curves;
mod frame;
mod lines;
mod raster;
mod scale;
mod surface;

use crate::experiment::{Form, Plotted, Results, Study, StudyError};

pub use raster::png;

/// Draws one plot as SVG.
///
/// # Errors
/// It can't be drawn.
pub fn svg(study: &Study, plotted: &Plotted, results: &Results) -> Result<String, StudyError> {
    let drawn = match plotted.form {
        Form::Lines => lines::draw(study, plotted, results),
        Form::Surface => surface::draw(study, plotted, results),
        Form::Curves => curves::draw(study, plotted, results),
        Form::Bars => bars::draw(study, plotted, results),
    };
    drawn.map_err(|problem| StudyError::Output { what: format!("the plot {:?}", plotted.title), problem })
}
