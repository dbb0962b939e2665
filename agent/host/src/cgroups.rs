//! Which cgroups a process is in that another isn't, of either version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where the kernel's cgroup hierarchies are.
const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The directories of the cgroups that one process is in and the other isn't, by their controllers; the unified hierarchy
/// has none. Both are directories in `/proc`.
pub(crate) fn apart(theirs: &Path, ours: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let read = |proc: &Path| fs::read_to_string(proc.join("cgroup")).map(|text| parse(&text));
    let (theirs, ours) = (read(theirs)?, read(ours)?);
    let apart = theirs.into_iter().filter(|(of, path)| ours.get(of) != Some(path));
    let directories = apart.filter_map(|(controllers, path)| {
        let path = path.trim_start_matches('/');
        let mut candidates = hierarchies(&controllers).into_iter().map(|at| at.join(path));
        let found = candidates.find(|at| at.join("cgroup.procs").exists())?;
        Some((controllers, found))
    });
    Ok(directories.collect())
}

/// Lines of `/proc/PID/cgroup`: `4:memory:/path`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    });
    lines.collect()
}

/// Where the hierarchy of these controllers may be mounted.
fn hierarchies(controllers: &str) -> Vec<PathBuf> {
    let below = Path::new(HIERARCHIES);
    if controllers.is_empty() {
        return vec![below.join("unified"), below.to_owned()];
    }
    let named = controllers.strip_prefix("name=").unwrap_or(controllers);
    [named].into_iter().chain(named.split(',')).map(|name| below.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read_and_this_process_is_not_apart_from_itself() {
        let cgroups = parse("4:cpu,cpuacct:/a/b\n1:name=systemd:/x:y\n0::/u\n");
        let expected = [("", "/u"), ("cpu,cpuacct", "/a/b"), ("name=systemd", "/x:y")];
        assert_eq!(cgroups, expected.map(|(of, path)| (of.to_owned(), path.to_owned())).into());
        assert_eq!(hierarchies("cpu,cpuacct").len(), 3);
        let own = Path::new("/proc/self");
        assert_eq!(apart(own, own).unwrap(), BTreeMap::new());
    }
}
