//! Commands shown in documents: every ` ```console ` block of a document is run, in order, as one shell session.
//!
//! In a block, a line that starts with `$ ` is a command, one that starts with `> ` continues it, and all others are
//! what it prints, shown for the reader and not compared. A command that fails stops the session, unless the block
//! says which exit code is expected: ` ```console exit=2 `.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::binary;
use crate::test_cell::TestCell;

/// A command of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The line it starts at.
    pub line: usize,
    /// What is typed.
    pub command: String,
    /// The exit code that is expected.
    pub exit: i32,
}

/// The commands of a document.
pub fn commands(markdown: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut block: Option<i32> = None;
    for (number, line) in markdown.lines().enumerate() {
        let line = line.trim_start();
        if let Some(fence) = line.strip_prefix("```") {
            block = match (block, fence.strip_prefix("console")) {
                (None, Some(rest)) => {
                    Some(rest.trim().strip_prefix("exit=").map_or(0, |n| n.parse().expect("an exit code")))
                }
                (None, None) => Some(-1), // a block of another kind
                (Some(_), _) => None,
            };
            continue;
        }
        let Some(exit) = block.filter(|exit| *exit >= 0) else { continue };
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Shown { line: number + 1, command: command.to_owned(), exit });
        } else if let Some(more) = line.strip_prefix("> ") {
            let last = found.last_mut().expect("a continuation follows a command");
            last.command = format!("{}\n{more}", last.command);
        }
    }
    found
}

/// Runs the commands of a document in one shell, in a directory of the cell, and says what went wrong.
///
/// # Errors
/// The first command that ended otherwise than expected, with everything the shell printed.
pub fn run(cell: &TestCell, document: &str, commands: &[Shown]) -> Result<(), String> {
    let folder = cell.path(&format!("session-{}", document.replace(['/', '.'], "-")));
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let script = folder.join("session.sh");
    std::fs::write(&script, session(document, commands)).map_err(|e| e.to_string())?;
    let bin = binary::ohm().parent().unwrap_or(Path::new("/"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "bash"])
        .arg(&script)
        .current_dir(&folder)
        .envs(cell.environment())
        .env("PATH", path)
        .env("HOME", &folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{document}: {}\n{out}\n{err}", output.status))
}

/// A script that stops at the first command that ends otherwise than expected, and takes what it left running along.
fn session(document: &str, commands: &[Shown]) -> String {
    let mut script = String::from("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n");
    for shown in commands {
        script += &format!(
            "{}\ncode=$?; [ $code = {} ] || {{ echo \"{document}:{}: exit code $code\"; exit 1; }}\n",
            shown.command, shown.exit, shown.line
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_console_blocks_only() {
        let text =
            "```console\n$ a\nprinted\n$ b \\\n> c\n```\n```sh\n$ no\n```\n```console exit=2\n$ d\n```\n";
        let found: Vec<_> = commands(text).into_iter().map(|s| (s.line, s.command, s.exit)).collect();
        let expected = [(2, "a".to_owned(), 0), (4, "b \\\nc".to_owned(), 0), (11, "d".to_owned(), 2)];
        assert_eq!(found, expected);
    }
}
