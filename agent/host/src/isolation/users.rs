//! Users of the machine, as its own files name them.

use std::fs;
use std::path::Path;

use super::User;

/// The user that a job or an operator names: a name of `/etc/passwd`, or `UID:GID`.
pub(super) fn find(named: &str) -> Option<User> {
    find_below(Path::new("/"), named)
}

/// The same in a root file system, whose links lead nowhere outside it.
pub(super) fn find_below(root: &Path, named: &str) -> Option<User> {
    let read = |name: &str| {
        let file = fs::canonicalize(root.join(name)).ok().filter(|file| file.starts_with(root))?;
        fs::read_to_string(file).ok()
    };
    find_in(named, &read("etc/passwd").unwrap_or_default(), &read("etc/group").unwrap_or_default())
}

fn find_in(named: &str, passwd: &str, groups: &str) -> Option<User> {
    if let Some((uid, gid)) = named.split_once(':')
        && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
    {
        return Some(User { uid, gid, groups: Vec::new() });
    }
    let (name, group) = named.split_once(':').map_or((named, None), |(name, group)| (name, Some(group)));
    let line =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&name))?;
    let uid = line.get(2)?.parse().ok()?;
    let groups: Vec<Vec<&str>> = groups.lines().map(|line| line.split(':').collect()).collect();
    let gid = match group {
        None => line.get(3)?.parse().ok()?,
        Some(group) => groups.iter().find(|f| f.first() == Some(&group))?.get(2)?.parse().ok()?,
    };
    let member = |fields: &&Vec<&str>| fields.get(3).is_some_and(|names| names.split(',').any(|n| n == name));
    let further = groups.iter().filter(member).filter_map(|fields| fields.get(2)?.parse().ok());
    Some(User { uid, gid, groups: further.filter(|g| *g != gid).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\ncut:x\n";
        let groups = "root:x:0:\nweb:x:33:\ngpu:x:44:ann,web\ncut\n";
        let user = |uid, gid, groups: &[u32]| Some(User { uid, gid, groups: groups.into() });
        let table = [
            ("root", user(0, 0, &[])),
            ("web", user(33, 33, &[44])),
            ("web:gpu", user(33, 44, &[])),
            ("web:none", None),
            ("1000:1001", user(1_000, 1_001, &[])),
            ("nobody-there", None),
            ("cut", None),
        ];
        for (named, expected) in table {
            assert_eq!(find_in(named, passwd, groups), expected, "{named}");
        }
    }
}
