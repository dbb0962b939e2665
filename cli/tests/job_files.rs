//! Job files through the binary itself: what is wrong is told with line, field, value and way out; what is right passes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use cell_state::bounds::{ARGS_MAX, CONSTRAINTS_MAX, JOB_GROUPS_MAX, NAME_BYTES_MAX};

fn check(file: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ohm"))
        .args(["job", "check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    // A file over the bound is not read to its end.
    child.stdin.take().expect("its input is a pipe").write_all(file).ok();
    child.wait_with_output().expect("it ends")
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// The cases of a transcript: title, file, expected message.
fn cases(transcript: &str) -> Vec<(&str, &str, &str)> {
    let case = |block| {
        let (title, rest): (&str, &str) = str::split_once(block, '\n').expect("a title ends its line");
        let (file, expected) = rest.split_once("=== ").expect("each case has a message");
        (title, file, expected.trim_end())
    };
    transcript.split("\n--- ").skip(1).map(case).collect()
}

#[test]
fn each_malformed_file_gets_its_one_message_and_exit_code_1() {
    let cases = cases(include_str!("job_files/malformed.txt"));
    assert!(cases.len() >= 40);
    let mut wrong = Vec::new();
    for (title, file, expected) in cases {
        let output = check(file.as_bytes());
        let told = message(&output);
        if output.status.code() != Some(1) || told != format!("error: standard input: {expected}") {
            wrong.push(format!("{title}: exit {:?}: {told}", output.status.code()));
        }
        assert!(output.stdout.is_empty(), "{title}: an error is no result");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_are_no_text_or_too_large_are_refused() {
    let binary = check(b"name = \"\xff\xfe\"");
    assert_eq!(message(&binary), "error: standard input: not UTF-8 at byte 8");
    let huge = check(&vec![b'#'; (1 << 20) + 1]);
    assert_eq!(message(&huge), "error: standard input: larger than 1048576 bytes, the bound for job files");
    let missing =
        Command::new(env!("CARGO_BIN_EXE_ohm")).args(["job", "check", "/no/such/file"]).output().unwrap();
    assert_eq!(message(&missing), "error: can't read /no/such/file: No such file or directory (os error 2)");
}

#[test]
fn bounds_of_the_cell_hold_for_files_too() {
    let group = |i: usize| format!("[[groups]]\nname = \"g{i}\"\nrun.command = \"/bin/true\"\n");
    let groups: String = (0..=JOB_GROUPS_MAX).map(group).collect();
    let constraints = vec!["\"a exists\""; CONSTRAINTS_MAX + 1].join(", ");
    let args = vec!["\"\""; ARGS_MAX + 1].join(", ");
    let table = [
        (
            format!("name = \"a\"\n{groups}"),
            format!("line 2: groups: {} groups; a job has 1 to {JOB_GROUPS_MAX}", JOB_GROUPS_MAX + 1),
        ),
        (
            format!("name = \"a\"\n[[groups]]\nconstraints = [{constraints}]\nrun.command = \"/bin/true\"\n"),
            format!(
                "line 3: groups[0].constraints: {} constraints; at most {CONSTRAINTS_MAX}",
                CONSTRAINTS_MAX + 1
            ),
        ),
        (
            format!("name = \"a\"\n[[groups]]\n[groups.run]\ncommand = \"/bin/true\"\nargs = [{args}]\n"),
            format!("line 5: groups[0].run.args: at most {ARGS_MAX} arguments and as many variables"),
        ),
        (
            format!(
                "name = \"{}\"\n[[groups]]\nrun.command = \"/bin/true\"\n",
                "a".repeat(NAME_BYTES_MAX + 1)
            ),
            // The message shows no more of a name than a name may have.
            format!(
                "line 1: name: {:?} is no name; use 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.', \
                 beginning with a letter or digit",
                "a".repeat(NAME_BYTES_MAX)
            ),
        ),
    ];
    for (file, expected) in table {
        assert_eq!(message(&check(file.as_bytes())), format!("error: standard input: {expected}"));
    }
}

const GOOD: [(&str, &str); 12] = [
    ("the least", "name = \"a\"\n[[groups]]\nrun.command = \"/bin/true\"\n"),
    ("names with dots", "name = \"a.b-c_1\"\n[[groups]]\nrun.command = \"/bin/true\"\n"),
    ("a service", "name = \"a\"\nkind = \"service\"\n[[groups]]\nrun.command = \"/bin/true\"\n"),
    (
        "simulated",
        "name = \"a\"\n[[groups]]\nrun = { driver = \"simulated\", run_for = \"1m 30s\", exit_code = -1 }\n",
    ),
    ("a group of none", "name = \"a\"\n[[groups]]\ncount = 0\nrun.command = \"/bin/true\"\n"),
    ("hexadecimal", "name = \"a\"\npriority = 0x64\n[[groups]]\nrun.command = \"/bin/true\"\n"),
    (
        "units",
        "name = \"a\"\n[[groups]]\nrun.command = \"/bin/true\"\n[groups.resources]\ncpu = \"1.5\"\n\
         memory = \"1.5 GiB\"\ndisk = 1_000\ngpu = \"250m\"\nnet = \"2 Gbit/s\"\n",
    ),
    (
        "constraints",
        "name = \"a\"\n[[groups]]\nrun.command = \"/bin/true\"\nconstraints = [\"zone=eu-1\", \"zone != 'a b'\", \
         \"kernel > 500\", \"kernel<600\", \"gpu exists\", \"rack in [r1, r2]\", 'name ~ ^web-\\d+$']\n",
    ),
    (
        "everything else",
        "name = \"a\"\nteam = \"t\"\nscheduler = \"mine\"\n[[groups]]\nname = \"g\"\ncount = 3\n\
         distinct_machines = true\nstop_grace = \"500ms\"\nspread = { attribute = \"rack\", max_per_value = 2 }\n\
         restart = { on = \"never\", attempts = 0, delay = \"0s\" }\n\
         [groups.run]\ncommand = \"sh\"\nargs = [\"-c\", \"true\"]\nenv = { A = \"\" }\ndirectory = \"/tmp\"\n\
         log_size = \"1 KiB\"\nlog_files = 1\n[[groups.ports]]\nname = \"http\"\n[[groups.ports]]\nname = \"ssh\"\n\
         number = 22\n",
    ),
    // Whether the cell has such a resource is for the server to say.
    (
        "a resource of the cell's own",
        "name = \"a\"\n[[groups]]\nrun.command = \"/bin/true\"\nresources.fpga = 2\n",
    ),
    (
        "JSON",
        "{\"name\": \"a\", \"groups\": [{\"run\": {\"command\": \"/bin/true\"}, \"resources\": {\"cpu\": 0.5}}]}",
    ),
    ("JSON after blanks", "\n  {\"name\": \"a\", \"groups\": [{\"run\": {\"command\": \"/bin/true\"}}]}"),
];

#[test]
fn good_files_pass_and_print_the_name() {
    for (title, file) in GOOD {
        let output = check(file.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{title}: {}", message(&output));
        assert!(!output.stdout.is_empty(), "{title}");
    }
}

#[test]
fn the_commented_example_is_a_good_file() {
    let init = Command::new(env!("CARGO_BIN_EXE_ohm")).args(["job", "init", "try"]).output().unwrap();
    let output = check(&init.stdout);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "try\n", "{}", message(&output));
    // With every comment taken away from optional fields it still is one: the defaults shown are real.
    let text = String::from_utf8(init.stdout).unwrap();
    let bare = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => rest.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    let full: Vec<String> = text.lines().map(bare).collect();
    let output = check(full.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}\n{}", message(&output), full.join("\n"));
}

#[test]
fn the_documentation_holds_the_table_of_all_fields() {
    let fields = Command::new(env!("CARGO_BIN_EXE_ohm")).args(["job", "init", "--fields"]).output().unwrap();
    let reference = String::from_utf8(fields.stdout).unwrap();
    let page = include_str!("../../docs/job-file.md");
    assert!(
        page.contains(reference.trim()),
        "docs/job-file.md is not up to date: `ohm job init --fields` prints it"
    );
}
