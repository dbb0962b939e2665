//! The agent of one machine: its three doors, and its link to the cell.
//!
//! ```text
//!   Offline ──Connected──▶ Registering ──Registered──▶ Online (reports flow)
//!      ▲                       ▲  ▲                        │
//!      └────Disconnected───────┘  └─ down, displaced, ─────┘
//!                                    not known to the cell
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cell_state::event::{Event, Report, Seen};
use cell_state::machine::MachineSpec;
use cell_state::task::Exit;
use cell_state::{MachineId, Resources, Seq, TaskId, Time};

use crate::bounds::DISPLACED_RETRY_US;
use crate::doors::{Input, Output, Refused, Setup};
use crate::due::Due;
use crate::follow::{Target, changes};
use crate::kept::Write;
use crate::outbox::Outbox;
use crate::placement::{Phase, Placement, PlacementId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Offline,
    Registering,
    /// Another agent took the machine's name: register again at this time.
    Displaced {
        retry_at: Time,
    },
    Online,
}

/// The agent of one machine.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) spec: Arc<MachineSpec>,
    pub(crate) incarnation: u64,
    pub(crate) machine: Option<MachineId>,
    pub(crate) limit: Resources,
    link: Link,
    /// The write that must be durable before the machine is registered: the one that began new records.
    register_after: u64,
    /// Whether a snapshot was applied since the records last began.
    pub(crate) synced: bool,
    /// How far the log was read.
    pub(crate) seq: Seq,
    /// What the cell is known to have reached: a snapshot from before says nothing.
    pub(crate) gate: Seq,
    pub(crate) placements: BTreeMap<PlacementId, Placement>,
    pub(crate) due: Due,
    /// When the last question was sent that the server answered; at first, when this agent began.
    pub(crate) heard_of: Option<Time>,
    pub(crate) outbox: Outbox,
    outputs: VecDeque<Output>,
    writes: u64,
    pub(crate) recorded: u64,
}

impl Agent {
    /// An agent at its start, not connected.
    pub fn new(setup: Setup) -> Agent {
        let Setup { spec, kept, found } = setup;
        let mut agent = Agent {
            limit: spec.capacity,
            spec,
            incarnation: kept.incarnation,
            machine: None,
            link: Link::Offline,
            register_after: 0,
            synced: false,
            seq: Seq(0),
            gate: Seq(0),
            placements: BTreeMap::new(),
            due: Due::default(),
            heard_of: None,
            outbox: Outbox::restore(kept.reported, &kept.reports),
            outputs: VecDeque::new(),
            writes: 0,
            recorded: 0,
        };
        agent.restore(kept, found);
        agent
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Connected { overcommit } => {
                self.limit = overcommit.limit(&self.spec.capacity);
                self.outbox.lost();
                self.register();
                self.ask_again();
            }
            Input::Disconnected => {
                self.outbox.lost();
                self.link = Link::Offline;
            }
            Input::Registered { machine, at } => self.registered(now, machine, at),
            Input::Snapshot { at, assigned } => self.snapshot(now, at, assigned),
            Input::Event { at, event } => self.event(now, at, event),
            Input::Change { at, change } => self.change(now, at, change),
            Input::Spec { job, version, spec } => self.spec_here(job, version, spec),
            Input::NoSpec { job, version } => self.spec_missing(now, job, version),
            Input::Recorded { upto } => self.recorded_upto(upto),
            Input::Prepared(id) => self.prepared(id),
            Input::Started(id) => self.started(now, id),
            Input::NotStarted(id, why) => self.ended(id, Exit::NotStarted(why)),
            Input::Ended(id, exit) => self.ended(id, exit),
            Input::Acknowledged { upto, at } => self.acknowledged(now, upto, at),
            Input::Refused(why) => self.refused(now, why),
            Input::Heard { sent } => self.heard(sent),
            Input::Wake => {}
        }
        self.do_due(now);
        self.prune_timers();
        self.due.look = true;
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && std::mem::take(&mut self.due.look) {
            // As late as possible: what arrived together is looked at once.
            self.start_what_fits();
        }
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // Reports are batched as late as possible, so that what happened together is sent together.
        let machine = self.machine.filter(|_| self.link == Link::Online)?;
        let (first, reports) = self.outbox.next_batch(self.recorded)?;
        Some(Output::Report { machine, incarnation: self.incarnation, first, reports })
    }

    /// When to call [`Agent::handle`] with [`Input::Wake`], if nothing happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        let link = match self.link {
            Link::Displaced { retry_at } => Some(retry_at),
            Link::Online => self.outbox.next_timeout(),
            Link::Offline | Link::Registering => None,
        };
        self.due.next_timer().into_iter().chain(link).chain(self.next_cut_off()).min()
    }

    /// The machine's description.
    pub fn spec(&self) -> &Arc<MachineSpec> {
        &self.spec
    }

    /// Whether it has a snapshot to build on; without one it does nothing that the log says.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether it is registered in this connection.
    pub fn is_online(&self) -> bool {
        self.link == Link::Online
    }

    /// The placements it knows, and whether each takes room on the machine.
    pub fn placements(&self) -> impl Iterator<Item = (PlacementId, bool)> {
        self.placements.iter().map(|(id, p)| (*id, p.is_here()))
    }

    /// The machine's number, once it is registered.
    pub fn machine(&self) -> Option<MachineId> {
        self.machine
    }

    /// The placements whose processes are there, with what each is promised as far as that is known.
    pub fn running(&self) -> impl Iterator<Item = (PlacementId, Resources)> {
        let running = self.placements.iter().filter(|(_, p)| p.phase == Phase::Running);
        running.map(|(id, p)| (*id, p.resources.unwrap_or(Resources::ZERO)))
    }

    /// Whether it knows a placement of this task.
    pub fn knows(&self, task: TaskId) -> bool {
        self.of_task(task).next().is_some()
    }

    pub(crate) fn of_task(&self, task: TaskId) -> impl DoubleEndedIterator<Item = (PlacementId, &Placement)> {
        let all = PlacementId::first_of(task)..=PlacementId { task, epoch: u32::MAX };
        self.placements.range(all).map(|(id, p)| (*id, p))
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Has a change of what is kept made durable, and returns its number.
    pub(crate) fn record(&mut self, write: Write) -> u64 {
        self.writes += 1;
        self.output(Output::Record { number: self.writes, write });
        self.writes
    }

    /// Puts a report among those to be sent, and returns its number.
    pub(crate) fn report(&mut self, id: PlacementId, seen: Seen) -> u64 {
        let report = Report { task: id.task, epoch: id.epoch, seen };
        let number = self.outbox.push(self.writes + 1, report);
        self.record(Write::Report { number, report });
        number
    }

    /// Asks to be registered, once new records are durable.
    pub(crate) fn register(&mut self) {
        self.link = Link::Registering;
        if self.register_after <= self.recorded {
            self.output(Output::Register { spec: self.spec.clone(), incarnation: self.incarnation });
        }
    }

    fn registered(&mut self, now: Time, machine: MachineId, at: Seq) {
        self.machine = Some(machine);
        if at < self.seq {
            // A log that goes back isn't the log that was read: the cell was made anew.
            self.seq = Seq(0);
            self.gate = Seq(0);
            return self.reincarnate(now);
        }
        self.gate = self.gate.max(at);
        if self.link == Link::Registering {
            self.link = Link::Online;
        }
    }

    /// Another agent registered this machine: what the cell had here is lost.
    pub(crate) fn displaced(&mut self, now: Time) {
        self.lose_all(now);
        self.link = Link::Displaced { retry_at: now.plus(DISPLACED_RETRY_US) };
    }

    /// The cell doesn't know these records: begin new ones. What runs is no longer assigned.
    fn reincarnate(&mut self, now: Time) {
        self.incarnation = self.incarnation.wrapping_add(1);
        self.outbox.reset();
        self.due.forget_reports();
        self.synced = false;
        self.lose_all(now);
        self.register_after = self.record(Write::Reincarnate { incarnation: self.incarnation });
        self.register();
    }

    fn recorded_upto(&mut self, upto: u64) {
        let waited = self.register_after > self.recorded;
        self.recorded = self.recorded.max(upto);
        if waited && self.link == Link::Registering {
            self.register();
        }
        self.start_recorded();
    }

    fn refused(&mut self, now: Time, why: Refused) {
        match why {
            Refused::Busy => self.outbox.busy(now),
            Refused::Unregistered => {
                self.outbox.lost();
                self.register();
            }
            Refused::Gap => self.reincarnate(now),
        }
    }

    fn acknowledged(&mut self, now: Time, upto: u64, at: Seq) {
        if !self.outbox.acknowledge(upto) {
            // The cell has seen more than was ever reported: these records are an old copy of others.
            return self.reincarnate(now);
        }
        self.record(Write::Acknowledged { upto });
        // Whatever is read from now on was written knowing these ends.
        self.gate = self.gate.max(at);
        for (number, id) in self.due.over_upto(upto) {
            let over = |p: &Placement| matches!(p.phase, Phase::Ended { report } if report == number);
            if self.placements.get(&id).is_some_and(over) {
                self.forget(id);
            }
        }
    }

    fn event(&mut self, now: Time, at: Seq, event: &Event) {
        if at <= self.seq {
            return;
        }
        changes(event, |target, change| {
            let concerns = match target {
                Target::Machine(machine) => self.machine == Some(machine),
                Target::Task(task) => self.knows(task),
                Target::Job(_) | Target::Everyone => true,
            };
            if concerns {
                self.change(now, at, change);
            }
        });
        self.seq = at;
    }

    /// What is due at this time.
    fn do_due(&mut self, now: Time) {
        self.outbox.wake(now);
        if matches!(self.link, Link::Displaced { retry_at } if retry_at <= now) {
            self.register();
        }
        self.placements_due(now);
        self.stop_cut_off(now);
    }
}
