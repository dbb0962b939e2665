//! Conditions on machine attributes as text: `zone=eu`, `zone!=eu`, `zone in eu|us`, `kernel<612`, `kernel>612`,
//! `gpu exists`, `zone~^eu`.

use cell_state::constraint::{Constraint, Matcher, Test};

/// Reads a condition.
///
/// # Errors
/// What is wrong with it, and what one looks like.
pub fn condition(text: &str) -> Result<Constraint, String> {
    let test = |attribute: &str, test: Test| Constraint { attribute: attribute.trim().to_owned(), test };
    let value = |text: &str| text.trim().to_owned();
    let number = |text: &str| {
        text.trim().parse::<i64>().map_err(|_| format!("{:?} is not a whole number", text.trim()))
    };
    let constraint = if let Some(attribute) = text.trim_end().strip_suffix(" exists") {
        test(attribute, Test::Exists)
    } else if let Some((attribute, values)) = before(text, " in ") {
        test(attribute, Test::In(values.split('|').map(value).collect()))
    } else if let Some((attribute, unwanted)) = before(text, "!=") {
        test(attribute, Test::NotEqual(value(unwanted)))
    } else {
        let at = text.find(['=', '<', '>', '~']).ok_or_else(|| {
            "it has no test; write one like zone=eu, zone in eu|us, kernel>612 or ssd exists".to_owned()
        })?;
        let (attribute, rest) = text.split_at(at);
        match rest.split_at(1) {
            ("=", wanted) => test(attribute, Test::Equal(value(wanted))),
            ("<", bound) => test(attribute, Test::Less(number(bound)?)),
            (">", bound) => test(attribute, Test::Greater(number(bound)?)),
            (_, pattern) => test(attribute, Test::Regex(value(pattern))),
        }
    };
    if constraint.attribute.is_empty() {
        return Err("it names no attribute; write one like zone=eu".to_owned());
    }
    Matcher::compile(&constraint).map_err(|e| format!("its pattern can't be used: {e}"))?;
    Ok(constraint)
}

/// The text of a condition, as [`condition`] reads it.
pub fn shown(constraint: &Constraint) -> String {
    let key = &constraint.attribute;
    match &constraint.test {
        Test::Equal(value) => format!("{key}={value}"),
        Test::NotEqual(value) => format!("{key}!={value}"),
        Test::In(values) => format!("{key} in {}", values.join("|")),
        Test::Less(bound) => format!("{key}<{bound}"),
        Test::Greater(bound) => format!("{key}>{bound}"),
        Test::Exists => format!("{key} exists"),
        Test::Regex(pattern) => format!("{key}~{pattern}"),
    }
}

/// The two sides of a word, if it comes before every sign that a value may hold too.
fn before<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let at = text.find(word)?;
    let earlier = text[..at].contains(['=', '<', '>', '~']);
    (!earlier).then(|| (&text[..at], &text[at + word.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_they_are_written() {
        let table = [
            ("zone=eu", Test::Equal("eu".into())),
            ("zone=a in b!=c", Test::Equal("a in b!=c".into())),
            ("zone!=eu", Test::NotEqual("eu".into())),
            ("zone in eu|us", Test::In(vec!["eu".into(), "us".into()])),
            ("zone<6", Test::Less(6)),
            ("zone>-6", Test::Greater(-6)),
            ("zone exists", Test::Exists),
            ("zone~^eu=[0-9]", Test::Regex("^eu=[0-9]".into())),
        ];
        for (text, test) in table {
            let constraint = Constraint { attribute: "zone".into(), test };
            assert_eq!(condition(text), Ok(constraint.clone()), "{text}");
            assert_eq!(shown(&constraint), text);
        }
        assert_eq!(condition(" zone = eu ").map(|c| shown(&c)), Ok("zone=eu".to_owned()));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_an_example() {
        for (text, problem) in [
            ("zone", "it has no test"),
            ("=eu", "it names no attribute"),
            ("a<x", "\"x\" is not a whole number"),
            ("a~(", "its pattern can't be used"),
        ] {
            let error = condition(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
