//! Compares a copy of the cell with what its history adds up to.

use std::collections::BTreeMap;

use cell_state::job::{Band, Desired};
use cell_state::{Cell, MachineId, Resources};

use super::{History, Life, Wrong, must};

impl History {
    /// Whether the entries read so far, and nothing else, explain this state.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn explains(&self, cell: &Cell) -> Result<(), Wrong> {
        must!(cell.seq() == self.seq(), "the copy is at {}, the history at {}", cell.seq(), self.seq);
        self.none_over()?;
        self.machines_are(cell)?;
        self.jobs_are(cell)?;
        self.sessions_are(cell)?;
        self.teams_are(cell)
    }

    fn machines_are(&self, cell: &Cell) -> Result<(), Wrong> {
        must!(cell.machines().len() == self.machines.len(), "{} machines", cell.machines().len());
        for (index, (found, known)) in cell.machines().iter().zip(&self.machines).enumerate() {
            let (id, name) = (MachineId(index as u32), &known.spec.name);
            must!(*found.spec == known.spec && found.state == known.state, "{name} is {}", found.state);
            must!(
                (found.incarnation, found.reports_seen) == (known.incarnation, known.reports_seen),
                "{name} has seen {} reports, its history {}",
                found.reports_seen,
                known.reports_seen
            );
            let (used, sum) = (found.load.used, self.used(id));
            must!(used == sum, "{name} counts {used:?} used, its history {sum:?}");
            must!(found.load.tasks.len() == known.tasks.len(), "{name} holds {}", found.load.tasks.len());
            let stranger = found.load.tasks.iter().find(|task| !known.tasks.contains(task));
            must!(stranger.is_none(), "{name} holds {stranger:?}, which its history doesn't put there");
            self.grants(id)?;
        }
        Ok(())
    }

    fn jobs_are(&self, cell: &Cell) -> Result<(), Wrong> {
        must!(cell.jobs().count() == self.jobs.len(), "{} jobs", cell.jobs().count());
        let mut tasks = 0;
        for (id, known) in &self.jobs {
            let job = cell.job(*id).ok_or_else(|| format!("{id} is missing"))?;
            must!(*job.spec() == known.spec, "{id} has another spec");
            let wanted = job.desired == Desired::Run;
            must!((job.current().version, wanted) == (known.version, known.wanted), "{id} is {job:?}");
            for (id, found) in job.tasks() {
                let task = self.tasks.get(&id).ok_or_else(|| format!("{id} has no history"))?;
                let life = Life::of(found.state);
                must!(
                    (life, found.epoch, found.restarts) == (task.life, task.epoch, task.restarts),
                    "{id} is {found:?}, its history says {task:?}"
                );
                if task.life.is_live() {
                    let charge = cell.charge(id);
                    must!(
                        (found.machine, charge) == (task.machine, task.promised),
                        "{id} is on {:?} with {charge:?}, its history says {task:?}",
                        found.machine
                    );
                }
                tasks += 1;
            }
        }
        must!(tasks == self.tasks.len(), "{tasks} tasks, {} in history", self.tasks.len());
        Ok(())
    }

    fn sessions_are(&self, cell: &Cell) -> Result<(), Wrong> {
        for found in cell.sessions().iter() {
            let known = self.sessions.get(&found.id);
            let known = known.ok_or_else(|| format!("session {} has no history", found.id.0))?;
            must!(
                found.live == known.live && found.scheduler == known.scheduler,
                "session {} is {found:?}",
                found.id.0
            );
            let last = known.answers.last_key_value().map_or(0, |(number, _)| *number);
            must!(found.last_number == last, "session {} is at {}", found.id.0, found.last_number);
            // What is remembered is the newest of what was answered, and nothing else.
            for (number, told) in known.answers.iter().rev().take(found.remembered.len()) {
                let answer = found.remembered.get(*number);
                let same = answer.is_some_and(|a| a.at == told.at && a.outcomes[..] == told.outcomes[..]);
                must!(same, "the answer to {number} of session {} is {answer:?}", found.id.0);
            }
            must!(
                found.remembered.len() <= known.answers.len(),
                "session {} remembers more than was answered",
                found.id.0
            );
        }
        Ok(())
    }

    fn teams_are(&self, cell: &Cell) -> Result<(), Wrong> {
        let mut sums: BTreeMap<(String, Band), Resources> = BTreeMap::new();
        for (id, task) in self.tasks.iter().filter(|(_, t)| t.life.is_live()) {
            let spec = &self.jobs[&id.job].spec;
            let sum = sums.entry((spec.team.clone(), Band::of(spec.priority))).or_default();
            *sum = sum.plus(&task.promised);
        }
        for ((team, band), sum) in &sums {
            let used = cell.quotas().used(team, *band);
            must!(used == *sum, "team {team} is charged {used:?}, its tasks add up to {sum:?}");
        }
        let limits: BTreeMap<_, _> =
            cell.quotas().limits().map(|(t, b, l)| ((t.to_owned(), b), *l)).collect();
        must!(limits == self.quotas, "the quotas are {limits:?}");
        Ok(())
    }
}
