//! Subscriptions to one scheduler's jobs: nothing of others' but what they take up, and at rest the same answers as the
//! whole state gives.

use std::time::Duration;

use cell_state::event::{Event, Report, Seen};
use cell_state::overlay::Overlay;
use cell_state::page::Restore;
use cell_state::record::{self, Kind};
use cell_state::task::Exit;
use cell_state::{Cell, JobId, Seq, TaskId};
use transport::{Reply, Request, Scope};
use transport_quic::{Client, Subscription};

use crate::follower::Follower;
use crate::harness::{Agent, Ground, Running, Scheduler, done_at, job, machine, submit, tasks, within};

/// The scheduler whose jobs are followed.
const OWN: &str = "batch";

/// A copy of the machines and one scheduler's jobs.
struct Scoped {
    subscription: Subscription,
    cell: Cell,
    restore: Option<Restore>,
    at_rest: bool,
    snapshots: usize,
    /// Names of jobs that were submitted, and transactions, that came as entries.
    submitted: Vec<String>,
    committed: usize,
}

impl Scoped {
    async fn subscribe(client: &Client, cell: Cell, after: Option<Seq>) -> Scoped {
        let scope = Scope::Jobs { scheduler: OWN.into() };
        let subscription = within(client.subscribe(scope, after)).await.unwrap();
        let (restore, snapshots, submitted, committed) = (None, 0, Vec::new(), 0);
        Scoped { subscription, cell, restore, at_rest: true, snapshots, submitted, committed }
    }

    async fn until(&mut self, seq: Seq) {
        while self.cell.seq() < seq || !self.at_rest {
            let bytes = within(self.subscription.next()).await.unwrap().expect("the stream goes on");
            let mut rest = &bytes[..];
            while let Some((record, length)) = record::read(rest).unwrap() {
                rest = &rest[length..];
                self.take(&record);
            }
        }
    }

    fn take(&mut self, record: &record::Record<'_>) {
        match record.kind {
            Kind::SnapshotStart => {
                (self.restore, self.at_rest) = (Some(Restore::new(record.seq)), false);
                self.snapshots += 1;
            }
            Kind::Page => {
                let page = record.page().unwrap();
                self.restore.as_mut().expect("after its start").add(page.key, &page.bytes).unwrap();
            }
            Kind::SnapshotEnd => {
                assert_eq!(record.hash().unwrap(), None, "a part of the state has no hash");
                self.cell = self.restore.take().expect("after its start").finish().unwrap().scoped_to(OWN);
            }
            Kind::Event => {
                let event = record.event().unwrap();
                match &event {
                    Event::JobSubmitted { spec, .. } => self.submitted.push(spec.name.clone()),
                    Event::Committed(_) => self.committed += 1,
                    _ => {}
                }
                self.at_rest = false;
                self.cell.follow(record.seq, &event);
            }
            Kind::Loads => {
                let loads = record.loads().unwrap();
                self.cell.apply_loads(record.seq, &loads);
                self.at_rest = !loads.more;
            }
            Kind::Mark => panic!("loads say how far it is"),
        }
    }

    /// Compares with a copy of everything at the same position.
    fn is_like(&self, whole: &Cell) {
        assert_eq!(self.cell.seq(), whole.seq());
        for (own, machine) in self.cell.machines().iter().zip(whole.machines()) {
            assert_eq!((own.version, own.load.used), (machine.version, machine.load.used));
            assert_eq!((&own.spec, own.state, own.free()), (&machine.spec, machine.state, machine.free()));
        }
        assert_eq!(self.cell.machines().len(), whole.machines().len());
        let own = |cell: &Cell| {
            let own = cell.jobs().filter(|job| job.spec().scheduler == OWN);
            own.flat_map(|job| job.tasks().collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(own(&self.cell), own(whole));
        assert!(self.cell.jobs().all(|job| job.spec().scheduler == OWN), "others' jobs aren't here");
        for (task, _) in own(whole) {
            for machine in whole.machines() {
                let fits = |cell| Overlay::new().fits(cell, task, machine.id, &[]);
                assert_eq!(fits(&self.cell), fits(whole), "{task} on {}", machine.spec.name);
            }
        }
    }
}

/// A cell with two machines of four cores and two schedulers.
struct Stage {
    user: Client,
    agent: Agent,
    schedulers: [Scheduler; 2],
    reports: u64,
}

impl Stage {
    async fn new(ground: &Ground, server: &Running) -> Stage {
        let agent = ground.agent(server, "m*", &[machine("m0", 4), machine("m1", 4)]).await;
        let schedulers = [ground.scheduler(server, OWN, 1).await, ground.scheduler(server, "other", 2).await];
        Stage { user: ground.user(server).await, agent, schedulers, reports: 0 }
    }

    /// Submits a job of two tasks and places one of them; returns its number and the last position.
    async fn half_placed(&mut self, scheduler: usize, name: &str, machine: usize) -> (JobId, Seq) {
        let owner = self.schedulers[scheduler].client.identity().name.clone();
        let (id, at) = submit(&self.user, job(name, &owner, 2)).await;
        let machine = self.agent.machines[machine];
        let (at, outcomes) = self.schedulers[scheduler].place(at, &tasks(id, 1), machine).await;
        assert!(outcomes.iter().all(|outcome| outcome.is_accepted()), "{outcomes:?}");
        (id, at)
    }

    /// The first task of the job has ended on the first machine.
    async fn ended(&mut self, job: JobId) -> Seq {
        self.reports += 1;
        let task = TaskId { job, group: 0, index: 0 };
        let report = Report { task, epoch: 1, seen: Seen::Ended(Exit::Code(0)) };
        let machine = self.agent.machines[0];
        let request = Request::Report { machine, incarnation: 1, first: self.reports, reports: vec![report] };
        done_at(&self.agent.client, request).await.0
    }
}

#[tokio::test]
async fn a_scoped_copy_has_no_task_of_others_and_all_that_they_take_up() {
    let ground = Ground::new();
    let server = ground.start().await;
    let mut stage = Stage::new(&ground, &server).await;
    stage.half_placed(0, "own-0", 0).await;
    let (others, at) = stage.half_placed(1, "other-0", 0).await;
    let mut whole = Follower::fresh(&stage.user).await;
    whole.until_marked(at).await;
    let mut scoped = Scoped::subscribe(&stage.schedulers[0].client, Cell::new(), None).await;
    scoped.until(at).await;
    scoped.is_like(&whole.cell);
    assert_eq!(scoped.snapshots, 1);
    // From here on in the stream.
    let before = (scoped.submitted.len(), scoped.committed);
    stage.half_placed(1, "other-1", 0).await;
    stage.half_placed(1, "other-2", 1).await;
    stage.half_placed(0, "own-1", 1).await;
    let at = stage.ended(others).await;
    whole.until(at).await;
    scoped.until(at).await;
    scoped.is_like(&whole.cell);
    assert_eq!(scoped.submitted[before.0..], ["own-1"]);
    assert_eq!(scoped.committed - before.1, 1, "transactions of others don't come");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_scoped_copy_goes_on_where_it_was() {
    let ground = Ground::new();
    let server = ground.start().await;
    let mut stage = Stage::new(&ground, &server).await;
    let (others, at) = stage.half_placed(1, "other-0", 0).await;
    let mut scoped = Scoped::subscribe(&stage.schedulers[0].client, Cell::new(), None).await;
    scoped.until(at).await;
    // The subscription ends, and much happens.
    let (after, cell) = (scoped.cell.seq(), scoped.cell);
    stage.half_placed(1, "other-1", 1).await;
    stage.half_placed(0, "own-0", 0).await;
    let at = stage.ended(others).await;
    let mut scoped = Scoped::subscribe(&stage.schedulers[0].client, cell, Some(after)).await;
    scoped.until(at).await;
    let mut whole = Follower::fresh(&stage.user).await;
    whole.until_marked(at).await;
    scoped.is_like(&whole.cell);
    assert_eq!((scoped.snapshots, scoped.submitted.as_slice()), (0, &["own-0".to_owned()][..]));
    // So it does after a restart of the server, from the log.
    let (after, cell) = (scoped.cell.seq(), scoped.cell);
    submit(&stage.user, job("other-2", "other", 1)).await;
    server.stop().await.unwrap();
    let server = ground.start().await;
    let user = ground.user(&server).await;
    let (_, at) = submit(&user, job("own-1", OWN, 1)).await;
    let mut scoped = Scoped::subscribe(&user, cell, Some(after)).await;
    scoped.until(at).await;
    let mut whole = Follower::fresh(&user).await;
    whole.until_marked(at).await;
    scoped.is_like(&whole.cell);
    assert_eq!((scoped.snapshots, scoped.submitted.as_slice()), (0, &["own-1".to_owned()][..]));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_scoped_copy_older_than_the_log_gets_a_snapshot() {
    let ground = Ground::new();
    let tight = |config: &mut cell_server::ServerConfig| {
        config.ring_bytes = 1 << 20;
        config.retain_log_bytes = 0;
        config.checkpoint_every = Duration::from_millis(50);
    };
    let server = ground.start_with(tight).await;
    let mut stage = Stage::new(&ground, &server).await;
    let (_, at) = stage.half_placed(1, "other-0", 0).await;
    let mut scoped = Scoped::subscribe(&stage.user, Cell::new(), None).await;
    scoped.until(at).await;
    let (after, cell) = (scoped.cell.seq(), scoped.cell);
    drop(scoped.subscription);
    for round in 0.. {
        let Ok(Reply::Status(status)) = within(stage.user.call(Request::Status)).await else { panic!() };
        if status.oldest > after.next() {
            break;
        }
        assert!(round < 30, "the log is never trimmed");
        crate::streams::fill(&stage.user, &format!("round-{round}"), 300).await;
    }
    let (_, at) = stage.half_placed(1, "other-1", 0).await;
    let mut scoped = Scoped::subscribe(&stage.user, cell, Some(after)).await;
    scoped.until(at).await;
    let mut whole = Follower::fresh(&stage.user).await;
    whole.until_marked(at).await;
    scoped.is_like(&whole.cell);
    assert_eq!(scoped.snapshots, 1);
    server.stop().await.unwrap();
}
