//! How a run begins: its schedulers, its machines, who may use which of them, and what each sees.

use std::collections::{BTreeMap, VecDeque};

use cell_state::MachineId;
use cell_state::admit::{Answer, Command};
use cell_state::event::Event;
use cell_state::machine::{MachineSpec, MachineState};
use cell_state::overlay::Overlay;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use schedulers::pace::Pace;
use schedulers::plan::Rng;
use schedulers::sight::Within;

use super::offers::Offers;
use super::run::{Policies, Run, START};
use super::scheduler::Scheduler;
use super::{Architecture, Class};
use crate::scenario::{Change, MachineChange};

impl Run<'_> {
    /// Opens the sessions of a class of schedulers: processes of one name.
    pub(super) fn open(&mut self, class: Class, count: u32, policies: &mut Policies<'_>) {
        let first = self.schedulers.len();
        self.groups[class as usize] = (first, count as usize);
        let counts = self.class_counts(class);
        (counts.schedulers, counts.by_scheduler) = (u64::from(count), vec![[0; 2]; count as usize]);
        let settings = self.settings;
        for place in 0..count as usize {
            let number = self.schedulers.len() as u64;
            let command = Command::OpenSession { scheduler: self.name(class), instance: number };
            let Answer::Session { session, .. } = self.command(command) else {
                unreachable!("opening a session is answered with its number")
            };
            self.schedulers.push(Scheduler {
                class,
                place,
                session,
                number: 0,
                rng: Rng::seed_from_u64(settings.seed.wrapping_mul(1_000_003).wrapping_add(number)),
                policy: policies(class, place),
                queue: VecDeque::new(),
                thinking: None,
                flights: VecDeque::new(),
                pace: Pace::new(settings.in_flight, settings.tasks_per_txn, settings.adaptive),
                overlay: Overlay::new(),
                unseen: VecDeque::new(),
                view: None,
                within: None,
                hurried: false,
            });
        }
    }

    /// Registers the machines; returns the number of each.
    pub(super) fn register(&mut self, machines: &[MachineSpec], changes: &[MachineChange]) -> Vec<MachineId> {
        let mut order: Vec<usize> = (0..machines.len()).collect();
        // Where machines are divided each part gets its share of every kind.
        match self.settings.architecture {
            Architecture::Partitions { .. } | Architecture::PartitionedSync { .. } => {
                order.shuffle(&mut Rng::seed_from_u64(self.settings.seed ^ 0x7061_7274));
            }
            Architecture::Shared
            | Architecture::MonoSingle
            | Architecture::MonoMulti
            | Architecture::Offers { .. } => {}
        }
        let mut numbers = vec![MachineId(0); machines.len()];
        for (number, at) in (0..).zip(&order) {
            numbers[*at] = MachineId(number);
            self.command(Command::RegisterMachine { spec: machines[*at].clone(), incarnation: 1 });
        }
        let mut first: BTreeMap<u32, Change> = BTreeMap::new();
        for change in changes {
            first.entry(change.machine).or_insert(change.change);
        }
        for (machine, _) in first.iter().filter(|(_, change)| **change == Change::Up) {
            let machine = numbers[*machine as usize];
            self.apply(&Event::MachineStateSet {
                machine,
                state: MachineState::Down,
                grace_us: None,
                time: START,
            });
        }
        numbers
    }

    /// Says who may use which machines.
    pub(super) fn share_out(&mut self, order: &[MachineId]) {
        let machines = order.len();
        match self.settings.architecture {
            Architecture::Partitions { service_percent } => {
                let service = machines * usize::from(service_percent.min(100)) / 100;
                for scheduler in &mut self.schedulers {
                    let (first, all, of) = match scheduler.class {
                        Class::Service => (0, service, self.settings.service_schedulers),
                        Class::Batch => (service, machines - service, self.settings.batch_schedulers),
                    };
                    let of = of.max(1) as usize;
                    let at = |place: usize| first + all * place / of;
                    let range = at(scheduler.place)..at(scheduler.place + 1);
                    scheduler.within = Some(Within::range(range, machines));
                }
            }
            Architecture::Offers { every_us } => {
                let capacity = self.capacity();
                self.offers = Some(Offers::new(self.schedulers.len(), capacity, every_us.max(1)));
            }
            Architecture::Shared
            | Architecture::MonoSingle
            | Architecture::MonoMulti
            | Architecture::PartitionedSync { .. } => {}
        }
    }

    pub(super) fn begin_views(&mut self) {
        let (now, lag_us) = (self.now, self.settings.staleness_us);
        if let Architecture::PartitionedSync { parts, gap_us, .. } = self.settings.architecture {
            let schedulers = self.schedulers.len();
            self.views.by_parts(&self.cell, now, parts, gap_us, schedulers);
            self.schedulers.iter_mut().enumerate().for_each(|(view, s)| s.view = Some(view));
        } else if lag_us > 0 {
            self.views.lag(&self.cell, now, lag_us);
            self.schedulers.iter_mut().for_each(|scheduler| scheduler.view = Some(0));
        }
    }
}
