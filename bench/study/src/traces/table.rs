//! A table of the generic format: columns by name in any order, and every mistake told, not only the first.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use crate::bounds::{PROBLEMS_MAX, ROWS_MAX};
use crate::rows;

/// A mistake in a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1, if it is one field's fault.
    pub column: Option<usize>,
    /// The column's name.
    pub field: Option<String>,
    /// What the field holds.
    pub value: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
            if let Some(field) = &self.field {
                write!(f, " ({field})")?;
            }
        }
        write!(f, ": ")?;
        if let Some(value) = &self.value {
            write!(f, "{value:?} ")?;
        }
        write!(f, "{}; {}", self.problem, self.way_out)
    }
}

/// The mistakes found so far: the first ones in full, the others counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems {
    /// The first ones.
    pub told: Vec<Problem>,
    /// All of them.
    pub count: u64,
}

impl Problems {
    pub(super) fn add(&mut self, problem: Problem) {
        self.count += 1;
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(problem);
        }
    }
}

/// A column of a table.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Whether the table must have it.
    pub(super) required: bool,
    /// What it holds, as an order to whoever writes it.
    pub(super) holds: &'static str,
}

pub(super) const fn field(name: &'static str, required: bool, holds: &'static str) -> Field {
    Field { name, required, holds }
}

/// The rows of a table.
pub(super) struct Table<'a> {
    file: String,
    fields: &'static [Field],
    /// Where each field is in a row.
    at: Vec<Option<usize>>,
    reader: csv::Reader<Box<dyn std::io::Read>>,
    row: csv::StringRecord,
    width: usize,
    rows: u64,
    problems: &'a mut Problems,
}

impl<'a> Table<'a> {
    /// Opens a table; `None` when that isn't possible, and the reason is among the problems.
    pub(super) fn open(
        path: &Path,
        fields: &'static [Field],
        problems: &'a mut Problems,
    ) -> Option<Table<'a>> {
        let file = path.display().to_string();
        let bytes = match rows::unpacked(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let way_out = "check the path and its permissions".to_owned();
                let problem = format!("can't be opened: {error}");
                problems.add(Problem {
                    file,
                    line: 0,
                    column: None,
                    field: None,
                    value: None,
                    problem,
                    way_out,
                });
                return None;
            }
        };
        let reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let row = csv::StringRecord::new();
        let mut table = Table { file, fields, at: Vec::new(), reader, row, width: 0, rows: 0, problems };
        table.read_header().then_some(table)
    }

    fn read_header(&mut self) -> bool {
        let header = match self.reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => {
                self.whole(
                    1,
                    format!("can't be read: {error}"),
                    "write the names of the columns into line 1",
                );
                return false;
            }
        };
        self.width = header.len();
        let known: Vec<&str> = self.fields.iter().map(|f| f.name).collect();
        let mut sound = true;
        for (i, name) in header.iter().enumerate() {
            let again = header.iter().take(i).any(|earlier| earlier == name);
            if !known.contains(&name) || again {
                let problem = if again { "is a column twice" } else { "is no column of this table" };
                let way_out = format!("leave it out; the columns are {}", known.join(", "));
                self.problems.add(Problem {
                    file: self.file.clone(),
                    line: 1,
                    column: Some(i + 1),
                    field: None,
                    value: Some(rows::clip(name).to_owned()),
                    problem: problem.to_owned(),
                    way_out,
                });
                sound = false;
            }
        }
        for field in self.fields.iter().filter(|f| f.required) {
            if !header.iter().any(|name| name == field.name) {
                self.whole(
                    1,
                    format!("the column {} is missing", field.name),
                    &format!("add it: {}", field.holds),
                );
                sound = false;
            }
        }
        let position = |f: &Field| header.iter().position(|name| name == f.name);
        self.at = self.fields.iter().map(position).collect();
        sound
    }

    /// Goes to the next row with the right number of fields; false at the end.
    pub(super) fn next(&mut self) -> bool {
        loop {
            match self.reader.read_record(&mut self.row) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    let line = self.reader.position().line();
                    self.whole(
                        line,
                        format!("can't be read on: {error}"),
                        "repair the file, and check it again",
                    );
                    return false;
                }
            }
            self.rows += 1;
            if self.rows > ROWS_MAX {
                self.whole(
                    self.line(),
                    format!("more than {ROWS_MAX} rows, the bound"),
                    "split the scenario",
                );
                return false;
            }
            if self.row.len() == self.width {
                return true;
            }
            let problem = format!("{} fields, where the header has {}", self.row.len(), self.width);
            self.whole(self.line(), problem, "add or remove commas, and put quotes around text with commas");
        }
    }

    /// A field as text; empty when the table has no such column.
    pub(super) fn text(&self, field: usize) -> &str {
        self.at[field].map_or("", |at| &self.row[at])
    }

    /// A field as a number; `None` and a problem when it is none.
    pub(super) fn number<T: FromStr>(&mut self, field: usize) -> Option<T> {
        let number = self.text(field).parse().ok();
        if number.is_none() {
            self.wrong(field, "is not a whole number in range");
        }
        number
    }

    /// A field as a number, or `default` when it is empty.
    pub(super) fn number_or<T: FromStr>(&mut self, field: usize, default: T) -> Option<T> {
        if self.text(field).is_empty() { Some(default) } else { self.number(field) }
    }

    /// A field as a number, or nothing when it is empty.
    pub(super) fn optional<T: FromStr>(&mut self, field: usize) -> Option<Option<T>> {
        if self.text(field).is_empty() { Some(None) } else { self.number(field).map(Some) }
    }

    /// A field as 0 or 1; empty is 0.
    pub(super) fn flag(&mut self, field: usize) -> Option<bool> {
        match self.text(field) {
            "" | "0" => Some(false),
            "1" => Some(true),
            _ => {
                self.wrong(field, "is neither 0 nor 1");
                None
            }
        }
    }

    /// Says that a field is wrong; the way out is what the field holds.
    pub(super) fn wrong(&mut self, field: usize, problem: &str) {
        self.wrong_because(field, problem, self.fields[field].holds);
    }

    /// Says that a field is wrong, and what to do.
    pub(super) fn wrong_because(&mut self, field: usize, problem: &str, way_out: &str) {
        let problem = Problem {
            file: self.file.clone(),
            line: self.line(),
            column: self.at[field].map(|at| at + 1),
            field: Some(self.fields[field].name.to_owned()),
            value: Some(rows::clip(self.text(field)).to_owned()),
            problem: problem.to_owned(),
            way_out: way_out.to_owned(),
        };
        self.problems.add(problem);
    }

    /// Says that something is wrong with a line.
    fn whole(&mut self, line: u64, problem: String, way_out: &str) {
        let (file, way_out) = (self.file.clone(), way_out.to_owned());
        self.problems.add(Problem { file, line, column: None, field: None, value: None, problem, way_out });
    }

    /// The line of this row.
    pub(super) fn line(&self) -> u64 {
        self.row.position().map_or(0, csv::Position::line)
    }
}
