//! Lists in one field: parts with `;` between them. A backslash keeps the character after it as it is.

/// The parts of a field.
pub(super) fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => part.extend(characters.next()),
            ';' => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// A field of these parts.
pub(super) fn joined(parts: impl IntoIterator<Item = String>) -> String {
    let escaped = |part: String| part.replace('\\', "\\\\").replace(';', "\\;");
    parts.into_iter().map(escaped).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_written() {
        for list in [vec![], vec!["a=b"], vec!["a=b", "c~x;y\\d"], vec!["\\", ";"]] {
            let list: Vec<String> = list.into_iter().map(str::to_owned).collect();
            assert_eq!(parts(&joined(list.clone())), list);
        }
        assert_eq!(parts("a;;b; "), ["a", "b"]);
    }
}
