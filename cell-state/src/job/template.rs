//! Templates: `${NAME}` in a command, its arguments and the values of its environment, filled in on the machine.
//!
//! A name is one of the variables that the task finds in its environment, or `attr.KEY`, an attribute of its machine.
//! `$${` stands for `${`; any other `$` stands for itself, so that a shell's own `$NAME` needs no care. An unknown name
//! is refused when the job is submitted, and an attribute that is named is one that the machine must have.

use crate::bounds;
use crate::constraint::{Constraint, Test};
use crate::resources::Dimension;

use super::{Exec, GroupSpec};

/// What an attribute's name begins with.
pub const ATTRIBUTE: &str = "attr.";

/// Variables that every task has.
pub const VARIABLES: [&str; 8] = [
    "OHM_JOB",
    "OHM_GROUP",
    "OHM_INDEX",
    "OHM_COUNT",
    "OHM_TASK",
    "OHM_EPOCH",
    "OHM_MACHINE",
    "OHM_TASK_DIR",
];

/// The address of the machine: the variable, and the attribute it comes from.
pub const HOST: &str = "OHM_HOST";

/// The attribute that holds the address of a machine.
pub const ADDRESS: &str = crate::endpoint::ADDRESS_ATTRIBUTE;

/// Where its secrets are, where a task has any.
pub const SECRETS: &str = "OHM_SECRETS";

/// Its GPU devices, where a task has any.
pub const DEVICES: &str = "OHM_DEVICES";

/// What is wrong with a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// `${` without a `}` after it.
    Open,
    /// This name means nothing here.
    Unknown(String),
}

/// A piece of a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Takes a template apart.
fn pieces(template: &str) -> Result<Vec<Piece<'_>>, Malformed> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // Of `$${` the first `$` goes.
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        pieces.push(Piece::Text(&rest[..at]));
        let end = rest[at..].find('}').ok_or(Malformed::Open)?;
        pieces.push(Piece::Name(&rest[at + 2..at + end]));
        rest = &rest[at + end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// Fills a template in.
///
/// # Errors
/// It is malformed, or `value` doesn't know a name.
pub fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Malformed> {
    let mut filled = String::with_capacity(template.len());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Name(name) => {
                filled.push_str(&value(name).ok_or_else(|| Malformed::Unknown(name.to_owned()))?);
            }
        }
    }
    Ok(filled)
}

/// A name as the end of a variable's: capitals and digits, and `_` for the rest.
pub fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The variable that holds the number of a port.
pub fn port_variable(port: &str) -> String {
    format!("OHM_PORT_{}", variable(port))
}

/// The variables that a task of the group has, or can have.
pub fn known(group: &GroupSpec) -> Vec<String> {
    let mut known: Vec<String> = VARIABLES.iter().chain([&HOST]).map(|name| (*name).to_owned()).collect();
    if group.resources.get(Dimension::GPU) > 0 {
        known.push(DEVICES.to_owned());
    }
    if !group.data.secrets.is_empty() {
        known.push(SECRETS.to_owned());
    }
    known.extend(group.ports.iter().map(|port| port_variable(&port.name)));
    known
}

/// Every template of a command with the field it is written in.
fn templates(exec: &Exec) -> impl Iterator<Item = (String, &str)> {
    let args = exec.args.iter().enumerate().map(|(i, arg)| (format!("args[{i}]"), arg.as_str()));
    let env = exec.env.iter().map(|(key, value)| (format!("env.{key}"), value.as_str()));
    std::iter::once(("command".to_owned(), exec.command.as_str())).chain(args).chain(env)
}

/// Checks the templates of a command of a group.
///
/// # Errors
/// The field of the first that is wrong, and what is wrong with it.
pub(crate) fn check(group: &GroupSpec, exec: &Exec) -> Result<(), (String, String)> {
    let known = known(group);
    let is_attribute = |name: &str| {
        let key = name.strip_prefix(ATTRIBUTE);
        key.is_some_and(|key| !key.is_empty() && key.len() <= bounds::ATTRIBUTE_BYTES_MAX)
    };
    for (field, template) in templates(exec) {
        let checked = fill(template, |name| {
            (is_attribute(name) || known.iter().any(|known| known == name)).then(String::new)
        });
        let problem = match checked {
            Ok(_) => continue,
            Err(Malformed::Open) => "a ${ has no } after it; write $${ where ${ itself is meant".to_owned(),
            Err(Malformed::Unknown(name)) => format!(
                "${{{name}}} is not known; known here are {} and attr.KEY of the machine; \
                 write $${{ where ${{ itself is meant",
                known.join(", ")
            ),
        };
        return Err((field, problem));
    }
    Ok(())
}

/// What a machine must have so that the templates of a command can be filled in there.
pub(crate) fn conditions(exec: &Exec) -> Vec<Constraint> {
    let mut conditions: Vec<Constraint> = Vec::new();
    for (_, template) in templates(exec) {
        for piece in pieces(template).unwrap_or_default() {
            let attribute = match piece {
                Piece::Text(_) => continue,
                Piece::Name(HOST) => ADDRESS,
                Piece::Name(name) => match name.strip_prefix(ATTRIBUTE) {
                    Some(key) => key,
                    None => continue,
                },
            };
            let condition = Constraint { attribute: attribute.to_owned(), test: Test::Exists };
            if !conditions.contains(&condition) {
                conditions.push(condition);
            }
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_every_other_dollar_stays() {
        let value = |name: &str| (name == "OHM_PORT_WEB").then(|| "8080".to_owned());
        let unknown = |name: &str| Err(Malformed::Unknown(name.to_owned()));
        let table = [
            ("", Ok("")),
            ("no name", Ok("no name")),
            ("http://h:${OHM_PORT_WEB}/", Ok("http://h:8080/")),
            ("${OHM_PORT_WEB}${OHM_PORT_WEB}", Ok("80808080")),
            ("$OHM_PORT_WEB costs $5 $", Ok("$OHM_PORT_WEB costs $5 $")),
            ("pid $$", Ok("pid $$")),
            ("$${HOME}", Ok("${HOME}")),
            ("$$${HOME}", Ok("$${HOME}")),
            ("$${A}${OHM_PORT_WEB}", Ok("${A}8080")),
            ("${OHM_PORT_WEB", Err(Malformed::Open)),
            ("${}", unknown("")),
            ("${HOME}", unknown("HOME")),
            ("é${OHM_PORT_WEB}é", Ok("é8080é")),
        ];
        for (template, expected) in table {
            assert_eq!(fill(template, value), expected.map(str::to_owned), "{template}");
        }
    }
}
