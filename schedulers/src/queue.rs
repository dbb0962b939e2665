//! The queue: which job to plan next. Step 2 (queue) of a placement's life.
//!
//! One entry per job, never per task. An entry is in any of these places at once, or in none while all its pending
//! tasks are in flight:
//!
//! ```text
//!                 offer, wake, time reached
//!      ┌──────────────────────────────────────────┐
//!      │                                          ▼
//!   waiting (until a time) ◀── pause ──────── ready (priority, then turn)
//!      │                                          │ pop, plan
//!      │                                          ▼
//!   blocked (per group, by class) ◀── fruitless ─ planned ── more to do ──▶ ready, with a later turn
//! ```
//!
//! A blocked group is woken by what it waits for: a machine that gave something back and that its demand fits, its
//! team's quota, its own job. Groups that ask for the same form a class; only the first of a class is woken, and the
//! next one follows unless that one ends up blocked in the class again, so that one freed machine doesn't wake ten
//! thousand jobs. A slow sweep wakes everything in turn without any reason, so that a wake-up that was never sent only
//! delays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cell_state::overlay::Overlay;
use cell_state::{Cell, JobId, MachineId, TaskId, Time};

use crate::bounds::{
    FREED_MACHINES_MAX, FRUITLESS_FIRST_US, FRUITLESS_MAX_US, SWEEP_CLASSES_MAX, SWEEP_US, WAKE_CHECKS_MAX,
};
use crate::class::Class;
use crate::exclude::{self, Exclusions};

/// The place of an entry in an order: higher priority first, then who came first, then whose turn is earlier.
type Rank = (Reverse<u16>, u64, JobId);

/// A blocked group in its class.
type Member = (Reverse<u16>, u64, JobId, u16);

#[derive(Debug, Default)]
struct Members {
    members: BTreeSet<Member>,
    /// One of the class was woken, and it isn't known yet what comes of it.
    open: bool,
}

#[derive(Debug)]
struct Entry {
    priority: u16,
    turn: u64,
    ready: bool,
    /// When it wakes by itself.
    wakes_at: Option<Time>,
    /// It isn't planned before this time.
    not_before: Time,
    blocked: BTreeMap<u16, (Class, Member)>,
    /// Groups that were woken as the first of their class.
    woken: Vec<(Class, u16)>,
    exclusions: Exclusions,
    losses: u32,
    fruitless: u32,
}

/// The queue of one scheduler process.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<JobId, Entry>,
    ready: BTreeSet<Rank>,
    waiting: BTreeSet<(Time, JobId)>,
    classes: BTreeMap<Class, Members>,
    freed: BTreeSet<MachineId>,
    now: Time,
    turns: u64,
    next_sweep: Time,
    sweep_from: (Option<Class>, Option<JobId>),
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Queue {
        Queue::default()
    }

    /// Jobs in the queue.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when no job is in the queue.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when a job can be popped now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The job has changed: takes it up, forgets what blocked it, and makes it ready.
    pub fn offer(&mut self, job: JobId, priority: u16) {
        self.ensure(job, priority);
        for group in self.blocked_groups(job) {
            self.unblock(job, group);
        }
        self.make_ready(job);
    }

    /// The job has something to place: takes it up unless it is known, and wakes it if nothing else would.
    pub fn ensure(&mut self, job: JobId, priority: u16) {
        if let Some(entry) = self.entries.get_mut(&job) {
            if entry.priority == priority {
                if !entry.ready && entry.wakes_at.is_none() && entry.blocked.is_empty() {
                    self.make_ready(job);
                }
                return;
            }
            let known = self.take_out(job);
            self.entries.extend(known.map(|entry| (job, Entry { priority, ..entry })));
        } else {
            self.turns += 1;
            let entry = Entry {
                priority,
                turn: self.turns,
                ready: false,
                wakes_at: None,
                not_before: Time(0),
                blocked: BTreeMap::new(),
                woken: Vec::new(),
                exclusions: Exclusions::default(),
                losses: 0,
                fruitless: 0,
            };
            self.entries.insert(job, entry);
        }
        self.make_ready(job);
    }

    /// Work of the job has come back: takes it up and makes it ready, whatever else of it is blocked.
    pub fn nudge(&mut self, job: JobId, priority: u16) {
        self.ensure(job, priority);
        self.make_ready(job);
    }

    /// The job has nothing left to place, or isn't this process's any more.
    pub fn forget(&mut self, job: JobId) {
        self.take_out(job);
    }

    /// Jobs in the queue, by number.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.entries.keys().copied()
    }

    /// Takes the next job to plan: the highest priority, then the earliest turn.
    pub fn pop(&mut self) -> Option<JobId> {
        let (_, _, job) = self.ready.pop_first()?;
        self.entries.get_mut(&job).expect("every ready job has an entry").ready = false;
        Some(job)
    }

    /// The job was planned and has more to do: it is ready again, behind the others of its priority.
    pub fn requeue(&mut self, job: JobId) {
        self.turns += 1;
        let turn = self.turns;
        if let Some(entry) = self.entries.get_mut(&job).filter(|e| !e.ready) {
            entry.turn = turn;
            self.make_ready(job);
        }
    }

    /// A group of the job couldn't be placed: it waits for what helps its class.
    pub fn block(&mut self, job: JobId, group: u16, class: Class) {
        self.unblock(job, group);
        let Some(entry) = self.entries.get_mut(&job) else { return };
        let member = (Reverse(entry.priority), entry.turn, job, group);
        entry.blocked.insert(group, (class.clone(), member));
        let members = self.classes.entry(class).or_default();
        members.members.insert(member);
        members.open = false;
    }

    /// Groups of the job that are blocked.
    pub fn blocked_groups(&self, job: JobId) -> Vec<u16> {
        self.entries.get(&job).map(|e| e.blocked.keys().copied().collect()).unwrap_or_default()
    }

    /// The job was planned, and its groups are blocked that are. Where one was woken as the first of its class and isn't
    /// blocked in it again, there may be more to have: the next one of the class follows.
    pub fn planned(&mut self, job: JobId) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        let woken = std::mem::take(&mut entry.woken);
        let blocked_again =
            |(class, group): &(Class, u16)| entry.blocked.get(group).is_some_and(|(c, _)| c == class);
        let passed_on: Vec<_> = woken.into_iter().filter(|woken| !blocked_again(woken)).collect();
        passed_on.iter().for_each(|(class, _)| self.wake_first(class));
    }

    /// Wakes the job at a time, unless it wakes earlier.
    pub fn wake_at(&mut self, job: JobId, time: Time) {
        let Some(entry) = self.entries.get_mut(&job).filter(|e| !e.ready) else { return };
        let time = time.max(entry.not_before);
        if entry.wakes_at.is_some_and(|earlier| earlier <= time) {
            return;
        }
        if let Some(later) = entry.wakes_at.replace(time) {
            self.waiting.remove(&(later, job));
        }
        self.waiting.insert((time, job));
    }

    /// The job isn't planned before this time.
    pub fn pause(&mut self, job: JobId, until: Time) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.not_before = entry.not_before.max(until);
        if entry.ready && until > self.now {
            entry.ready = false;
            self.ready.remove(&(Reverse(entry.priority), entry.turn, job));
            self.make_ready(job);
        }
    }

    /// A plan for the job placed nothing; from the second time in a row on it pauses, longer each time, so that it
    /// can't keep the others from their turn however often it is woken.
    pub fn fruitless(&mut self, job: JobId) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.fruitless += 1;
        if entry.fruitless >= 2 {
            let pause = (FRUITLESS_FIRST_US << (entry.fruitless - 2).min(16)).min(FRUITLESS_MAX_US);
            let until = self.now.plus(pause);
            self.pause(job, until);
        }
    }

    /// A plan for the job placed something.
    pub fn fruitful(&mut self, job: JobId) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.fruitless = 0;
        }
    }

    /// The machines a job avoids.
    pub fn exclusions(&self, job: JobId) -> &Exclusions {
        self.entries.get(&job).map_or(&exclude::NONE, |e| &e.exclusions)
    }

    /// The machines a job avoids, to be changed; `None` when the job isn't in the queue.
    pub fn exclusions_mut(&mut self, job: JobId) -> Option<&mut Exclusions> {
        self.entries.get_mut(&job).map(|e| &mut e.exclusions)
    }

    /// Counts a lost race of the job, or ends the count; returns how many were lost in a row.
    pub fn count_loss(&mut self, job: JobId, lost: bool) -> u32 {
        let Some(entry) = self.entries.get_mut(&job) else { return 0 };
        entry.losses = if lost { entry.losses + 1 } else { 0 };
        entry.losses
    }

    /// A machine gave something back.
    pub fn freed(&mut self, machine: MachineId) {
        if self.classes.is_empty() {
            return;
        }
        self.freed.insert(machine);
        if self.freed.len() > FREED_MACHINES_MAX {
            self.sweep_soon();
        }
    }

    /// Anything may be possible again: everything blocked is swept at the next chance.
    pub fn sweep_soon(&mut self) {
        self.freed.clear();
        self.next_sweep = Time(0);
    }

    /// Brings the queue to `now`: jobs whose time has come, classes that freed machines help, the sweep. Returns
    /// whether it swept, so that the caller can look for jobs the queue doesn't know.
    pub fn advance(&mut self, cell: &Cell, overlay: &Overlay, now: Time) -> bool {
        self.now = self.now.max(now);
        while let Some((time, job)) = self.waiting.first().copied().filter(|(time, _)| *time <= self.now) {
            self.waiting.remove(&(time, job));
            self.entries.get_mut(&job).expect("every waiting job has an entry").wakes_at = None;
            self.make_ready(job);
        }
        self.wake_by_freed(cell, overlay);
        if self.now < self.next_sweep {
            return false;
        }
        self.next_sweep = self.now.plus(SWEEP_US);
        self.sweep();
        true
    }

    /// When [`Queue::advance`] has something to do; at once when jobs are ready.
    pub fn next_time(&self) -> Option<Time> {
        if !self.ready.is_empty() || !self.freed.is_empty() {
            return Some(self.now);
        }
        let sweep = (!self.entries.is_empty()).then_some(self.next_sweep);
        self.waiting.first().map(|(time, _)| *time).into_iter().chain(sweep).min()
    }

    fn make_ready(&mut self, job: JobId) {
        let Some(entry) = self.entries.get_mut(&job).filter(|e| !e.ready) else { return };
        if entry.not_before > self.now {
            let time = entry.not_before;
            self.wake_at(job, time);
            return;
        }
        entry.ready = true;
        self.ready.insert((Reverse(entry.priority), entry.turn, job));
        if let Some(time) = entry.wakes_at.take() {
            self.waiting.remove(&(time, job));
        }
    }

    fn take_out(&mut self, job: JobId) -> Option<Entry> {
        for group in self.blocked_groups(job) {
            self.unblock(job, group);
        }
        let mut entry = self.entries.remove(&job)?;
        self.ready.remove(&(Reverse(entry.priority), entry.turn, job));
        if let Some(time) = entry.wakes_at.take() {
            self.waiting.remove(&(time, job));
        }
        entry.ready = false;
        std::mem::take(&mut entry.woken).iter().for_each(|(class, _)| self.wake_first(class));
        Some(entry)
    }

    fn unblock(&mut self, job: JobId, group: u16) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        let Some((class, member)) = entry.blocked.remove(&group) else { return };
        if let Some(members) = self.classes.get_mut(&class) {
            members.members.remove(&member);
            if members.members.is_empty() {
                self.classes.remove(&class);
            }
        }
    }

    /// Wakes the first of a class, and leaves word that the next may follow.
    fn wake_first(&mut self, class: &Class) {
        let Some(members) = self.classes.get_mut(class) else { return };
        members.open = true;
        let Some((_, _, job, group)) = members.members.first().copied() else { return };
        self.unblock(job, group);
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.woken.push((class.clone(), group));
        }
        self.make_ready(job);
    }

    fn wake_by_freed(&mut self, cell: &Cell, overlay: &Overlay) {
        if self.freed.is_empty() {
            return;
        }
        let machines = (WAKE_CHECKS_MAX / self.classes.len().max(1)).max(1).min(self.freed.len());
        let taken: Vec<MachineId> = std::iter::from_fn(|| self.freed.pop_first()).take(machines).collect();
        let closed = self.classes.iter().filter(|(_, members)| !members.open);
        let helped = closed.filter(|(class, members)| {
            // A class is never empty; the first of it stands for all.
            let first = members.members.first();
            first.is_some_and(|(_, _, job, group)| {
                class.is_helped(cell, overlay, &taken, TaskId { job: *job, group: *group, index: 0 })
            })
        });
        let helped: Vec<Class> = helped.map(|(class, _)| class.clone()).collect();
        for class in helped {
            self.wake_first(&class);
        }
    }

    /// Wakes the first of each class, and in turn every blocked job, both up to a bound.
    fn sweep(&mut self) {
        let from = self.sweep_from.0.take();
        let later = self.classes.keys().filter(|c| from.as_ref().is_none_or(|f| *c > f));
        let earlier = self.classes.keys().filter(|c| from.as_ref().is_some_and(|f| *c <= f));
        let classes: Vec<Class> = later.chain(earlier).take(SWEEP_CLASSES_MAX).cloned().collect();
        self.sweep_from.0 = classes.last().cloned();
        for class in classes {
            self.wake_first(&class);
        }
        let from = self.sweep_from.1.take();
        let blocked = || self.entries.iter().filter(|(_, e)| !e.blocked.is_empty()).map(|(job, _)| *job);
        let later = blocked().filter(|job| from.is_none_or(|f| *job > f));
        let earlier = blocked().filter(|job| from.is_some_and(|f| *job <= f));
        let jobs: Vec<JobId> = later.chain(earlier).take(SWEEP_CLASSES_MAX).collect();
        self.sweep_from.1 = jobs.last().copied();
        for job in jobs {
            for group in self.blocked_groups(job) {
                self.unblock(job, group);
            }
            self.make_ready(job);
        }
    }
}

#[cfg(test)]
mod tests;
