//! Machines that fail and come back, where the trace doesn't say which did.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{TransformError, in_range, unit};
use crate::Scenario;
use crate::bounds::SCENARIO_CHANGES_MAX;
use crate::scenario::{Change, MachineChange};

/// How machines fail.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Failures {
    /// Mean seconds a machine is up before it fails.
    pub mtbf_s: f64,
    /// Mean seconds until it is back.
    pub mttr_s: f64,
    /// Decides who fails when.
    pub seed: u64,
}

/// Lets machines fail and come back over the span, both times exponential. Machines of which changes were recorded keep
/// those and get no others. Returns how many failures there are.
///
/// # Errors
/// A time isn't positive, or there would be more failures than the bound.
pub fn fail(scenario: &mut Scenario, how: &Failures) -> Result<u64, TransformError> {
    for (what, value) in
        [("the mean time between failures", how.mtbf_s), ("the mean time to repair", how.mttr_s)]
    {
        in_range(what, value, value.is_finite() && value > 0.0, "more than 0 seconds")?;
    }
    let span_us = scenario.span_us();
    let recorded: BTreeSet<u32> = scenario.changes.iter().map(|c| c.machine).collect();
    let mut failures = 0;
    let mut changes = Vec::new();
    for machine in (0..scenario.machines.len() as u32).filter(|m| !recorded.contains(m)) {
        // A machine's fate doesn't depend on how many others there are.
        let mut rng = ChaCha8Rng::seed_from_u64(how.seed ^ 0x6661_696c);
        rng.set_stream(u64::from(machine));
        let mut at_us = 0u64;
        for (mean_s, change) in [(how.mtbf_s, Change::Down), (how.mttr_s, Change::Up)].into_iter().cycle() {
            let wait_us = -mean_s * 1e6 * libm::log(1.0 - unit(&mut rng));
            at_us = at_us.saturating_add((wait_us as u64).max(1));
            if at_us > span_us {
                break;
            }
            failures += u64::from(change == Change::Down);
            changes.push(MachineChange { at_us, machine, change });
            in_range(
                "the number of failures",
                failures as f64,
                changes.len() < SCENARIO_CHANGES_MAX,
                "below 5 million; fail less often",
            )?;
        }
    }
    scenario.changes.extend(changes);
    scenario.put_in_order();
    Ok(failures)
}
