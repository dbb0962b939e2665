//! Which task a person means: `JOB/GROUP/INDEX`, `JOB/INDEX`, `JOB`, or a task's id.

use cell_state::{JobId, TaskId};
use transport::view::JobView;

use crate::connection::Asker;
use crate::failure::Failure;

/// The task that was meant, and the name of its job.
///
/// # Errors
/// There is no such task, or several could be meant.
pub(crate) async fn find(server: &mut Asker, written: &str) -> Result<(String, TaskId), Failure> {
    let (job, task) = split(written);
    let (_, view) = server.job(None, &job, 0, 0).await?;
    let id = which_task(&view, task.as_deref())?;
    Ok((view.row.name, id))
}

/// The job and the task within it, as they were written: `web/main/3` is `web` and `main.3`, `j1.0.2` is `j1` and `0.2`.
pub(crate) fn split(written: &str) -> (String, Option<String>) {
    if let Some((job, task)) = written.split_once('/') {
        let task = match task.rsplit_once('/') {
            Some((group, index)) => format!("{group}.{index}"),
            None => task.to_owned(),
        };
        return (job.to_owned(), Some(task));
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = written.split('.').collect();
    match parts[..] {
        [job, group, index]
            if job.strip_prefix('j').is_some_and(is_number) && is_number(group) && is_number(index) =>
        {
            (job.to_owned(), Some(format!("{group}.{index}")))
        }
        _ => (written.to_owned(), None),
    }
}

/// The task that was meant: `main.3`, `0.3`, `3`, or the only one.
pub(crate) fn which_task(job: &JobView, written: Option<&str>) -> Result<TaskId, Failure> {
    let id = |group: usize, index: u32| TaskId { job: job.row.id, group: group as u16, index };
    let name = &job.row.name;
    let choices = || {
        let groups = job.spec.groups.iter().filter(|g| g.count > 0);
        let ranges: Vec<String> = groups
            .map(|g| match g.count {
                1 => format!("{name}/{}/0", g.name),
                count => format!("{name}/{0}/0 to {name}/{0}/{1}", g.name, count - 1),
            })
            .collect();
        ranges.join(", ")
    };
    let Some(written) = written else {
        if job.tasks_total == 1 {
            let group = job.groups.iter().position(|g| g.total() == 1).unwrap_or(0);
            return Ok(id(group, 0));
        }
        return Err(Failure::Input(format!("job {name} has several tasks; name one of {}", choices())));
    };
    let unknown =
        || Failure::Input(format!("job {name} has no task {written:?}; its tasks are {}", choices()));
    let own = written.strip_prefix(&format!("{}.", JobId(job.row.id.0))).unwrap_or(written);
    let (group, index) = match own.rsplit_once('.') {
        Some((group, index)) => {
            let named = job.spec.groups.iter().position(|g| g.name == group);
            let numbered = || group.parse().ok().filter(|n: &usize| *n < job.spec.groups.len());
            (named.or_else(numbered).ok_or_else(unknown)?, index)
        }
        None if job.spec.groups.len() == 1 => (0, own),
        None => return Err(unknown()),
    };
    let index: u32 = index.parse().map_err(|_| unknown())?;
    let held = job.groups.get(group).map_or(0, cell_state::job::Counts::total);
    if index < held { Ok(id(group, index)) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn tasks_are_written_in_several_ways() {
        let table = [
            ("web", "web", None),
            ("web/3", "web", Some("3")),
            ("web/main/3", "web", Some("main.3")),
            ("j12.0.3", "j12", Some("0.3")),
            ("j12", "j12", None),
            ("job.with.dots", "job.with.dots", None),
            ("j1.x.2", "j1.x.2", None),
        ];
        for (written, job, task) in table {
            assert_eq!(split(written), (job.to_owned(), task.map(str::to_owned)), "{written}");
        }
    }
}
