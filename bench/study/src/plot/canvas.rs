//! The canvas of a plot: the library's SVG backend, with the few shapes a plot needs.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Canvas units per shown pixel.
pub(super) const FINE: f64 = 4.0;

/// The family of the text: DejaVu Sans, or what a browser has.
const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito), the darkest first.
pub(super) const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(120, 60, 20),
];

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
/// Lines of the grid.
pub(super) const FAINT: RGBColor = RGBColor(225, 225, 225);

/// Where text is put beside its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beside {
    /// The point is at its left end.
    Left,
    /// The point is at its middle.
    Middle,
    /// The point is at its right end.
    Right,
}

/// A canvas being drawn on. Positions are shown pixels from the top left corner.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

type Drawn = Result<(), String>;

impl<'a> Canvas<'a> {
    /// An empty canvas of so many shown pixels.
    pub(super) fn new(text: &'a mut String, width: f64, height: f64) -> Result<Canvas<'a>, String> {
        let size = ((width * FINE) as u32, (height * FINE) as u32);
        let area = SVGBackend::with_string(text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        Ok(Canvas { area })
    }

    fn draw<'b, E>(&self, element: &'b E) -> Drawn
    where
        &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
        E: plotters::element::Drawable<SVGBackend<'a>>,
    {
        self.area.draw(element).map_err(|e| e.to_string())
    }

    /// A line through points.
    pub(super) fn line(&self, points: &[(f64, f64)], colour: RGBAColor, width: f64) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().map(fine).collect();
        self.draw(&PathElement::new(points, colour.stroke_width(stroke(width))))
    }

    /// A dashed line through points.
    pub(super) fn dashes(&self, points: &[(f64, f64)], colour: RGBAColor, width: f64) -> Drawn {
        const DASH: f64 = 6.0;
        let (mut drawing, mut left) = (true, DASH);
        for pair in points.windows(2) {
            let ((mut x, mut y), (to_x, to_y)) = (pair[0], pair[1]);
            loop {
                let rest = (to_x - x).hypot(to_y - y);
                let go = rest.min(left);
                if rest <= 0.0 {
                    break;
                }
                let next = (x + (to_x - x) * go / rest, y + (to_y - y) * go / rest);
                if drawing {
                    self.line(&[(x, y), next], colour, width)?;
                }
                (x, y) = next;
                left -= go;
                if left <= 1e-9 {
                    (drawing, left) = (!drawing, if drawing { DASH * 0.7 } else { DASH });
                }
            }
        }
        Ok(())
    }

    /// A filled shape.
    pub(super) fn shape(&self, points: &[(f64, f64)], colour: RGBAColor) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().map(fine).collect();
        self.draw(&Polygon::new(points, colour.filled()))
    }

    /// A dot.
    pub(super) fn dot(&self, at: (f64, f64), radius: f64, colour: RGBAColor) -> Drawn {
        self.draw(&Circle::new(fine(&at), (radius * FINE) as i32, colour.filled()))
    }

    /// Text, its middle at the height of the point.
    pub(super) fn text(&self, text: &str, at: (f64, f64), size: f64, beside: Beside) -> Drawn {
        self.write(text, at, size, beside, false, FontTransform::None)
    }

    /// The same, bold.
    pub(super) fn bold(&self, text: &str, at: (f64, f64), size: f64, beside: Beside) -> Drawn {
        self.write(text, at, size, beside, true, FontTransform::None)
    }

    /// Text that reads upwards, its middle at the point.
    pub(super) fn upwards(&self, text: &str, at: (f64, f64), size: f64) -> Drawn {
        self.write(text, at, size, Beside::Middle, false, FontTransform::Rotate270)
    }

    fn write(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        beside: Beside,
        bold: bool,
        turned: FontTransform,
    ) -> Drawn {
        let horizontal = match beside {
            Beside::Left => HPos::Left,
            Beside::Middle => HPos::Center,
            Beside::Right => HPos::Right,
        };
        let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::Name(FAMILY), size * FINE, style).transform(turned);
        let style = TextStyle::from(font).color(&INK).pos(Pos::new(horizontal, VPos::Center));
        self.draw(&Text::new(text.to_owned(), fine(&at), style))
    }

    /// Ends the drawing.
    pub(super) fn finish(self) -> Drawn {
        self.area.present().map_err(|e| e.to_string())
    }
}

fn fine((x, y): &(f64, f64)) -> (i32, i32) {
    ((x * FINE).round() as i32, (y * FINE).round() as i32)
}

fn stroke(width: f64) -> u32 {
    (width * FINE).round().max(1.0) as u32
}

/// Makes the text of a finished canvas one that is shown at its own size, or as wide as its place allows.
pub(super) fn shown(text: &str, width: f64, height: f64) -> String {
    let size = |tag: &str, of: f64| format!("{tag}=\"{}\"", (of * FINE) as u32);
    let own = |tag: &str, of: f64| format!("{tag}=\"{of}\"");
    let text = text.replacen(&size("width", width), &own("width", width), 1);
    text.replacen(&size("height", height), &own("height", height), 1)
}
