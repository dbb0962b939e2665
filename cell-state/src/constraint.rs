//! Constraints on machine attributes: what a job file says, and the compiled form the fit rule evaluates.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::bounds::REGEX_BYTES_MAX;

/// One condition on one machine attribute. A machine without the attribute fails every condition but `NotEqual`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Constraint {
    /// The attribute's key. `name` means the machine's own name.
    pub attribute: String,
    /// The condition on its value.
    pub test: Test,
}

/// A condition on an attribute's value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Test {
    /// The value is exactly this.
    Equal(String),
    /// The value is anything else, or absent.
    NotEqual(String),
    /// The value is one of these.
    In(Vec<String>),
    /// Both are integers and the machine's is smaller.
    Less(i64),
    /// Both are integers and the machine's is larger.
    Greater(i64),
    /// The attribute is there, whatever its value.
    Exists,
    /// The regular expression matches somewhere in the value.
    Regex(String),
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.attribute;
        match &self.test {
            Test::Equal(v) => write!(f, "{key} = {v}"),
            Test::NotEqual(v) => write!(f, "{key} != {v}"),
            Test::In(vs) => write!(f, "{key} in [{}]", vs.join(", ")),
            Test::Less(n) => write!(f, "{key} < {n}"),
            Test::Greater(n) => write!(f, "{key} > {n}"),
            Test::Exists => write!(f, "{key} exists"),
            Test::Regex(r) => write!(f, "{key} ~ {r}"),
        }
    }
}

/// A constraint ready to be evaluated: its regular expression, if it has one, is compiled.
#[derive(Clone, Debug)]
pub struct Matcher {
    constraint: Constraint,
    regex: Option<Regex>,
}

impl Matcher {
    /// Compiles a constraint.
    ///
    /// # Errors
    /// The regular expression's own complaint, when it doesn't parse or grows beyond its bound.
    pub fn compile(constraint: &Constraint) -> Result<Matcher, regex::Error> {
        let regex = match &constraint.test {
            Test::Regex(pattern) => Some(RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()?),
            Test::Equal(_)
            | Test::NotEqual(_)
            | Test::In(_)
            | Test::Less(_)
            | Test::Greater(_)
            | Test::Exists => None,
        };
        Ok(Matcher { constraint: constraint.clone(), regex })
    }

    /// What was compiled.
    pub fn constraint(&self) -> &Constraint {
        &self.constraint
    }

    /// Whether a machine of this name and these attributes satisfies the constraint.
    pub fn matches(&self, name: &str, attributes: &BTreeMap<String, String>) -> bool {
        let key = self.constraint.attribute.as_str();
        let value = if key == "name" { Some(name) } else { attributes.get(key).map(String::as_str) };
        let Some(value) = value else {
            return matches!(self.constraint.test, Test::NotEqual(_));
        };
        match &self.constraint.test {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::In(values) => values.iter().any(|v| v == value),
            Test::Less(bound) => value.parse::<i64>().is_ok_and(|n| n < *bound),
            Test::Greater(bound) => value.parse::<i64>().is_ok_and(|n| n > *bound),
            Test::Exists => true,
            Test::Regex(_) => self.regex.as_ref().is_some_and(|r| r.is_match(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_on_present_absent_and_odd_values() {
        let attributes = BTreeMap::from([
            ("zone".to_owned(), "eu-1".to_owned()),
            ("kernel".to_owned(), "612".to_owned()),
            ("odd".to_owned(), "six".to_owned()),
        ]);
        let table = [
            ("zone", Test::Equal("eu-1".into()), true),
            ("zone", Test::Equal("eu-2".into()), false),
            ("none", Test::Equal("eu-1".into()), false),
            ("zone", Test::NotEqual("eu-1".into()), false),
            ("none", Test::NotEqual("eu-1".into()), true),
            ("zone", Test::In(vec!["us-1".into(), "eu-1".into()]), true),
            ("zone", Test::In(vec![]), false),
            ("kernel", Test::Less(613), true),
            ("kernel", Test::Less(612), false),
            ("kernel", Test::Greater(611), true),
            ("odd", Test::Greater(0), false),
            ("odd", Test::Exists, true),
            ("none", Test::Exists, false),
            ("zone", Test::Regex("^eu-[0-9]$".into()), true),
            ("zone", Test::Regex("^us".into()), false),
            ("name", Test::Equal("m7".into()), true),
        ];
        for (attribute, test, expected) in table {
            let constraint = Constraint { attribute: attribute.into(), test };
            let matcher = Matcher::compile(&constraint).unwrap();
            assert_eq!(matcher.matches("m7", &attributes), expected, "{constraint}");
        }
    }

    #[test]
    fn a_pattern_beyond_the_bound_is_refused() {
        let huge = Constraint { attribute: "a".into(), test: Test::Regex("(a{1000}){1000}".into()) };
        assert!(Matcher::compile(&huge).is_err());
    }
}
