//! The machines a placement may go to, without an allocation for the usual few.

use std::fmt;
use std::ops::Deref;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::ids::MachineId;

/// The machines a place op names: the first choice, then the fallbacks. Encoded like a `Vec`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Choices(SmallVec<[MachineId; INLINE]>);

/// Machines kept without an allocation: as many as fit in the size of a `Vec`.
const INLINE: usize = 4;

impl Deref for Choices {
    type Target = [MachineId];

    fn deref(&self) -> &[MachineId] {
        &self.0
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<MachineId> for Choices {
    fn from(machine: MachineId) -> Choices {
        [machine].into()
    }
}

impl<const N: usize> From<[MachineId; N]> for Choices {
    fn from(machines: [MachineId; N]) -> Choices {
        machines.as_slice().into()
    }
}

impl From<&[MachineId]> for Choices {
    fn from(machines: &[MachineId]) -> Choices {
        Choices(SmallVec::from_slice(machines))
    }
}

impl From<Vec<MachineId>> for Choices {
    fn from(machines: Vec<MachineId>) -> Choices {
        machines.as_slice().into()
    }
}

impl FromIterator<MachineId> for Choices {
    fn from_iter<I: IntoIterator<Item = MachineId>>(machines: I) -> Choices {
        Choices(machines.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Choices {
    type Item = &'a MachineId;
    type IntoIter = std::slice::Iter<'a, MachineId>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for Choices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Choices, D::Error> {
        deserializer.deserialize_seq(Elements)
    }
}

/// Takes elements as they come: a claimed length reserves nothing.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Choices;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of machines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Choices, A::Error> {
        let mut machines = SmallVec::new();
        while let Some(machine) = elements.next_element()? {
            machines.push(machine);
        }
        Ok(Choices(machines))
    }
}
