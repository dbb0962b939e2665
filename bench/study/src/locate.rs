//! Where in a TOML file a mistake is: in a study, or in a model.

use toml::de::{DeTable, DeValue};

/// A step down into a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The entry of this name.
    Named(String),
    /// The entry at this position.
    At(usize),
}

/// The entry of this name.
pub(crate) fn key(name: &str) -> Key {
    Key::Named(name.to_owned())
}

/// The place of a field that is written like `classes[0].cpu`.
pub(crate) fn path(field: &str) -> Vec<Key> {
    let step = |part: &str| {
        let (name, at) = part.split_once('[').unwrap_or((part, ""));
        let at = at.strip_suffix(']').and_then(|at| at.parse().ok()).map(Key::At);
        std::iter::once(key(name)).chain(at).collect::<Vec<Key>>()
    };
    field.split('.').flat_map(step).collect()
}

/// A mistake and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mistake {
    /// From the top of the file.
    pub(crate) place: Vec<Key>,
    /// What is wrong, with the field.
    pub(crate) problem: String,
}

impl Mistake {
    pub(crate) fn at<const N: usize>(place: [Key; N], problem: String) -> Mistake {
        Mistake { place: place.to_vec(), problem }
    }

    /// The same, where the place so far is inside this one.
    pub(crate) fn within<const N: usize>(mut self, outer: [Key; N]) -> Mistake {
        self.place.splice(0..0, outer);
        self
    }
}

/// The line of a place, counted from 1: of the last step of it that the file has.
pub(crate) fn line(text: &str, place: &[Key]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut start = None;
    let mut table = Some(document.get_ref());
    let mut list = None;
    for step in place {
        let found = match step {
            Key::Named(name) => {
                table.and_then(|table| table.get_key_value(name.as_str())).map(|(k, v)| (k.span(), v))
            }
            Key::At(at) => list.and_then(|list: &toml::de::DeArray<'_>| list.get(*at)).map(|v| (v.span(), v)),
        };
        let Some((span, value)) = found else { break };
        start = Some(span.start);
        (table, list) = match value.get_ref() {
            DeValue::Table(inner) => (Some(inner), None),
            DeValue::Array(inner) => (None, Some(inner)),
            _ => (None, None),
        };
    }
    let before = text.get(..start?)?;
    Some(before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_line() {
        let text = "name = \"x\"\nbase = { a = 1 }\nseries = [\n  { label = \"one\" },\n  { label = \"two\", set = { b = 2 } },\n]\n[[plot]]\ntitle = \"t\"\n";
        let at = |place: &[Key]| line(text, place);
        assert_eq!(at(&[key("base"), key("a")]), Some(2));
        assert_eq!(at(&[key("series"), Key::At(1), key("set"), key("b")]), Some(5));
        assert_eq!(at(&[key("plot"), Key::At(0), key("title")]), Some(8));
        assert_eq!(at(&[key("base"), key("missing")]), Some(2));
        assert_eq!(at(&[key("missing")]), None);
        assert_eq!(at(&path("series[1].set.b")), Some(5));
    }
}
