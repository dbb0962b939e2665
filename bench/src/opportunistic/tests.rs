//! Small cells under each cap.

use super::*;

fn settings(cap: Option<Cap>) -> Settings {
    Settings {
        cap,
        machines: 60,
        held: 0.3,
        swing: 0.1,
        offered: 0.15,
        activity_s: 60.0,
        run_s: 7_200,
        seed: 3,
    }
}

fn mean(list: &[f64]) -> f64 {
    list.iter().sum::<f64>() / list.len().max(1) as f64
}

#[test]
fn jobs_that_grow_are_faster_and_those_that_do_not_take_as_long_as_asked() {
    let plain = run(&settings(None));
    assert!(plain.speedups.len() > 20, "{plain:?}");
    assert!(plain.speedups.iter().all(|s| *s <= 1.0 + 1e-6), "nothing speeds them up");
    let most = run(&settings(Some(Cap::MaxParallelism)));
    let relative = run(&settings(Some(Cap::RELATIVE)));
    assert!(mean(&most.speedups) > mean(&relative.speedups) && mean(&relative.speedups) > 1.2);
    assert!(relative.speedups.iter().all(|s| *s <= 4.0 + 1e-6), "at most four times the workers");
    assert_eq!(most, run(&settings(Some(Cap::MaxParallelism))));
}

#[test]
fn other_work_follows_the_day() {
    let quiet = Settings { offered: 1e-6, run_s: 43_200, ..settings(None) };
    let used = run(&quiet).utilisation;
    let at = |hour: f64| used.iter().find(|(h, _, _)| *h >= hour).map(|(_, cpu, _)| *cpu).unwrap();
    assert!((at(0.0) - 0.3).abs() < 0.02 && (at(6.0) - 0.4).abs() < 0.02 && (at(12.0) - 0.3).abs() < 0.02);
}
