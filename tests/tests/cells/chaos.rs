//! kill -9 of server, schedulers and agents at random moments, for as long as a test suite can wait. The soak binary
//! of this package does the same for hours.

use std::time::Duration;

use cell_tests::chaos::{Plan, number_from, run};

#[test]
fn nothing_acknowledged_is_lost_when_anything_is_killed_at_any_moment() {
    let seed = number_from("OHM_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let seconds = number_from("OHM_CHAOS_SECONDS").unwrap_or(20);
    println!("OHM_CHAOS_SEED={seed}");
    let summary = run(Plan { seed, length: Duration::from_secs(seconds), pause_ms_max: 1_200 });
    println!("{summary}");
    assert!(summary.kills.values().sum::<u32>() > 5, "nothing much was killed: {summary}");
    assert!(summary.starts > 20, "nothing much ran: {summary}");
}
