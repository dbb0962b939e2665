//! The example of a policy of one's own in a study runs, and the policy decides.

use std::process::Command;

#[test]
fn a_policy_of_ones_own_runs_in_a_study_beside_a_built_in_one() {
    // Tests are built with the package's examples, which lie beside them.
    let beside = std::env::current_exe().expect("a test is a file");
    let example =
        beside.ancestors().nth(2).expect("it lies in the target's directory").join("examples/own_policy");
    let output = Command::new(&example).output().expect("the example is built with the tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let csv = String::from_utf8(output.stdout).expect("a table is text");
    let rows = |series: &str| -> Vec<String> {
        let of = |line: &&str| line.split(',').nth(1) == Some(series);
        csv.lines().filter(of).map(|line| line.splitn(3, ',').nth(2).unwrap_or_default().to_owned()).collect()
    };
    let (batch, own) = (rows("batch"), rows("first fit"));
    assert_eq!((batch.len(), own.len()), (8, 8), "{csv}");
    assert_ne!(batch, own, "another policy places otherwise");
}
