//! Quotas: the most that a team's live tasks may be promised together, per priority band.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::job::Band;
use crate::resources::{Dimension, Resources};

/// One team's limits and what its live tasks are promised, by band.
#[derive(Clone, Debug)]
struct Team {
    name: Arc<str>,
    limits: [Option<Resources>; 4],
    used: [Resources; 4],
}

/// Whom a job's tasks are charged to: a team, found once per job rather than by name per task, and a band.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    team: u32,
    band: Band,
}

/// All quotas of a cell.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    teams: Vec<Team>,
    by_name: BTreeMap<Arc<str>, u32>,
}

impl Quotas {
    /// A team's limit in a band.
    pub fn limit(&self, team: &str, band: Band) -> Option<&Resources> {
        self.named(team)?.limits[band as usize].as_ref()
    }

    /// What a team's live tasks of a band are promised.
    pub fn used(&self, team: &str, band: Band) -> Resources {
        self.named(team).map_or(Resources::ZERO, |t| t.used[band as usize])
    }

    /// All limits.
    pub fn limits(&self) -> impl Iterator<Item = (&str, Band, &Resources)> {
        self.in_order().flat_map(|team| {
            let set = move |band: Band| team.limits[band as usize].as_ref().map(|l| (&*team.name, band, l));
            Band::ALL.into_iter().filter_map(set)
        })
    }

    /// What every team uses, by band; teams that use nothing are left out.
    pub fn usage(&self) -> impl Iterator<Item = (&str, Band, Resources)> {
        self.in_order().flat_map(|team| {
            Band::ALL.into_iter().map(move |band| (&*team.name, band, team.used[band as usize]))
        })
    }

    /// The first dimension in which `wanted` more, on top of what is planned to be added and taken back, is over the
    /// team's limit: the dimension, what is wanted and what is left.
    pub fn first_over(
        &self,
        team: &str,
        band: Band,
        wanted: &Resources,
        (added, removed): &(Resources, Resources),
    ) -> Option<(Dimension, u64, u64)> {
        let limit = self.limit(team, band)?;
        let left = limit.minus(&self.used(team, band).plus(added).minus(removed));
        Dimension::all().map(|d| (d, wanted.get(d), left.get(d))).find(|(_, wanted, left)| wanted > left)
    }

    /// The account of a team's jobs in a band.
    pub(crate) fn account(&mut self, team: &str, band: Band) -> Account {
        if let Some(known) = self.by_name.get(team) {
            return Account { team: *known, band };
        }
        let slot = self.teams.len() as u32;
        let name: Arc<str> = team.into();
        self.by_name.insert(name.clone(), slot);
        self.teams.push(Team { name, limits: [None; 4], used: [Resources::ZERO; 4] });
        Account { team: slot, band }
    }

    /// The name of an account's team and its band, when it has a limit there: few do.
    pub(crate) fn limited(&self, account: Account) -> Option<(&Arc<str>, Band)> {
        let team = &self.teams[account.team as usize];
        team.limits[account.band as usize].is_some().then_some((&team.name, account.band))
    }

    pub(crate) fn set_limit(&mut self, team: &str, band: Band, limit: Option<Resources>) {
        let account = self.account(team, band);
        self.teams[account.team as usize].limits[band as usize] = limit;
    }

    /// What a team uses in a band, as somebody else has added it up.
    pub(crate) fn set_used(&mut self, team: &str, band: Band, used: &Resources) {
        let account = self.account(team, band);
        self.teams[account.team as usize].used[account.band as usize] = *used;
    }

    #[inline]
    pub(crate) fn charge(&mut self, account: Account, amount: &Resources) {
        let used = &mut self.teams[account.team as usize].used[account.band as usize];
        *used = used.plus(amount);
    }

    #[inline]
    pub(crate) fn release(&mut self, account: Account, amount: &Resources) {
        let used = &mut self.teams[account.team as usize].used[account.band as usize];
        *used = used.minus(amount);
    }

    fn named(&self, name: &str) -> Option<&Team> {
        self.teams.get(*self.by_name.get(name)? as usize)
    }

    fn in_order(&self) -> impl Iterator<Item = &Team> {
        self.by_name.values().map(|slot| &self.teams[*slot as usize])
    }
}
