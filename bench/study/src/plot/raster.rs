//! A plot as PNG: its SVG rendered, with the font that is in the program.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use crate::experiment::StudyError;

/// Pixels of the picture per shown pixel of the plot.
const SHARP: f32 = 2.0;

fn fonts() -> Arc<Database> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let load = || {
        let mut fonts = Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    };
    FONTS.get_or_init(load).clone()
}

/// Renders an SVG plot.
///
/// # Errors
/// It can't be rendered.
pub fn png(svg: &str) -> Result<Vec<u8>, StudyError> {
    let failed = |problem: String| StudyError::Output { what: "a picture of a plot".to_owned(), problem };
    let options = Options { fontdb: fonts(), font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|e| failed(e.to_string()))?;
    let size = tree.size();
    let (width, height) = ((size.width() * SHARP).ceil() as u32, (size.height() * SHARP).ceil() as u32);
    let mut picture =
        Pixmap::new(width, height).ok_or_else(|| failed(format!("{width} × {height} is no size")))?;
    resvg::render(&tree, Transform::from_scale(SHARP, SHARP), &mut picture.as_mut());
    picture.encode_png().map_err(|e| failed(e.to_string()))
}
