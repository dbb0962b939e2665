//! The page of a set of studies: plots, what the paper says, and whether we see the same.

use crate::experiment::{Check, Results, Study};

/// A study that was run.
pub struct Reported<'a> {
    /// The study.
    pub study: &'a Study,
    /// What it measured.
    pub results: &'a Results,
    /// Its plots, as SVG.
    pub plots: &'a [String],
}

/// What became of a statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    /// The statement.
    pub text: String,
    /// What was measured: nothing if no such point was run.
    pub found: Option<f64>,
    /// Whether that is as stated.
    pub holds: bool,
}

/// Compares the statements of a study with what was measured.
pub fn compare(study: &Study, results: &Results) -> Vec<Compared> {
    let one = |check: &Check| {
        let found =
            results.at(&check.series, &check.at, &check.class, &check.metric).map(|(middle, _)| middle);
        let holds = found.is_some_and(|value| {
            check.min.is_none_or(|min| value >= min) && check.max.is_none_or(|max| value <= max)
        });
        Compared { text: check.text.clone(), found, holds }
    };
    study.check.iter().map(one).collect()
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:820px;margin:2em auto;padding:0 1em;color:#222}\
svg{max-width:100%;height:auto}blockquote{color:#555;border-left:3px solid #ccc;margin-left:0;padding-left:1em}\
.differs{color:#b00}";

/// The page.
pub fn html(reported: &[Reported<'_>]) -> String {
    let mut body = String::new();
    for Reported { study, results, plots } in reported {
        body.push_str(&format!(
            "<h2 id=\"{0}\">{0}: {1}</h2>\n",
            escaped(&study.name),
            escaped(&study.title)
        ));
        if !study.paper.is_empty() {
            body.push_str(&format!("<blockquote>The paper: {}</blockquote>\n", escaped(study.paper.trim())));
        }
        plots.iter().for_each(|plot| body.push_str(plot));
        body.push_str("<ul>\n");
        for Compared { text, found, holds } in compare(study, results) {
            let found = found.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.4}"));
            let (class, word) = if holds { ("holds", "as stated") } else { ("differs", "differs") };
            body.push_str(&format!("<li class=\"{class}\">{}: {word} ({found})</li>\n", escaped(&text)));
        }
        body.push_str("</ul>\n");
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Contention studies</title>\
         <style>{STYLE}</style></head><body>\n<h1>Contention studies</h1>\n{body}</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
