//! Following the log of the machines: the stream, and what its records tell the fleet. The agent's end of step 9
//! (stream) of a placement's life.

use agent::{Fleet, Input};
use cell_state::event::Event;
use cell_state::page::{Assigned, PageKey};
use cell_state::record::{self, Kind, Record};
use cell_state::{JobId, MachineId, Seq, Time, codec};
use tokio::sync::mpsc;
use transport::Scope;
use transport_quic::{CallError, Client};

use crate::bounds::FOLLOW_AGAIN;
use crate::connector::News;

/// Passes the stream on, from after a position or from a snapshot, until it ends.
pub(crate) async fn follow(
    client: Client,
    after: Option<Seq>,
    number: u64,
    again: bool,
    news: mpsc::Sender<News>,
) {
    if again {
        tokio::time::sleep(FOLLOW_AGAIN).await;
    }
    let why = match pass_on(&client, after, number, &news).await {
        Ok(()) => "the server ended it".to_owned(),
        Err(error) => error.to_string(),
    };
    drop(news.send(News::StreamEnded(number, why)).await);
}

async fn pass_on(
    client: &Client,
    after: Option<Seq>,
    number: u64,
    news: &mpsc::Sender<News>,
) -> Result<(), CallError> {
    let mut subscription = client.subscribe(Scope::Machines, after).await?;
    while let Some(records) = subscription.next().await? {
        if news.send(News::Records(number, records)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads records into a fleet.
#[derive(Default)]
pub(crate) struct Reader {
    /// The pages of a snapshot that isn't complete.
    snapshot: Vec<(MachineId, Vec<Assigned>)>,
}

/// What else the records said.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Aside {
    /// A snapshot has ended.
    pub(crate) snapshot_ended: bool,
    /// Jobs that the cell has forgotten.
    pub(crate) forgotten: Vec<JobId>,
}

impl Reader {
    /// Reads whole records.
    ///
    /// # Errors
    /// What is wrong with them, in words: the stream can't be followed any further.
    pub(crate) fn read(&mut self, now: Time, bytes: &[u8], fleet: &mut Fleet) -> Result<Aside, String> {
        let mut aside = Aside::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = record::read(rest).map_err(|error| error.to_string())?;
            let (record, length) = read.ok_or("a record that is cut short")?;
            self.record(now, &record, fleet, &mut aside)?;
            rest = &rest[length..];
        }
        Ok(aside)
    }

    fn record(
        &mut self,
        now: Time,
        record: &Record<'_>,
        fleet: &mut Fleet,
        aside: &mut Aside,
    ) -> Result<(), String> {
        match record.kind {
            Kind::Event => {
                let event = record.event().map_err(|error| error.to_string())?;
                fleet.event(now, record.seq, &event);
                if let Event::JobsForgotten { jobs } = event {
                    aside.forgotten.extend(jobs);
                }
            }
            Kind::SnapshotStart => self.snapshot.clear(),
            Kind::Page => {
                let page = record.page().map_err(|error| error.to_string())?;
                if let PageKey::Assigned(machine) = page.key {
                    let assigned = codec::decode(&page.bytes).map_err(|error| error.to_string())?;
                    self.snapshot.push((machine, assigned));
                }
            }
            Kind::SnapshotEnd => {
                for (machine, assigned) in self.snapshot.drain(..) {
                    if let Some(slot) = fleet.slot_of(machine) {
                        fleet.handle(now, slot, Input::Snapshot { at: record.seq, assigned: &assigned });
                    }
                }
                fleet.snapshot_ended(record.seq);
                aside.snapshot_ended = true;
            }
            Kind::Mark => fleet.position(record.seq),
            // Of no use to an agent, and never sent to one.
            Kind::Loads => {}
        }
        Ok(())
    }
}

/// A stream that is being followed.
pub(crate) struct Follower {
    pub(crate) number: u64,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    pub(crate) fn start(
        client: &Client,
        after: Option<Seq>,
        number: u64,
        again: bool,
        news: &mpsc::Sender<News>,
    ) -> Follower {
        tracing::debug!(?after, number, "following the log");
        let task = tokio::spawn(follow(client.clone(), after, number, again, news.clone()));
        Follower { number, task }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}
