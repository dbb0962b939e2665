//! Writing pages.

use crate::cell::Cell;
use crate::codec;
use crate::ids::JobId;
use crate::job::Job;
use crate::machine::Machine;
use crate::task::packed::Packed;

use super::{
    GROUP_TASKS, JOBS, JobPage, MACHINES, MachinePage, MetaPage, PageKey, SMALL_GROUP, SMALL_JOBS, SmallGroup,
};

impl Cell {
    /// Every page of the state, in order.
    pub fn page_keys(&self) -> Vec<PageKey> {
        let mut keys = vec![PageKey::Meta];
        let machine_pages = (self.machines.len() as u32).div_ceil(MACHINES);
        keys.extend((0..machine_pages).map(PageKey::Specs));
        keys.extend((0..machine_pages).map(PageKey::Machines));
        let (mut jobs, mut tasks, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for job in self.jobs() {
            jobs.push(PageKey::of_job(job.id));
            for (group, g) in job.groups.iter().enumerate() {
                for key in PageKey::of_group(job.id, group as u16, g.tasks.len()) {
                    if matches!(key, PageKey::Tasks(_)) { tasks.push(key) } else { groups.push(key) }
                }
            }
        }
        jobs.dedup();
        tasks.dedup();
        keys.extend(jobs);
        keys.extend(tasks);
        keys.extend(groups);
        keys.extend(self.sessions.iter().map(|s| PageKey::Session(s.id)));
        keys
    }

    /// The bytes of a page, or `None` when the state has no such page.
    pub fn encode_page(&self, key: &PageKey) -> Option<Vec<u8>> {
        match *key {
            PageKey::Meta => Some(codec::encode(&self.meta_page())),
            PageKey::Specs(n) => {
                let machines = self.machines_of(n)?;
                Some(codec::encode(&machines.iter().map(|m| &*m.spec).collect::<Vec<_>>()))
            }
            PageKey::Machines(n) => {
                let machines = self.machines_of(n)?;
                Some(codec::encode(&machines.iter().map(machine_page).collect::<Vec<_>>()))
            }
            PageKey::Jobs(n) => {
                let jobs: Vec<_> = self.jobs_of(n, JOBS).map(job_page).collect();
                (!jobs.is_empty()).then(|| codec::encode(&jobs))
            }
            PageKey::Tasks(n) => {
                let groups: Vec<_> = self.jobs_of(n, SMALL_JOBS).flat_map(small_groups).collect();
                (!groups.is_empty()).then(|| codec::encode(&groups))
            }
            PageKey::Group(job, group, n) => {
                let tasks = &self.job(job)?.groups.get(usize::from(group))?.tasks;
                if tasks.len() <= SMALL_GROUP {
                    return None;
                }
                let from = n as usize * GROUP_TASKS as usize;
                let to = from + GROUP_TASKS as usize;
                let records = tasks.records().get(from..to.min(tasks.len()))?;
                Some(codec::encode(&records.iter().map(Packed::task).collect::<Vec<_>>()))
            }
            PageKey::Session(id) => self.session(id).map(codec::encode),
            PageKey::Assigned(_) => None,
        }
    }

    fn meta_page(&self) -> MetaPage {
        MetaPage {
            time: self.time,
            config: self.config.clone(),
            machines: self.machines.len() as u32,
            next_job: self.next_job().0,
            next_session: self.sessions.next().0,
            quotas: self.quotas.limits().map(|(team, band, limit)| (team.to_owned(), band, *limit)).collect(),
        }
    }

    fn machines_of(&self, page: u32) -> Option<&[Machine]> {
        let from = page as usize * MACHINES as usize;
        let to = from + MACHINES as usize;
        self.machines.get(from..to.min(self.machines.len())).filter(|machines| !machines.is_empty())
    }

    fn jobs_of(&self, page: u32, size: u32) -> impl Iterator<Item = &Job> {
        // A page may be named whose jobs could have no numbers.
        let first = u64::from(page) * u64::from(size);
        (first..first + u64::from(size)).filter_map(|id| self.job(JobId(u32::try_from(id).ok()?)))
    }
}

fn machine_page(machine: &Machine) -> MachinePage {
    let mut waiting = machine.load.extra().waiting.clone();
    waiting.sort_by_key(|w| w.task);
    MachinePage {
        state: machine.state,
        version: machine.version,
        changed_by: machine.changed_by(),
        incarnation: machine.incarnation,
        reports_seen: machine.reports_seen,
        grants: machine.load.extra().grants.iter().map(|(task, grant)| (*task, grant.clone())).collect(),
        waiting,
    }
}

fn job_page(job: &Job) -> JobPage {
    JobPage {
        id: job.id,
        desired: job.desired,
        submitted: job.submitted,
        versions: job.versions.iter().map(|v| (v.version, v.since, (*v.spec).clone())).collect(),
        resized: job.resized.iter().map(|(task, amount)| (*task, *amount)).collect(),
        sizes: job.groups.iter().map(|g| g.tasks.len() as u32).collect(),
    }
}

fn small_groups(job: &Job) -> impl Iterator<Item = SmallGroup> {
    let small = job.groups.iter().enumerate().filter(|(_, g)| g.tasks.len() <= SMALL_GROUP);
    small.map(|(group, g)| SmallGroup { job: job.id, group: group as u16, tasks: g.tasks.iter().collect() })
}
