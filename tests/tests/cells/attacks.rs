//! The attacks of the soak binary, a few steps each. The seed decides moments and bytes; `OHM_ATTACK_SEED` gives one.

use cell_tests::attack::{Plan, Scenario, Summary, run};
use cell_tests::chaos::number_from;

fn attack(scenario: Scenario, steps: u32) -> Summary {
    let seed = number_from("OHM_ATTACK_SEED").unwrap_or(7);
    println!("OHM_ATTACK_SEED={seed}");
    let summary = run(scenario, Plan::quick(seed, steps));
    println!("{summary}");
    assert!(
        summary.answers > 0 && summary.accepted > 0 && summary.marks.0 > 0,
        "nothing happened: {summary}"
    );
    summary
}

#[test]
fn every_answer_is_there_after_the_server_was_killed_under_full_load() {
    let summary = attack(Scenario::Kills, 6);
    assert!(summary.count("kills") >= 6 && summary.asked_again > 0, "{summary}");
}

#[test]
fn nobody_waits_for_parties_that_stand_still() {
    attack(Scenario::Stalls, 3);
}

#[test]
fn nonsense_from_parties_that_were_let_in_harms_nobody() {
    attack(Scenario::Strangers, 10);
}

#[test]
fn ten_times_more_sessions_than_the_bound_are_refused_and_the_rest_goes_on() {
    attack(Scenario::Crowd, 1);
}

#[test]
fn a_server_whose_log_can_not_be_written_stops_and_loses_nothing() {
    let summary = attack(Scenario::FullDisk, 2);
    assert_eq!(summary.count("failed logs"), 2, "{summary}");
}
