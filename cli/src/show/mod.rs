//! How results are shown: tables for people, JSON for programs, names for pipes. Results go to standard output.

pub(crate) mod json;
pub(crate) mod rows;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod usage;
pub(crate) mod why;

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::typed::connect::Format;

pub(crate) use table::{Cell, Column, Listing, Tone};

/// Prints a listing in the wanted format.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn listing(listing: &Listing, format: Format) -> Result<(), Failure> {
    let text = match format {
        // A table of nothing has no head either.
        Format::Table | Format::Wide if listing.is_empty() => String::new(),
        Format::Table => listing.table(false, colours()),
        Format::Wide => listing.table(true, colours()),
        Format::Json => pretty(&listing.json()),
        Format::Name => listing.names(),
    };
    print(&text)
}

/// Prints one thing: JSON, its name, or the text made for people.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn one(
    format: Format,
    name: &str,
    json: &Value,
    text: impl FnOnce(bool) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Table => print(&text(false)),
        Format::Wide => print(&text(true)),
        Format::Json => print(&pretty(json)),
        Format::Name => print(name),
    }
}

/// Prints a text and ends its line.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.trim_end_matches('\n').as_bytes())?;
    if !text.is_empty() {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Says something that is no result: to standard error.
pub(crate) fn say(text: &str) {
    // Nobody listens when standard error is closed, and there is nowhere to say so.
    writeln!(std::io::stderr(), "{text}").ok();
}

/// JSON, indented.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value serializes")
}

/// Whether results may be coloured: only on a terminal, and never against NO_COLOR.
pub(crate) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    !unwanted && !dumb && std::io::stdout().is_terminal()
}
