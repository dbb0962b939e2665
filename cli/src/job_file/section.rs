//! Reading one table of a job file: known fields only, the right kind of value, and errors that name the path.

use std::ops::RangeInclusive;

use super::document::{Entry, Node, Value};
use super::{JobFileError, fields};

/// How alike a name must be to be offered as the one that was meant (0 to 1, Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// A table whose fields are all known.
pub(super) struct Section<'a> {
    /// The path people read, empty for the whole file.
    path: String,
    line: Option<u32>,
    entries: &'a [Entry],
}

/// A field that is there.
pub(super) struct Given<'a> {
    /// Its path.
    pub(super) path: String,
    /// Its value.
    pub(super) node: &'a Node,
}

impl<'a> Section<'a> {
    /// Opens the table at a node. `table` is its name in the table of fields.
    pub(super) fn open(path: String, node: &'a Node, table: &str) -> Result<Section<'a>, JobFileError> {
        let section = Section::open_any(path, node)?;
        match section.entries.iter().find(|e| !fields::known(table).any(|name| name == e.key)) {
            Some(entry) => Err(section.unknown(entry, table)),
            None => Ok(section),
        }
    }

    /// Opens a table whose fields are not in the table of fields: the caller checks them.
    pub(super) fn open_any(path: String, node: &'a Node) -> Result<Section<'a>, JobFileError> {
        let Value::Table(entries) = &node.value else {
            let given = Given { path, node };
            return Err(given.wrong("a table"));
        };
        Ok(Section { path, line: node.line, entries })
    }

    /// The complaint about a field that isn't known.
    pub(super) fn unknown(&self, entry: &Entry, table: &str) -> JobFileError {
        let name = entry.key.as_str();
        let likeness = |known: &&str| strsim::jaro_winkler(known, name);
        let nearest = fields::known(table).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let near = nearest.filter(|known| likeness(known) >= ALIKE);
        let way_out = match (near, fields::elsewhere(table, name)) {
            (_, Some("")) => "it belongs at the top of the file, before the first [[groups]]".to_owned(),
            (_, Some(other)) => format!("it belongs in {}", fields::header(other)),
            (Some(known), None) => format!("did you mean {known:?}?"),
            (None, None) => {
                format!("known here are {}", fields::known(table).collect::<Vec<_>>().join(", "))
            }
        };
        JobFileError {
            line: entry.line,
            field: self.path_of(name),
            problem: format!("unknown field; {way_out}"),
        }
    }

    /// The path of a field of this table.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// All fields, in the order of the text.
    pub(super) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// A field, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<Given<'a>> {
        let entry = self.entries.iter().find(|e| e.key == name)?;
        Some(Given { path: self.path_of(name), node: &entry.node })
    }

    /// A field that must be there; `way_out` is an example of it.
    pub(super) fn require(&self, name: &str, way_out: &str) -> Result<Given<'a>, JobFileError> {
        self.get(name).ok_or_else(|| JobFileError {
            line: self.line,
            field: self.path_of(name),
            problem: format!("missing; add {way_out}"),
        })
    }

    /// A text, or the default.
    pub(super) fn text(&self, name: &str, default: &str) -> Result<String, JobFileError> {
        self.get(name).map_or_else(|| Ok(default.to_owned()), |given| given.text().map(str::to_owned))
    }

    /// A whole number within a range, or the default.
    pub(super) fn whole(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
        default: i64,
    ) -> Result<i64, JobFileError> {
        self.get(name).map_or(Ok(default), |given| given.whole(range))
    }

    /// True or false, or the default.
    pub(super) fn truth(&self, name: &str, default: bool) -> Result<bool, JobFileError> {
        self.get(name).map_or(Ok(default), |given| match given.node.value {
            Value::Truth(truth) => Ok(truth),
            Value::Text(_)
            | Value::Number(_)
            | Value::Date(_)
            | Value::Nothing
            | Value::List(_)
            | Value::Table(_) => Err(given.wrong("true or false")),
        })
    }

    /// The items of a list, none when it isn't there.
    pub(super) fn list_of(&self, name: &str, of: &str) -> Result<Vec<Given<'a>>, JobFileError> {
        self.get(name).map_or_else(|| Ok(Vec::new()), |given| given.list(of))
    }
}

impl<'a> Given<'a> {
    /// An error about this field.
    pub(super) fn error(&self, problem: impl Into<String>) -> JobFileError {
        JobFileError { line: self.node.line, field: self.path.clone(), problem: problem.into() }
    }

    /// The error of a value of the wrong kind.
    pub(super) fn wrong(&self, expected: &str) -> JobFileError {
        self.error(format!("{} where {expected} belongs", self.shown()))
    }

    /// The value as an error message shows it.
    pub(super) fn shown(&self) -> String {
        match &self.node.value {
            Value::Text(text) => format!("{text:?}"),
            Value::Number(number) => number.clone(),
            Value::Truth(truth) => truth.to_string(),
            Value::Date(date) => format!("the date {date}"),
            Value::Nothing => "null".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'a str, JobFileError> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            Value::Number(_)
            | Value::Truth(_)
            | Value::Date(_)
            | Value::Nothing
            | Value::List(_)
            | Value::Table(_) => Err(self.wrong("a text in quotes")),
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, JobFileError> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.error(format!("{text:?} is not known; write {}", known.join(" or ")))
        })
    }

    /// A whole number within a range.
    pub(super) fn whole(&self, range: RangeInclusive<i64>) -> Result<i64, JobFileError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Value::Number(number) = &self.node.value else { return Err(self.wrong(&expected)) };
        match number.parse() {
            Ok(value) if range.contains(&value) => Ok(value),
            Err(_) if number.contains(['.', 'e', 'n']) => {
                Err(self.error(format!("{number} is not a whole number; write {expected}")))
            }
            Ok(_) | Err(_) => Err(self.error(format!("{number} is out of bounds; write {expected}"))),
        }
    }

    /// The items of a list.
    pub(super) fn list(&self, of: &str) -> Result<Vec<Given<'a>>, JobFileError> {
        let Value::List(items) = &self.node.value else { return Err(self.wrong(&format!("a list of {of}"))) };
        let item = |(i, node)| Given { path: format!("{}[{i}]", self.path), node };
        Ok(items.iter().enumerate().map(item).collect())
    }
}
