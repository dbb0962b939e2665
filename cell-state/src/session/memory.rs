//! What a session remembers: the latest answers by number, in a queue, since numbers come almost in order.

use std::collections::VecDeque;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounds::{SESSION_OUTCOME_OPS_MAX, SESSION_OUTCOMES_MAX};

use super::Remembered;

/// Answers by number, with a running count of the ops they are about. Encoded like a map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// In the order of their numbers, each once.
    answers: VecDeque<(u64, Remembered)>,
    ops: usize,
}

impl Memory {
    /// How many answers are remembered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// True when nothing is.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The answer to the transaction of that number.
    pub fn get(&self, number: u64) -> Option<&Remembered> {
        let at = self.place(number).ok()?;
        self.answers.get(at).map(|(_, answer)| answer)
    }

    /// Remembers an answer, in place of an older one of the same number.
    pub(super) fn insert(&mut self, number: u64, answer: Remembered) {
        self.ops += answer.outcomes.len();
        match self.place(number) {
            Ok(at) => {
                self.ops -= self.answers[at].1.outcomes.len();
                self.answers[at].1 = answer;
            }
            Err(at) => self.answers.insert(at, (number, answer)),
        }
    }

    /// Forgets the oldest answer, when there are more than the bounds allow.
    pub(super) fn forget_beyond_bounds(&mut self) -> Option<u64> {
        let over =
            self.len() > SESSION_OUTCOMES_MAX || (self.ops > SESSION_OUTCOME_OPS_MAX && self.len() > 1);
        let (number, forgotten) = if over { self.answers.pop_front()? } else { return None };
        self.ops -= forgotten.outcomes.len();
        Some(number)
    }

    /// Where the number is, or belongs. Almost always that is the end, or as far from the front as the numbers say.
    fn place(&self, number: u64) -> Result<usize, usize> {
        let (Some((first, _)), Some((last, _))) = (self.answers.front(), self.answers.back()) else {
            return Err(0);
        };
        if number > *last {
            return Err(self.answers.len());
        }
        let guess = number.saturating_sub(*first) as usize;
        if self.answers.get(guess).is_some_and(|(found, _)| *found == number) {
            return Ok(guess);
        }
        self.answers.binary_search_by_key(&number, |(number, _)| *number)
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.answers.iter().map(|(number, answer)| (number, answer)))
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Memory, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Memory;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("answers by number")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Memory, A::Error> {
        let mut memory = Memory::default();
        while let Some((number, answer)) = entries.next_entry()? {
            memory.insert(number, answer);
        }
        Ok(memory)
    }
}
