//! Transactions: verdicts, lost races, resends, refusals.

use cell_state::admit::RejectionCode;
use cell_state::fit::Misfit;
use cell_state::verdict::{ConflictKind, Outcome};
use cell_state::{Dimension, Seq, TxnId};
use transport::message::Refusal;
use transport::view::{Body, Query};
use transport::{Reply, Request, Role};

use crate::harness::{Ground, audited, job, machine, place, read, refused, submit, tasks, within};

#[tokio::test]
async fn a_job_is_submitted_placed_and_seen() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 3)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let (committed, outcomes) = scheduler.place(at, &tasks(id, 3), agent.machines[0]).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Placed(p) if p.epoch == 1)), "{outcomes:?}");

    let (seen, Body::Job(view)) =
        read(&user, None, Query::Job { name: "we".into(), skip: 1, limit: 9 }).await
    else {
        panic!()
    };
    assert!(seen >= committed, "what was answered can be read");
    assert_eq!((view.row.counts.placed, view.tasks_total, view.tasks.len()), (3, 3, 2));
    assert_eq!(view.tasks[0].machine.as_deref(), Some("m0"));
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_loser_of_the_last_slot_learns_all_about_it() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 1)]).await;
    let user = ground.user(&server).await;
    let (one, _) = submit(&user, job("one", "batch", 1)).await;
    let (two, basis) = submit(&user, job("two", "service", 1)).await;
    let mut batch = ground.scheduler(&server, "batch", 1).await;
    let mut service = ground.scheduler(&server, "service", 2).await;
    let slot = agent.machines[0];
    let (first, second) = (batch.propose(basis, vec![place(tasks(one, 1)[0], &[slot])]), {
        service.propose(basis, vec![place(tasks(two, 1)[0], &[slot])])
    });
    let winner = first.id;
    let (won, lost) = tokio::join!(batch.commit(first), async {
        // Sent at once, but by another party: either may be first, so the first goes first.
        tokio::task::yield_now().await;
        service.commit(second).await
    });
    let (won, lost) = (&won.1[0], &lost.1[0]);
    let (loser, by, winner) = match (won, lost) {
        (Outcome::Placed(_), Outcome::Conflict(conflict)) => (conflict, "batch", winner),
        (Outcome::Conflict(conflict), Outcome::Placed(_)) => {
            (conflict, "service", TxnId { session: service.session, number: 1 })
        }
        other => panic!("exactly one wins: {other:?}"),
    };
    assert_eq!(loser.machine, Some(slot));
    let expected = Misfit::Resource { dimension: Dimension::CPU, wanted: 1_000, free: 0 };
    assert_eq!(loser.kind, ConflictKind::Misfit(expected));
    let told = loser.winner.as_ref().unwrap();
    assert_eq!((told.scheduler.as_str(), told.txn), (by, winner));
    assert!(!loser.divergence);
    audited(&user).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_resend_gets_the_first_answer_also_after_a_restart() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4)]).await;
    let user = ground.user(&server).await;
    let (id, at) = submit(&user, job("web", "batch", 2)).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let txn = scheduler.propose(at, vec![place(tasks(id, 1)[0], &[agent.machines[0]])]);
    let first = scheduler.commit(txn.clone()).await;
    assert_eq!(scheduler.commit(txn.clone()).await, first);
    server.stop().await.unwrap();

    let server = ground.start().await;
    let scheduler = ground.scheduler(&server, "batch", 7).await;
    assert_eq!(
        (scheduler.session, scheduler.number),
        (txn.id.session, 1),
        "the same process has the same session"
    );
    assert_eq!(scheduler.commit(txn).await, first);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_speaks_for_another() {
    let ground = Ground::new();
    let server = ground.start().await;
    let agent = ground.agent(&server, "m0", &[machine("m0", 4)]).await;
    let mut scheduler = ground.scheduler(&server, "batch", 7).await;
    let other = ground.connect(&server, Role::Scheduler, "other").await;
    let stranger = ground.connect(&server, Role::Agent, "m1").await;

    let txn = scheduler.propose(Seq(0), Vec::new());
    let spec = machine("m0", 4);
    let reports = Vec::new();
    let machine = agent.machines[0];
    let rows = [
        (&other, Request::Commit(txn), "id.session"),
        (&stranger, Request::RegisterMachine { spec, incarnation: 1 }, "spec.name"),
        (&stranger, Request::Report { machine, incarnation: 1, first: 1, reports }, "machine"),
    ];
    for (client, request, field) in rows {
        match refused(client, request).await {
            Refusal::Rejected(rejection) => {
                assert_eq!((rejection.code, rejection.field.as_str()), (RejectionCode::NotAllowed, field));
            }
            other => panic!("{other:?}"),
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_queue_is_busy_at_once_and_nothing_is_lost() {
    let ground = Ground::new();
    let server = ground.start_with(|config| config.intake_items = 1).await;
    let user = ground.user(&server).await;
    let calls: Vec<_> = (0..2_000)
        .map(|n| {
            let user = user.clone();
            tokio::spawn(
                async move { user.call(Request::SubmitJob(job(&format!("job-{n}"), "batch", 1))).await },
            )
        })
        .collect();
    let (mut accepted, mut busy) = (0, 0);
    for call in calls {
        match within(call).await.unwrap() {
            Ok(Reply::Done { .. }) => accepted += 1,
            Err(transport_quic::CallError::Refused(Refusal::Busy)) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(busy > 0 && accepted > 0, "{busy} busy, {accepted} accepted");
    let (_, Body::Cell(cell)) = read(&user, None, Query::Cell).await else { panic!() };
    assert_eq!(cell.jobs, accepted);
    server.stop().await.unwrap();
}
