//! Help, manual pages and completions: every command has an example, and no mistake looks like "not placed".

use std::path::Path;
use std::process::{Command, Output};

fn ohm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ohm")).args(args).output().expect("the binary under test runs")
}

/// Every command, as the words to type: the manual has one page for each.
fn commands() -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let made = ohm(&["man", "--dir", &dir.path().to_string_lossy()]);
    assert!(made.status.success());
    let pages = std::fs::read_dir(dir.path()).expect("the pages were written").flatten();
    let pages = pages.map(|file| file.file_name().to_string_lossy().into_owned());
    let words = |page: String| page.trim_end_matches(".1").split('-').skip(1).map(str::to_owned).collect();
    let all: Vec<Vec<String>> = pages.map(words).collect();
    // `ohm help job run` is the same text again.
    all.into_iter().filter(|words: &Vec<String>| !words.iter().any(|w| w == "help")).collect()
}

#[test]
fn every_command_has_an_example_and_the_help_goes_to_standard_output() {
    let commands = commands();
    assert!(commands.len() > 30, "{commands:?}");
    for words in commands {
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let output = ohm(&args);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}");
        // A command that only groups others is explained by theirs.
        let groups = help.contains("<COMMAND>") && words.len() == 1;
        assert!(groups || help.contains("Example"), "`ohm {}` has no example", args.join(" "));
    }
}

#[test]
fn every_example_names_a_command_and_flags_that_exist() {
    for words in commands() {
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let help = String::from_utf8(ohm(&args).stdout).unwrap();
        let Some((_, examples)) = help.split_once("Example") else { continue };
        for line in examples.lines().filter_map(|l| l.trim().strip_prefix("ohm ")) {
            check_line(line);
        }
    }
}

#[test]
fn every_command_line_of_the_documentation_exists() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for page in ["operating.md", "job-file.md", "cli.md"] {
        let text = std::fs::read_to_string(docs.join(page)).unwrap();
        let mut code = false;
        for line in text.lines() {
            if line.starts_with("```") {
                code = !code;
            } else if code
                && let Some(command) = line.trim().trim_start_matches("$ ").strip_prefix("ohm ")
                && !command.contains("$(")
            {
                check_line(command);
            }
        }
    }
}

/// Types the beginning of a line up to the first pipe, redirection or comment, and asks for help after it.
fn check_line(line: &str) {
    let line = line.split("  ").next().unwrap_or(line);
    let line = line.split([';', '|', '>', '&']).next().unwrap_or(line);
    let mut args = Vec::new();
    let mut quoted: Option<String> = None;
    for word in line.split_whitespace() {
        match (&mut quoted, word) {
            (None, word) if word.starts_with('\'') && !word[1..].ends_with('\'') => {
                quoted = Some(word.trim_start_matches('\'').to_owned());
            }
            (None, word) => args.push(word.trim_matches('\'').to_owned()),
            (Some(text), word) => {
                text.push(' ');
                text.push_str(word.trim_end_matches('\''));
                if word.ends_with('\'') {
                    args.extend(quoted.take());
                }
            }
        }
    }
    // What follows is the command of a task, which is not asked for help.
    let own = args.iter().map(String::as_str).take_while(|arg| *arg != "--");
    let args: Vec<&str> = own.chain(["--help"]).collect();
    let output = ohm(&args);
    assert!(output.status.success(), "ohm {line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn mistakes_in_typing_exit_with_1_and_leave_standard_output_alone() {
    for args in
        [&["jib"][..], &["job"], &["job", "run"], &["job", "run", "a.toml", "--detach", "--wait"], &[]]
    {
        let output = ohm(args);
        let told = output.stderr.len() + output.stdout.len();
        assert!(told > 0 && output.status.code() == Some(1), "{args:?}: {:?}", output.status);
    }
    let version = ohm(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("ohm {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_exist_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = ohm(&["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 1_000, "{shell}");
    }
}

#[test]
fn connections_without_certificates_or_server_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let (path, dir_name) = (pki.to_str().unwrap(), dir.path().to_str().unwrap());
    let list = |extra: &[&str]| {
        let args: Vec<&str> = ["job", "list", "--pki", path].iter().chain(extra).copied().collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ohm"));
        for variable in ["OHM_SERVER", "OHM_PKI", "OHM_ROLE", "OHM_NAME"] {
            command.env_remove(variable);
        }
        let output = command.args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
    };
    assert_eq!(
        list(&[]),
        format!(
            "error: --pki: can't read {path}: No such file or directory (os error 2); name the directory of your \
             certificates with --pki or OHM_PKI; an operator makes them with `ohm pki init` and `ohm pki issue`"
        )
    );
    let empty =
        Command::new(env!("CARGO_BIN_EXE_ohm")).args(["job", "list", "--pki", dir_name]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&empty.stderr).trim_end(),
        format!(
            "error: --pki: {dir_name} holds no operator, user, reader certificate; \
             `ohm pki issue operator NAME --pki {dir_name}` makes one"
        )
    );
    assert!(ohm(&["pki", "init", "--cell", "t", "--pki", path]).status.success());
    assert!(ohm(&["pki", "issue", "operator", "second", "--pki", path]).status.success());
    assert_eq!(
        list(&[]),
        format!(
            "error: --name: {path} holds several operator certificates (admin, second); choose one with --name or OHM_NAME"
        )
    );
    assert_eq!(
        list(&["--server", "nowhere"]),
        "error: --server: \"nowhere\" is no address (invalid socket address); write HOST:PORT, such as 127.0.0.1:7447"
    );
    let nobody = list(&["--name", "admin", "--server", "127.0.0.1:1"]);
    assert!(nobody.starts_with("error: can't reach the server at 127.0.0.1:1: "), "{nobody}");
    // Nothing is ever overwritten.
    assert_eq!(ohm(&["pki", "init", "--cell", "t", "--pki", path]).status.code(), Some(1));
}
