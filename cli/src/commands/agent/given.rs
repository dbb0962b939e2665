//! What the operator of a machine lets its tasks have.

use agent_host::{ArtifactSettings, GivenSettings};
use cell_state::Dimension;

use crate::failure::Failure;
use crate::job_file::{Amount, amount};
use crate::typed::roles::AgentArgs;

/// Files of the machine, how much is kept of what is fetched, and secrets.
pub(super) fn given(args: &AgentArgs) -> Result<GivenSettings, Failure> {
    for (flag, is_given) in
        [("--artifacts", !args.artifacts.is_empty()), ("--secrets", args.secrets.is_some())]
    {
        if args.simulate.is_some() && is_given {
            let problem =
                format!("{flag}: the tasks of simulated machines have no files; remove it or --simulate");
            return Err(Failure::Input(problem));
        }
    }
    let bytes_max = amount(Dimension::DISK, Amount::Text(&args.artifact_cache))
        .map_err(|problem| Failure::Input(format!("--artifact-cache: {problem}")))?;
    for dir in &args.artifacts {
        if !dir.is_dir() {
            return Err(Failure::Input(format!("--artifacts: {} is no directory", dir.display())));
        }
    }
    let artifacts = ArtifactSettings { offered: args.artifacts.clone(), bytes_max };
    Ok(GivenSettings { artifacts, secrets: args.secrets.clone() })
}
