//! Specs of job versions, fetched once and shared by all placements that run them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use agent::Spec;
use cell_state::JobId;

use crate::bounds::SPECS_MAX;

/// A job version.
pub(crate) type Version = (JobId, u32);

#[derive(Default)]
pub(crate) struct Specs {
    here: BTreeMap<Version, Arc<Spec>>,
    /// Those here, the oldest first.
    order: VecDeque<Version>,
    /// Those asked for, with the slots that wait for them.
    asked: BTreeMap<Version, BTreeSet<usize>>,
}

/// What asking for a spec leads to.
pub(crate) enum Found {
    Here(Arc<Spec>),
    /// It is to be fetched.
    Fetch,
    /// It is being fetched.
    Coming,
}

impl Specs {
    /// Asks for a spec on behalf of a slot.
    pub(crate) fn ask(&mut self, version: Version, slot: usize) -> Found {
        if let Some(spec) = self.here.get(&version) {
            return Found::Here(spec.clone());
        }
        let slots = self.asked.entry(version).or_default();
        slots.insert(slot);
        if slots.len() == 1 { Found::Fetch } else { Found::Coming }
    }

    /// Takes a spec in, and returns the slots that waited for it.
    pub(crate) fn arrived(&mut self, version: Version, spec: Arc<Spec>) -> BTreeSet<usize> {
        if self.here.insert(version, spec).is_none() {
            self.order.push_back(version);
        }
        while self.order.len() > SPECS_MAX {
            // Placements that wait for it hold it themselves.
            self.order.pop_front().map(|oldest| self.here.remove(&oldest));
        }
        self.asked.remove(&version).unwrap_or_default()
    }

    /// A spec could not be had; returns the slots that waited for it.
    pub(crate) fn missing(&mut self, version: Version) -> BTreeSet<usize> {
        self.asked.remove(&version).unwrap_or_default()
    }

    /// Forgets all: another connection may lead to a cell that was made anew.
    pub(crate) fn clear(&mut self) {
        *self = Specs::default();
    }
}
