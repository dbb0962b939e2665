//! The commands that documents show are run, as typed, against a cell like the one `ohm dev` makes.

use cell_tests::console;
use cell_tests::source::{files, text};
use cell_tests::test_cell::TestCell;

#[test]
fn commands_shown_in_documents_work() {
    let documents =
        files().into_iter().filter(|f| f.ends_with(".md") && (f == "README.md" || f.starts_with("docs/")));
    let mut cell = TestCell::start(&[]);
    cell.scheduler("batch", "batch", "batch", 1);
    cell.scheduler("service", "service", "service", 2);
    for machine in ["m1", "m2", "m3"] {
        cell.agent(machine, &["--cpu", "4", "--memory", "8 GiB", "--attribute", "rack=r1"]);
    }
    cell.wait_ready(3);
    let mut run = 0;
    for document in documents {
        let commands = console::commands(&text(&document));
        if !commands.is_empty() {
            run += commands.len();
            console::run(&cell, &document, &commands).unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    }
    assert!(run > 10, "the documents show only {run} commands");
}
