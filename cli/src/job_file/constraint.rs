//! Constraints as people write them: `zone = eu-1`, `kernel > 500`, `rack in [r1, r2]`, `name ~ ^web`, `gpu exists`.

use cell_state::constraint::{Constraint, Matcher, Test};

/// What to write instead.
const WAY_OUT: &str = "write ATTRIBUTE = VALUE, != VALUE, < NUMBER, > NUMBER, ~ REGEX, in [A, B] or exists";

/// Parses one constraint.
///
/// # Errors
/// What is wrong, with the way out.
pub(super) fn parse(text: &str) -> Result<Constraint, String> {
    let trimmed = text.trim();
    let key_end = trimmed.find(|c: char| c.is_whitespace() || "=!<>~".contains(c)).unwrap_or(trimmed.len());
    let (key, rest) = trimmed.split_at(key_end);
    if key.is_empty() {
        return Err(format!("{text:?} names no attribute; {WAY_OUT}"));
    }
    let test = test(text, rest.trim())?;
    let constraint = Constraint { attribute: key.to_owned(), test };
    if let Err(error) = Matcher::compile(&constraint) {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or("it doesn't parse").trim_start_matches("error: ");
        return Err(format!("{text:?} has a wrong regular expression: {last}"));
    }
    Ok(constraint)
}

fn test(text: &str, rest: &str) -> Result<Test, String> {
    if rest == "exists" {
        return Ok(Test::Exists);
    }
    if let Some(list) = rest.strip_prefix("in").filter(|l| l.starts_with([' ', '['])) {
        return values(text, list.trim()).map(Test::In);
    }
    if rest.starts_with("<=") || rest.starts_with(">=") {
        let better =
            if rest.starts_with('<') { "< with the next higher number" } else { "> with the next lower one" };
        return Err(format!("{text:?} has an unknown comparison; use {better}"));
    }
    if let Some(value) = rest.strip_prefix("!=") {
        return value_of(text, value).map(Test::NotEqual);
    }
    if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        return value_of(text, value).map(Test::Equal);
    }
    if let Some(value) = rest.strip_prefix('<') {
        return number(text, value).map(Test::Less);
    }
    if let Some(value) = rest.strip_prefix('>') {
        return number(text, value).map(Test::Greater);
    }
    if let Some(value) = rest.strip_prefix('~') {
        return value_of(text, value).map(Test::Regex);
    }
    Err(format!("{text:?} is not a constraint; {WAY_OUT}"))
}

fn value_of(text: &str, value: &str) -> Result<String, String> {
    let value = unquoted(value);
    if value.is_empty() { Err(format!("{text:?} names no value; {WAY_OUT}")) } else { Ok(value.to_owned()) }
}

fn number(text: &str, value: &str) -> Result<i64, String> {
    let value = unquoted(value);
    value.parse().map_err(|_| format!("{text:?} compares with {value:?}; < and > need a whole number"))
}

fn values(text: &str, list: &str) -> Result<Vec<String>, String> {
    let inner = list.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("{text:?} lists no values; write in [A, B]"))?;
    let values: Vec<String> = inner.split(',').map(|v| unquoted(v).to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err(format!("{text:?} lists an empty value; write in [A, B]"));
    }
    Ok(values)
}

/// A value without surrounding blanks and one pair of quotes.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let within = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        for text in [
            "zone = eu-1",
            "zone != eu-1",
            "kernel > 500",
            "kernel < -3",
            "gpu_model exists",
            "rack in [r1, r2]",
            "name ~ ^web-[0-9]+$",
            "note = two words",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn blanks_and_quotes_do_not_matter() {
        for (text, same) in [
            ("zone=eu-1", "zone = eu-1"),
            ("zone == \"eu-1\"", "zone = eu-1"),
            ("rack in ['r1','r2' ]", "rack in [r1, r2]"),
            ("rack in[r1]", "rack in [r1]"),
            ("  kernel>500 ", "kernel > 500"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), same);
        }
    }
}
