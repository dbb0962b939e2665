//! The rules of the project's sources and documents, held by reading them.

use std::collections::BTreeSet;

use cell_tests::source::{self, code, files, functions, header, rust_files, spans, text};

/// Lines of one Rust file.
const FILE_LINES_MAX: usize = 400;

/// Lines of one function.
const FUNCTION_LINES_MAX: usize = 70;

/// Bytes of one file of the repository: traces and other raw data stay outside of it.
const FILE_BYTES_MAX: u64 = 160 << 10;

/// The steps of a placement's life, in order.
const STEPS: [&str; 12] = [
    "submit",
    "queue",
    "see",
    "think",
    "propose",
    "commit",
    "log",
    "answer",
    "stream",
    "run",
    "report",
    "back in the cell",
];

/// Module names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "misc", "helpers", "types"];

/// Collects what is wrong, so that one run shows all of it.
fn none_of(what: &str, wrong: impl IntoIterator<Item = String>) {
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let wrong = rust_files().into_iter().filter(|f| header(&text(f)).len() < 10);
    none_of("files that do not open with a `//!` sentence", wrong);
}

#[test]
fn files_are_short() {
    let long = rust_files().into_iter().filter_map(|f| {
        let lines = text(&f).lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{f}: {lines} lines"))
    });
    none_of("files over 400 lines", long);
}

#[test]
fn functions_are_short() {
    let long = rust_files().into_iter().flat_map(|file| {
        let over = functions(&text(&file)).into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX);
        over.map(|f| format!("{file}:{}: {} has {} lines", f.line, f.name, f.lines)).collect::<Vec<_>>()
    });
    none_of("functions over 70 lines", long);
}

#[test]
fn no_file_is_named_after_nothing() {
    let wrong = files().into_iter().filter(|f| {
        let parts: Vec<&str> = f.trim_end_matches(".rs").split('/').collect();
        f.ends_with(".rs") && parts.iter().any(|p| EMPTY_NAMES.contains(p))
    });
    none_of("files and folders whose name says nothing", wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // In two pieces, so that this file does not find itself.
    let words =
        [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("TO", "DO"), concat!("FIX", "ME")];
    let wrong = rust_files().into_iter().flat_map(|file| {
        let source = text(&file);
        let found = words.into_iter().filter(|w| source.contains(w)).map(|w| format!("{file}: {w}"));
        found.collect::<Vec<_>>()
    });
    none_of("unfinished work", wrong);
}

#[test]
fn exceptions_to_lints_give_a_reason() {
    let wrong = rust_files().into_iter().filter(|f| {
        let code = code(&text(f));
        code.contains("#[allow(") || code.contains("#![allow(")
    });
    none_of("files with #[allow]; use #[expect(…, reason = \"…\")]", wrong);
}

#[test]
fn every_bound_has_its_reason() {
    let mut wrong = Vec::new();
    for file in rust_files().into_iter().filter(|f| f.ends_with("/bounds.rs")) {
        let source = text(&file);
        let lines: Vec<&str> = source.lines().collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.trim_start().starts_with("pub")) {
            let documented = i > 0 && lines[i - 1].trim_start().starts_with("///");
            if line.contains(" const ") && !documented {
                wrong.push(format!("{file}:{}: {line}", i + 1));
            }
        }
    }
    none_of("bounds without a doc comment", wrong);
}

#[test]
fn no_raw_data_is_in_the_repository() {
    let wrong = files().into_iter().filter(|f| {
        let bytes = std::fs::metadata(source::root().join(f)).map_or(0, |m| m.len());
        let packed = [".gz", ".zst", ".zip", ".parquet"].iter().any(|end| f.ends_with(end));
        f != "Cargo.lock" && (bytes > FILE_BYTES_MAX || packed)
    });
    none_of("files too large or packed", wrong);
}

fn documents() -> Vec<String> {
    let all = files().into_iter();
    all.filter(|f| f.ends_with(".md") && (f.starts_with("docs/") || !f.contains('/'))).collect()
}

/// A code span that claims to be a path of this repository: it starts with one of its folders, or is a path to a
/// source or document.
fn as_path(span: &str) -> Option<&str> {
    let path = span.split("::").next().unwrap_or(span);
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let folders: BTreeSet<String> =
        files().iter().filter_map(|f| f.split_once('/')).map(|(top, _)| top.to_owned()).collect();
    let (top, rest) = path.split_once('/')?;
    let ours = folders.contains(top) && !top.is_empty();
    let source = [".rs", ".md"].iter().any(|end| rest.ends_with(end));
    (plain && !path.starts_with(['/', '.']) && (ours || source)).then_some(path)
}

#[test]
fn paths_named_in_documents_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, span) in spans(&text(&document)) {
            let linked = span.ends_with(".md") && !span.contains('/');
            let Some(path) = as_path(&span).or_else(|| linked.then_some(span.as_str())) else { continue };
            let root = source::root();
            if !root.join(path).exists() && !root.join(folder).join(path).exists() {
                wrong.push(format!("{document}:{line}: {path}"));
            }
        }
    }
    none_of("paths that do not exist", wrong);
}

#[test]
fn tests_named_in_documents_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        for (line, span) in spans(&text(&document)) {
            let Some((path, name)) = span.split_once(".rs::") else { continue };
            let file = format!("{path}.rs");
            let exists = source::root().join(&file).exists()
                && functions(&text(&file)).iter().any(|f| Some(f.name.as_str()) == name.rsplit("::").next());
            if !exists {
                wrong.push(format!("{document}:{line}: {span}"));
            }
        }
    }
    none_of("tests that do not exist", wrong);
}

#[test]
fn every_fault_names_the_test_that_shows_it() {
    let faults = text("docs/faults.md");
    let rows = faults.lines().filter(|l| l.starts_with('|')).filter(|l| !l.starts_with("|--"));
    let rows: Vec<&str> = rows.filter(|l| !l.starts_with("| what can fail")).collect();
    assert!(rows.len() >= 15, "docs/faults.md has only {} faults", rows.len());
    let silent = rows.into_iter().filter(|row| !row.contains(".rs::")).map(str::to_owned);
    none_of("faults without a test", silent);
}

/// The rows about fields of a document: the heading above it, the field, the whole row.
fn fields(document: &str) -> Vec<(String, String, String)> {
    let mut heading = String::new();
    let mut rows = Vec::new();
    for line in text(document).lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().to_owned();
        } else if let Some((field, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
            rows.push((heading.clone(), field.to_owned(), line.to_owned()));
        }
    }
    rows
}

#[test]
fn every_field_of_a_job_file_names_the_test_that_shows_its_effect() {
    let documented = fields("docs/job-file.md").into_iter();
    // The tables of fields are those below the headings of tables of the file.
    let is_of_file = |heading: &str| heading.starts_with("`[") || heading == "The top of the file";
    let documented: BTreeSet<_> =
        documented.filter(|(h, ..)| is_of_file(h)).map(|(h, f, _)| (h, f)).collect();
    assert!(documented.len() >= 50, "docs/job-file.md has only {} fields", documented.len());
    let shown = fields("docs/job-file-tests.md");
    let silent = shown.iter().filter(|(.., row)| !row.contains(".rs::")).map(|(.., row)| row.clone());
    none_of("fields without a test in docs/job-file-tests.md", silent);
    let shown: BTreeSet<_> = shown.into_iter().map(|(heading, field, _)| (heading, field)).collect();
    let differ = documented.symmetric_difference(&shown).map(|(heading, field)| format!("{heading} {field}"));
    none_of("fields in one of docs/job-file.md and docs/job-file-tests.md and not in the other", differ);
}

/// The steps a text names, as `(number, name)`: `Step 4 (think)`, `steps 8 (answer) and 9 (stream)`.
fn steps_named(text: &str) -> Vec<(usize, String)> {
    let lower = text.to_lowercase();
    let mut named = Vec::new();
    for (at, word) in lower.match_indices("step") {
        let mut rest = lower[at + word.len()..].trim_start_matches('s').trim_start();
        while let Some((number, after)) = rest.split_once(" (") {
            let (Ok(number), Some((name, after))) = (number.parse(), after.split_once(')')) else { break };
            named.push((number, name.to_owned()));
            rest = after.trim_start_matches(',').trim_start().trim_start_matches("and").trim_start();
        }
    }
    named
}

#[test]
fn the_steps_of_a_placements_life_are_where_the_document_says() {
    let life = text("docs/placement-life.md");
    let mut rows = Vec::new();
    for line in life.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let Ok(number) = cells[1].parse::<usize>() {
            rows.push((number, cells[2].to_owned(), cells[3].trim_matches('`').to_owned()));
        }
    }
    let named: Vec<&str> = rows.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(named, STEPS, "docs/placement-life.md lists other steps");
    let wrong = rows.into_iter().filter(|(number, name, file)| {
        let there = source::root().join(file).exists();
        !there || !steps_named(&header(&text(file))).contains(&(*number, name.clone()))
    });
    none_of(
        "files that do not open with their step",
        wrong.map(|(n, name, file)| format!("{file}: Step {n} ({name})")),
    );
}

#[test]
fn no_file_names_a_step_that_is_not_one() {
    let wrong = rust_files().into_iter().flat_map(|file| {
        let named = steps_named(&header(&text(&file))).into_iter();
        let odd = named.filter(|(n, name)| STEPS.get(n.wrapping_sub(1)).is_none_or(|s| s != name));
        odd.map(|(n, name)| format!("{file}: step {n} ({name})")).collect::<Vec<_>>()
    });
    none_of("steps with the wrong number or name", wrong);
}
