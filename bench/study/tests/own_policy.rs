//! The example of a policy of one's own in a study runs, and the policy decides.

#[path = "../examples/own_policy.rs"]
#[expect(dead_code, reason = "the example's main prints what is looked at here")]
mod example;

#[test]
fn a_policy_of_ones_own_runs_in_a_study_beside_a_built_in_one() {
    let csv = example::table().unwrap();
    let rows = |series: &str| -> Vec<String> {
        let of = |line: &&str| line.split(',').nth(1) == Some(series);
        csv.lines().filter(of).map(|line| line.splitn(3, ',').nth(2).unwrap_or_default().to_owned()).collect()
    };
    let (batch, own) = (rows("batch"), rows("first fit"));
    assert_eq!((batch.len(), own.len()), (8, 8), "{csv}");
    assert_ne!(batch, own, "another policy places otherwise");
}
