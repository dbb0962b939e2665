//! The pages of a whole state, narrowed to what the follower of one scheduler's jobs gets of them: see [`crate::scope`].
//! What machines hold in sum isn't in any page; it follows as [`crate::scope::Loads`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{self, DecodeError};
use crate::ids::JobId;
use crate::session::{Memory, Session};

use super::{JobPage, MachinePage, PageKey, SMALL_JOBS, SmallGroup};

/// Which pages of a state the follower of one scheduler's jobs gets, and what of them.
#[derive(Debug)]
pub struct Narrow {
    own: BTreeSet<JobId>,
    /// Pages of jobs, with only the scheduler's in them.
    jobs: BTreeMap<PageKey, Vec<u8>>,
}

impl Narrow {
    /// Finds the scheduler's jobs among all pages of a state.
    ///
    /// # Errors
    /// A page of jobs doesn't decode.
    pub fn new<'a>(
        scheduler: &str,
        pages: impl Iterator<Item = (&'a PageKey, &'a [u8])>,
    ) -> Result<Narrow, DecodeError> {
        let mut narrow = Narrow { own: BTreeSet::new(), jobs: BTreeMap::new() };
        for (key, bytes) in pages.filter(|(key, _)| matches!(key, PageKey::Jobs(_))) {
            let mut jobs: Vec<JobPage> = codec::decode(bytes)?;
            jobs.retain(|job| job.versions.last().is_some_and(|(_, _, spec)| spec.scheduler == scheduler));
            if !jobs.is_empty() {
                narrow.own.extend(jobs.iter().map(|job| job.id));
                narrow.jobs.insert(*key, codec::encode(&jobs));
            }
        }
        Ok(narrow)
    }

    /// What the follower gets of a page; `None` is nothing.
    ///
    /// # Errors
    /// The page doesn't decode.
    pub fn page<'a>(&'a self, key: &PageKey, bytes: &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        Ok(match *key {
            PageKey::Meta | PageKey::Specs(_) => Some(Cow::Borrowed(bytes)),
            PageKey::Machines(_) => Some(self.machines(bytes)?),
            PageKey::Jobs(_) => self.jobs.get(key).map(|own| Cow::Borrowed(&own[..])),
            PageKey::Tasks(n) => self.small_groups(n, bytes)?.map(Cow::Owned),
            PageKey::Group(job, ..) => self.own.contains(&job).then_some(Cow::Borrowed(bytes)),
            PageKey::Session(_) => {
                let mut session: Session = codec::decode(bytes)?;
                session.remembered = Memory::default();
                Some(Cow::Owned(codec::encode(&session)))
            }
            PageKey::Assigned(_) => None,
        })
    }

    fn machines<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        let mut machines: Vec<MachinePage> = codec::decode(bytes)?;
        if machines.iter().all(|machine| machine.grants.is_empty() && machine.waiting.is_empty()) {
            return Ok(Cow::Borrowed(bytes));
        }
        for machine in &mut machines {
            machine.grants.retain(|(task, _)| self.own.contains(&task.job));
            machine.waiting.retain(|waiting| self.own.contains(&waiting.task.job));
        }
        Ok(Cow::Owned(codec::encode(&machines)))
    }

    fn small_groups(&self, page: u32, bytes: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        let first = u64::from(page) * u64::from(SMALL_JOBS);
        let number = |n: u64| JobId(u32::try_from(n).unwrap_or(u32::MAX));
        if self.own.range(number(first)..number(first + u64::from(SMALL_JOBS))).next().is_none() {
            return Ok(None);
        }
        let mut groups: Vec<SmallGroup> = codec::decode(bytes)?;
        groups.retain(|group| self.own.contains(&group.job));
        Ok((!groups.is_empty()).then(|| codec::encode(&groups)))
    }
}
