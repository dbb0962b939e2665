//! Attributes of machines, jobs bound to them, and the band a class is in.

use cell_state::bounds::PRIORITY_MAX;
use cell_state::constraint::Constraint;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{TransformError, in_range, known_class, unit};
use crate::Scenario;

/// Gives every machine one of these values of an attribute, each as often as its weight says.
///
/// # Errors
/// A weight is negative, or none is positive.
pub fn label(
    scenario: &mut Scenario,
    attribute: &str,
    values: &[(String, f64)],
    seed: u64,
) -> Result<(), TransformError> {
    let sound = |weight: f64| weight.is_finite() && weight >= 0.0;
    for (_, weight) in values {
        in_range("a weight", *weight, sound(*weight), "zero or more")?;
    }
    let sum: f64 = values.iter().map(|(_, weight)| weight).sum();
    in_range("the sum of the weights", sum, sum > 0.0, "more than zero")?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6c61_6265);
    for machine in &mut scenario.machines {
        let mut left = unit(&mut rng) * sum;
        let drawn = values.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave nothing: then it is the last one that can be drawn at all.
        let drawn = drawn.or_else(|| values.iter().rfind(|(_, weight)| *weight > 0.0));
        if let Some((value, _)) = drawn {
            machine.attributes.insert(attribute.to_owned(), value.clone());
        }
    }
    Ok(())
}

/// Binds this share of the jobs of a class to machines that satisfy a constraint. Recorded placements of bound jobs
/// that don't are dropped.
///
/// # Errors
/// There is no such class, or the share isn't between 0 and 1.
pub fn bind(
    scenario: &mut Scenario,
    class: &str,
    share: f64,
    constraint: &Constraint,
    seed: u64,
) -> Result<(), TransformError> {
    in_range("the share of jobs", share, (0.0..=1.0).contains(&share), "between 0 and 1")?;
    known_class(scenario, class)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6269_6e64);
    let matcher = cell_state::constraint::Matcher::compile(constraint).ok();
    let satisfied: Vec<bool> = scenario
        .machines
        .iter()
        .map(|m| matcher.as_ref().is_some_and(|matcher| matcher.matches(&m.name, &m.attributes)))
        .collect();
    for job in scenario.jobs.iter_mut().filter(|j| j.class == class) {
        if unit(&mut rng) >= share {
            continue;
        }
        for tasks in &mut job.tasks {
            tasks.constraints.push(constraint.clone());
            tasks.placed = tasks.placed.filter(|p| satisfied[p.machine as usize]);
        }
    }
    Ok(())
}

/// Gives all jobs of a class this priority, and so the band that decides whom they may preempt: those of lower bands.
///
/// # Errors
/// There is no such class, or no such priority.
pub fn set_priority(scenario: &mut Scenario, class: &str, priority: u16) -> Result<(), TransformError> {
    in_range("the priority", f64::from(priority), priority <= PRIORITY_MAX, "0 to 399")?;
    known_class(scenario, class)?;
    for job in scenario.jobs.iter_mut().filter(|j| j.class == class) {
        job.priority = priority;
    }
    Ok(())
}
