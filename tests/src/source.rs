//! The project's own files as text, for the tests that hold its rules: which files there are, what is code in them
//! and what is comment, and how long each function is.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a folder of the repository").to_owned()
}

/// Every file of the repository, by its path from the root, without what git and cargo keep there.
pub fn files() -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    found.sort();
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let entries = fs::read_dir(folder).expect("the repository is readable");
    for entry in entries {
        let path = entry.expect("the repository is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // Cargo marks its target folder, whatever its name, with this file.
            if name != ".git" && name != "target" && !path.join("CACHEDIR.TAG").exists() {
                collect(root, &path, found);
            }
        } else if !name.ends_with(".proptest-regressions") {
            let short = path.strip_prefix(root).expect("found below the root");
            found.push(short.to_string_lossy().into_owned());
        }
    }
}

/// The Rust files among them.
pub fn rust_files() -> Vec<String> {
    files().into_iter().filter(|f| f.ends_with(".rs")).collect()
}

/// The text of a file, by its path from the root.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The `//!` lines at the top of a Rust file, joined.
pub fn header(source: &str) -> String {
    let lines = source.lines().take_while(|l| l.starts_with("//!"));
    lines.map(|l| l.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ")
}

/// The source with comments and the contents of literals blanked; line breaks stay where they are.
pub fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match token(&chars, at) {
            Token::Code => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
            Token::Blank { end } => end.min(chars.len()),
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

enum Token {
    Code,
    Blank { end: usize },
}

fn token(chars: &[char], at: usize) -> Token {
    let next = |n: usize| chars.get(at + n).copied().unwrap_or('\0');
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', '/') => Token::Blank { end: line_end(chars, at) },
        ('/', '*') => Token::Blank { end: comment_end(chars, at) },
        ('"', _) => Token::Blank { end: string_end(chars, at + 1) },
        ('r', '"' | '#') if !in_word || chars[at - 1] == 'b' => raw_string(chars, at),
        ('\'', '\\') => Token::Blank { end: char_end(chars, at + 3) },
        ('\'', _) if next(2) == '\'' => Token::Blank { end: at + 3 },
        _ => Token::Code,
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn char_end(chars: &[char], from: usize) -> usize {
    chars[from.min(chars.len())..].iter().position(|c| *c == '\'').map_or(chars.len(), |n| from + n + 1)
}

fn raw_string(chars: &[char], at: usize) -> Token {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return Token::Code; // a raw identifier
    }
    let mut i = at + 2 + hashes;
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Token::Blank { end: i + 1 + hashes };
        }
        i += 1;
    }
    Token::Blank { end: chars.len() }
}

/// A function of a source file.
#[derive(PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from its `fn` to its closing brace.
    pub lines: usize,
}

/// The functions with a body in a Rust source.
pub fn functions(source: &str) -> Vec<Function> {
    let code = code(source);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let starts_word = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue; // a function pointer type, or the end of another word
        }
        if let Some(end) = body_end(&code[at..]) {
            let line = code[..at].matches('\n').count() + 1;
            let lines = code[at..at + end].matches('\n').count() + 1;
            found.push(Function { name, line, lines });
        }
    }
    found
}

/// The length of a function that starts here, or `None` when it is only declared.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut brackets = 0usize;
    for (i, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// The inline code spans and link targets of a Markdown text, outside its code blocks, each with its line.
pub fn spans(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(|s| (number + 1, s.to_owned())));
            let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let local = links.filter(|l| !l.contains("://") && !l.starts_with('#'));
            found.extend(local.map(|l| (number + 1, l.split('#').next().unwrap_or(l).to_owned())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let source =
            "let a = \"{\"; // {\n/* { /* { */ */ let b = '{'; let c = '\\'';\nlet d: &'a str = r#\"{\"}\"#;";
        let code = code(source);
        assert!(!code.contains('{') && !code.contains('}'), "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
        assert!(code.contains("let c") && code.contains("&'a str"));
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let source =
            "trait T { fn declared(&self) -> [u8; 2]; }\nfn one() {}\nfn two() {\n    if x { y }\n}\n";
        let found: Vec<_> = functions(source).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("one".to_owned(), 2, 1), ("two".to_owned(), 3, 3)]);
    }

    #[test]
    fn spans_are_found_outside_of_blocks() {
        let markdown = "see `a/b.rs` and [c](d.md#x)\n```\n`no`\n```\n[e](https://f)";
        assert_eq!(spans(markdown), [(1, "a/b.rs".to_owned()), (1, "d.md".to_owned())]);
    }
}
