//! The text of a job file as nodes: TOML and JSON look the same from here on, and each node knows its line.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::de::{DeInteger, DeTable, DeValue};

use super::JobFileError;

/// The syntax of a job file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Syntax {
    /// The default.
    Toml,
    /// Files named `*.json`, and texts that begin with `{`.
    Json,
}

impl Syntax {
    /// The syntax of a text, given the name of the file it came from.
    pub(crate) fn of(name: &str, text: &str) -> Syntax {
        if name.ends_with(".json") || text.trim_start().starts_with('{') {
            Syntax::Json
        } else {
            Syntax::Toml
        }
    }
}

/// A parsed job file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Document {
    root: Node,
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) line: Option<u32>,
    pub(super) value: Value,
}

/// A value. Numbers stay text so that no digit is lost on the way to integers.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Text(String),
    Number(String),
    Truth(bool),
    Date(String),
    Nothing,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A field of a table, in the order of the text.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: Option<u32>,
    pub(super) node: Node,
}

impl Document {
    /// Parses a text.
    ///
    /// # Errors
    /// It is no TOML or JSON.
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Document, JobFileError> {
        let root = match syntax {
            Syntax::Toml => parse_toml(text)?,
            Syntax::Json => {
                serde_json::from_str(text).map_err(|e| broken(Some(e.line()), "JSON", &bare(&e)))?
            }
        };
        Ok(Document { root })
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// The line of the field of that path (`groups[0].count`), or of the nearest field around it.
    pub(super) fn line_of(&self, path: &str) -> Option<u32> {
        let mut node = &self.root;
        let mut line = None;
        for step in path.split(['.', '[']) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::List(items), Some(index)) => index.parse().ok().and_then(|i: usize| items.get(i)),
                (Value::Table(entries), None) => entries.iter().find(|e| e.key == step).map(|e| {
                    line = e.line;
                    &e.node
                }),
                _ => None,
            };
            let Some(next) = next else { break };
            line = next.line.or(line);
            node = next;
        }
        line
    }
}

fn broken(line: Option<usize>, syntax: &str, reason: &str) -> JobFileError {
    let line = line.and_then(|l| u32::try_from(l).ok());
    JobFileError { line, field: String::new(), problem: format!("not valid {syntax}: {reason}") }
}

/// The complaint of serde_json without the position, which is told apart.
fn bare(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    whole.split(" at line ").next().unwrap_or(&whole).to_owned()
}

fn parse_toml(text: &str) -> Result<Node, JobFileError> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|e| {
        let line = e.span().and_then(|s| lines.at(s.start)).map(|l| l as usize);
        broken(line, "TOML", &e.message().replace('\n', ", "))
    })?;
    Ok(Node { line: None, value: Value::Table(lines.entries(table.get_ref())) })
}

/// Where each line of a text starts.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Lines {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// The line of a byte, from 1.
    fn at(&self, byte: usize) -> Option<u32> {
        u32::try_from(self.starts.partition_point(|start| *start <= byte)).ok()
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut in_order: Vec<_> = table.iter().collect();
        in_order.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let line = self.at(key.span().start);
            let node = Node { line, value: self.value(value.get_ref()) };
            Entry { key: AsRef::<str>::as_ref(key.get_ref()).to_owned(), line, node }
        };
        in_order.into_iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => Value::Number(integer(number)),
            DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
            DeValue::Boolean(truth) => Value::Truth(*truth),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => {
                let node = |item: &toml::Spanned<DeValue<'_>>| Node {
                    line: self.at(item.span().start),
                    value: self.value(item.get_ref()),
                };
                Value::List(items.iter().map(node).collect())
            }
            DeValue::Table(table) => Value::Table(self.entries(table)),
        }
    }
}

/// The decimal digits of a TOML integer, which may be written in hexadecimal, octal or binary.
fn integer(number: &DeInteger<'_>) -> String {
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(value) => value.to_string(),
        Err(_) => number.as_str().to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let value = deserializer.deserialize_any(JsonVisitor)?;
        Ok(Node { line: None, value })
    }
}

/// Reads JSON; unlike `serde_json::Value` it refuses a field given twice.
struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = items.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((key, node)) = fields.next_entry::<String, Node>()? {
            if entries.iter().any(|e| e.key == key) {
                return Err(de::Error::custom(format!("{key:?} is given twice")));
            }
            entries.push(Entry { key, line: None, node });
        }
        Ok(Value::Table(entries))
    }
}
