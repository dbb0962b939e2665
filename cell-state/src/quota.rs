//! Quotas: the most that a team's live tasks may be promised together, per priority band.

use std::collections::BTreeMap;

use crate::job::Band;
use crate::resources::{Dimension, Resources};

/// One team's limits and what its live tasks are promised, by band.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Team {
    limits: [Option<Resources>; 4],
    used: [Resources; 4],
}

/// All quotas of a cell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quotas {
    teams: BTreeMap<String, Team>,
}

impl Quotas {
    /// A team's limit in a band.
    pub fn limit(&self, team: &str, band: Band) -> Option<&Resources> {
        self.teams.get(team)?.limits[band as usize].as_ref()
    }

    /// What a team's live tasks of a band are promised.
    pub fn used(&self, team: &str, band: Band) -> Resources {
        self.teams.get(team).map_or(Resources::ZERO, |t| t.used[band as usize])
    }

    /// All limits.
    pub fn limits(&self) -> impl Iterator<Item = (&str, Band, &Resources)> {
        self.teams.iter().flat_map(|(name, team)| {
            let set = move |band: Band| team.limits[band as usize].as_ref().map(|l| (name.as_str(), band, l));
            Band::ALL.into_iter().filter_map(set)
        })
    }

    /// What every team uses, by band; teams that use nothing are left out.
    pub fn usage(&self) -> impl Iterator<Item = (&str, Band, Resources)> {
        self.teams.iter().flat_map(|(name, team)| {
            Band::ALL.into_iter().map(move |band| (name.as_str(), band, team.used[band as usize]))
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

    pub(crate) fn set_limit(&mut self, team: &str, band: Band, limit: Option<Resources>) {
        self.team(team).limits[band as usize] = limit;
    }

    pub(crate) fn charge(&mut self, team: &str, band: Band, amount: &Resources) {
        let used = &mut self.team(team).used[band as usize];
        *used = used.plus(amount);
    }

    pub(crate) fn release(&mut self, team: &str, band: Band, amount: &Resources) {
        let used = &mut self.team(team).used[band as usize];
        *used = used.minus(amount);
    }

    fn team(&mut self, name: &str) -> &mut Team {
        if !self.teams.contains_key(name) {
            self.teams.insert(name.to_owned(), Team::default());
        }
        self.teams.get_mut(name).expect("just inserted")
    }
}
