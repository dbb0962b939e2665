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
    /// What was expected, as a range.
    pub expected: String,
    /// What was measured, with its deviation: nothing if no such point was run.
    pub found: Option<(f64, f64)>,
    /// Whether that is as stated.
    pub holds: bool,
    /// Why it isn't, if that is known.
    pub why: String,
}

/// Compares the statements of a study with what was measured.
pub fn compare(study: &Study, results: &Results) -> Vec<Compared> {
    let one = |check: &Check| {
        let found = results.at(&check.series, &check.at, &check.class, &check.metric);
        let holds = found.is_some_and(|(value, _)| {
            check.min.is_none_or(|min| value >= min) && check.max.is_none_or(|max| value <= max)
        });
        let expected = match (check.min, check.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "anything".to_owned(),
        };
        let expected = format!("{} {expected}", check.metric);
        Compared { text: check.text.clone(), expected, found, holds, why: check.why.clone() }
    };
    study.check.iter().map(one).collect()
}

const STYLE: &str = "body{font:15px/1.55 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222}\
svg{max-width:100%;height:auto;display:block;margin:1em 0}h2{margin-top:2.5em;border-top:1px solid #ddd;padding-top:1em}\
blockquote{color:#555;border-left:3px solid #ccc;margin-left:0;padding-left:1em}\
table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:.35em .6em;border-bottom:1px solid #e4e4e4;vertical-align:top}\
.differs{color:#b00}.holds{color:#070}.unknown{color:#777}nav li{margin:.1em 0}";

/// The page.
pub fn html(reported: &[Reported<'_>]) -> String {
    let mut contents = String::new();
    let mut body = String::new();
    let (mut all, mut held, mut measured) = (0, 0, 0);
    for Reported { study, results, plots } in reported {
        let compared = compare(study, results);
        all += compared.len();
        held += compared.iter().filter(|c| c.holds).count();
        measured += compared.iter().filter(|c| c.found.is_some()).count();
        let (name, title) = (escaped(&study.name), escaped(&study.title));
        contents.push_str(&format!("<li><a href=\"#{name}\">{name}</a>: {title}</li>\n"));
        body.push_str(&format!("<section id=\"{name}\">\n<h2>{name}: {title}</h2>\n"));
        if !study.paper.is_empty() {
            body.push_str(&format!("<blockquote>The paper: {}</blockquote>\n", escaped(study.paper.trim())));
        }
        if !study.finding.is_empty() {
            body.push_str(&format!("<p><b>Found:</b> {}</p>\n", escaped(study.finding.trim())));
        }
        for left_out in &results.left_out {
            body.push_str(&format!("<p class=\"unknown\">Left out: {}</p>\n", escaped(left_out)));
        }
        plots.iter().for_each(|plot| body.push_str(plot));
        body.push_str(&table(study, &compared));
        body.push_str("</section>\n");
    }
    let differ = measured - held;
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Contention studies</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>Contention studies</h1>\n<p>{all} statements: {held} came out as stated, {differ} differ, {} were not \
         measured. Plots show medians over the seeds, with bars of the median absolute deviation.</p>\n\
         <nav><ul>\n{contents}</ul></nav>\n{body}</body></html>\n",
        all - measured
    )
}

/// What is stated beside what came out.
fn table(study: &Study, compared: &[Compared]) -> String {
    if compared.is_empty() {
        return String::new();
    }
    let said = if study.paper.is_empty() { "Expected" } else { "The paper states" };
    let mut table = format!("<table><tr><th>{said}</th><th>As a number</th><th>We got</th><th></th></tr>\n");
    for Compared { text, expected, found, holds, why } in compared {
        let (class, word) = match (holds, found) {
            (true, _) => ("holds", "as stated"),
            (false, Some(_)) => ("differs", "differs"),
            (false, None) => ("unknown", "not measured"),
        };
        let found = found.map_or_else(String::new, |(middle, off)| match off > 0.0 {
            true => format!("{middle:.4} ± {off:.4}"),
            false => format!("{middle:.4}"),
        });
        let why = if *holds || why.is_empty() { String::new() } else { format!(": {}", escaped(why)) };
        let (text, expected) = (escaped(text), escaped(expected));
        table.push_str(&format!(
            "<tr><td>{text}</td><td>{expected}</td><td>{found}</td><td class=\"{class}\">{word}{why}</td></tr>\n"
        ));
    }
    table.push_str("</table>\n");
    table
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
