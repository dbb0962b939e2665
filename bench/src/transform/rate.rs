//! The arrival rate of one class alone.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{TransformError, in_range, known_class, unit};
use crate::Scenario;
use crate::bounds::SCENARIO_JOBS_MAX;
use crate::scenario::Job;

/// A copy is submitted at most this part of the span before or after the original, so that the hours of the day keep
/// their shape.
const JITTER_PART: u64 = 100;

/// Makes jobs of a class arrive `factor` times as often, over the same span.
///
/// Below 1, each job stays with that chance. Above 1, each is there once, and copied as often as makes up the factor
/// on the average: the copies (`NAME-copy1`, …) come up to a hundredth of the span earlier or later and have no
/// recorded placement. Jobs that were there before, and other classes, stay as they are; so does everything at 1.
///
/// # Errors
/// There is no such class, the factor isn't a positive number, or the result would be over the bound.
pub fn scale_rate(
    scenario: &mut Scenario,
    class: &str,
    factor: f64,
    seed: u64,
) -> Result<(), TransformError> {
    in_range("the factor", factor, factor.is_finite() && factor >= 0.0, "zero or more")?;
    known_class(scenario, class)?;
    let span_us = scenario.span_us();
    let jitter_us = span_us / JITTER_PART;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7261_7465);
    let touched = scenario.jobs.iter().filter(|j| j.class == class && j.submit_us.is_some()).count() as f64;
    let expected = scenario.jobs.len() as f64 + touched * (factor - 1.0);
    if expected > SCENARIO_JOBS_MAX as f64 {
        return Err(TransformError::TooMany { jobs: expected as u64, max: SCENARIO_JOBS_MAX });
    }
    let mut jobs = Vec::with_capacity(expected as usize);
    for job in std::mem::take(&mut scenario.jobs) {
        let Some(submit_us) = job.submit_us.filter(|_| job.class == class) else {
            jobs.push(job);
            continue;
        };
        let times = factor.floor() as u64 + u64::from(unit(&mut rng) < factor.fract());
        for copy in 1..times {
            let shifted = submit_us + rng.random_range(0..=2 * jitter_us);
            let at_us = shifted.saturating_sub(jitter_us).min(span_us);
            jobs.push(copied(&job, copy, at_us));
        }
        if times > 0 {
            jobs.push(job);
        }
    }
    scenario.jobs = jobs;
    scenario.put_in_order();
    Ok(())
}

fn copied(job: &Job, number: u64, at_us: u64) -> Job {
    let mut copy = job.clone();
    copy.name = format!("{}-copy{number}", job.name);
    copy.submit_us = Some(at_us);
    for tasks in &mut copy.tasks {
        tasks.placed = None;
    }
    copy
}
