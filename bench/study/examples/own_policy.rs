//! A policy of one's own in a study, beside a built-in one: `cargo run -p study --example own_policy`.

use cell_state::TaskId;
use schedulers::{Plan, Policy};
use study::experiment::{self, Doing, Own, Runs, Study, StudyError};

/// Puts each task on the first machine with room, from a random one on.
struct FirstFit;

impl Policy for FirstFit {
    fn name(&self) -> &str {
        "first-fit"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        for task in tasks {
            let placed = plan.machines().any(|machine| plan.place(*task, machine.id).is_ok());
            if !placed {
                return;
            }
        }
    }
}

/// Runs the study: its table.
pub(crate) fn table() -> Result<String, StudyError> {
    let study = Study::parse("own_policy.toml", include_str!("own_policy.toml"))?;
    let own = Own { name: "first-fit", make: &|_| Box::new(FirstFit) };
    let doing = Doing { threads: 2, done: &|_, _| (), own: Some(own) };
    Ok(experiment::run(&study, &mut Runs::default(), &doing)?.to_csv(&study))
}

fn main() -> Result<(), StudyError> {
    print!("{}", table()?);
    Ok(())
}
