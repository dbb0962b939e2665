//! Aligned tables without borders, the same rows as JSON, and their names alone.

use comfy_table::{Cell as TableCell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde_json::Value;

/// What a cell's colour says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    /// Nothing in particular.
    Plain,
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Notable,
    /// Bad.
    Bad,
}

/// One cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

impl<T: std::fmt::Display> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.to_string(), tone: Tone::Plain }
    }
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    wide_only: bool,
    right: bool,
}

impl Column {
    /// A column of texts.
    pub(crate) const fn text(title: &'static str) -> Column {
        Column { title, wide_only: false, right: false }
    }

    /// A column of numbers, aligned to the right.
    pub(crate) const fn number(title: &'static str) -> Column {
        Column { title, wide_only: false, right: true }
    }

    /// The same column, shown only in wide tables.
    pub(crate) const fn wide(mut self) -> Column {
        self.wide_only = true;
        self
    }
}

/// One row in all its forms.
struct Row {
    name: String,
    cells: Vec<Cell>,
    json: Value,
}

/// A list of things to print.
pub(crate) struct Listing {
    columns: &'static [Column],
    rows: Vec<Row>,
}

impl Listing {
    /// An empty list.
    pub(crate) fn new(columns: &'static [Column]) -> Listing {
        Listing { columns, rows: Vec::new() }
    }

    /// Adds a row: its name, its cells (one per column), and itself as JSON.
    pub(crate) fn push(&mut self, name: impl Into<String>, cells: Vec<Cell>, json: Value) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(Row { name: name.into(), cells, json });
    }

    /// True without rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As a table.
    pub(crate) fn table(&self, wide: bool, colours: bool) -> String {
        let shown = |i: &usize| wide || !self.columns[*i].wide_only;
        let chosen: Vec<usize> = (0..self.columns.len()).filter(shown).collect();
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(chosen.iter().map(|i| self.columns[*i].title));
        for row in &self.rows {
            table.add_row(chosen.iter().map(|i| {
                let cell = &row.cells[*i];
                let shown = TableCell::new(&cell.text);
                match cell.tone {
                    Tone::Plain => shown,
                    Tone::Good => shown.fg(Color::Green),
                    Tone::Notable => shown.fg(Color::Yellow),
                    Tone::Bad => shown.fg(Color::Red),
                }
            }));
        }
        for (at, i) in chosen.iter().enumerate() {
            let Some(column) = table.column_mut(at) else { continue };
            column.set_padding((0, 2));
            if self.columns[*i].right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// As a JSON array.
    pub(crate) fn json(&self) -> Value {
        Value::Array(self.rows.iter().map(|r| r.json.clone()).collect())
    }

    /// One name per line.
    pub(crate) fn names(&self) -> String {
        self.rows.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// Lines of `label  value`, aligned.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 2;
    pairs.iter().map(|(label, value)| format!("{label:<width$}{value}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_wide_ones_left_out() {
        const COLUMNS: [Column; 3] =
            [Column::text("NAME"), Column::number("TASKS"), Column::text("ID").wide()];
        let mut listing = Listing::new(&COLUMNS);
        listing.push("web", vec!["web".into(), 7.into(), "j0".into()], serde_json::json!({"name": "web"}));
        listing.push("nightly", vec!["nightly".into(), 120.into(), "j1".into()], serde_json::json!({}));
        assert_eq!(listing.table(false, false), "NAME     TASKS\nweb          7\nnightly    120");
        assert_eq!(listing.table(true, false).lines().next(), Some("NAME     TASKS  ID"));
        assert_eq!(listing.names(), "web\nnightly");
    }
}
