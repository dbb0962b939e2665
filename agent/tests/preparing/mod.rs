//! What a task is to be given is there before it starts.

use std::sync::Arc;

use agent::{Agent, Input, Kept, Output, Spec};
use cell_state::event::Seen;
use cell_state::job::data::{Artifact, Unpack};
use cell_state::task::{ArtifactProblem, Exit, Lack, NotStarted, TaskState};
use cell_state::{JobId, Seq};

use super::{T0, assigned, drain, id, online, reports, spec, task};

/// Task 0 of an agent that has its spec, which names an artifact.
fn preparing() -> Agent {
    let artifact = Artifact {
        source: "http://host/app".into(),
        sha256: Some([1; 32]),
        destination: "app".into(),
        mode: 0o644,
        unpack: Unpack::No,
    };
    let mut job = (*spec(1).job).clone();
    job.groups[0].data.artifacts.push(artifact);
    let mut agent = online(Kept::new(7), Vec::new());
    agent.handle(T0, Input::Snapshot { at: Seq(1), assigned: &[assigned(0, TaskState::Placed)] });
    agent.handle(T0, Input::Spec { job: JobId(0), version: 1, spec: &Arc::new(Spec::compile(job)) });
    agent
}

#[test]
fn what_a_task_is_given_is_there_before_its_intent_is_recorded() {
    let mut agent = preparing();
    let outputs = drain(&mut agent);
    assert!(
        outputs.iter().any(|o| matches!(o, Output::Prepare(wanted, _) if *wanted == id(0))),
        "{outputs:?}"
    );
    assert!(!outputs.iter().any(|o| matches!(o, Output::Record { .. } | Output::Start(_))), "{outputs:?}");
    agent.handle(T0, Input::Prepared(id(0)));
    assert!(drain(&mut agent).iter().any(|o| matches!(o, Output::Start(s) if s.intent.id == id(0))));
}

#[test]
fn a_task_whose_data_can_not_be_had_never_starts_and_says_so() {
    let why = NotStarted::Lacks(Lack::Artifact(0, ArtifactProblem::Status(404)));
    let mut agent = preparing();
    drain(&mut agent);
    agent.handle(T0, Input::NotStarted(id(0), why));
    let outputs = drain(&mut agent);
    assert_eq!(reports(&outputs), [Seen::Ended(Exit::NotStarted(why))]);
    // Stopped while its data is on the way: over at once, and what arrives later starts nothing.
    let mut agent = preparing();
    drain(&mut agent);
    agent.handle(T0, Input::Snapshot { at: Seq(2), assigned: &[] });
    agent.handle(T0, Input::Prepared(id(0)));
    assert!(!drain(&mut agent).iter().any(|o| matches!(o, Output::Start(_))));
    assert!(!agent.knows(task(0)));
}
