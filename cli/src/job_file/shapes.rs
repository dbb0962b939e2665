//! Shapes of simulated machines: the file that `ohm agent --simulate N --shapes FILE` reads, in the syntax and units
//! of job files.

use std::collections::BTreeMap;

use cell_state::Dimension;
use cell_state::bounds::MACHINES_MAX;
use cell_state::resources::Resources as Vector;

use super::JobFileError;
use super::convert::written;
use super::document::Document;
use super::section::{Given, Section};
use super::units;

/// One shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// How many machines have it.
    pub(crate) count: u32,
    /// What each has.
    pub(crate) capacity: Vector,
    /// What each says of itself.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// The fields of a shape that are amounts.
const AMOUNTS: [(&str, Dimension); 5] = [
    ("cpu", Dimension::CPU),
    ("memory", Dimension::MEMORY),
    ("disk", Dimension::DISK),
    ("gpu", Dimension::GPU),
    ("net", Dimension::NET),
];

/// Turns a document into shapes.
///
/// # Errors
/// The first thing wrong with it.
pub(crate) fn shapes(document: &Document) -> Result<Vec<Shape>, JobFileError> {
    let top = Section::open(String::new(), document.root(), "shapes file")?;
    let given = top.require("shapes", "a [[shapes]] table with count, cpu and memory")?;
    let items = given.list("tables ([[shapes]])")?;
    if items.is_empty() {
        return Err(given.error("an empty list; add a [[shapes]] table with count, cpu and memory"));
    }
    items.iter().map(shape).collect()
}

fn shape(given: &Given<'_>) -> Result<Shape, JobFileError> {
    let section = Section::open(given.path.clone(), given.node, "shapes[]")?;
    let count = section.require("count", "count = 100")?.whole(1..=MACHINES_MAX as i64)?;
    section.require("cpu", "cpu = 32")?;
    section.require("memory", "memory = \"128 GiB\"")?;
    let mut capacity = Vector::ZERO;
    for (name, dimension) in AMOUNTS {
        let Some(field) = section.get(name) else { continue };
        let amount = units::amount(dimension, written(&field, "an amount")?);
        let amount = amount.map_err(|problem| field.error(problem))?;
        if dimension == Dimension::GPU && !amount.is_multiple_of(1_000) {
            return Err(field.error(format!("{} is not a whole number of devices", field.shown())));
        }
        capacity = capacity.with(dimension, amount);
    }
    let mut attributes = BTreeMap::new();
    if let Some(table) = section.get("attributes") {
        let table = Section::open_any(table.path, table.node)?;
        for entry in table.entries() {
            let field = Given { path: table.path_of(&entry.key), node: &entry.node };
            attributes.insert(entry.key.clone(), field.text()?.to_owned());
        }
    }
    Ok(Shape { count: count as u32, capacity, attributes })
}
