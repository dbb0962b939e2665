//! The table of mounts, as `/proc/self/mountinfo` shows it.

use std::path::PathBuf;

use rustix::mount::MountFlags;

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mount {
    /// What of its file system is mounted.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) at: PathBuf,
    /// Its own options.
    options: String,
    pub(super) kind: String,
    /// The options of its file system.
    pub(super) super_options: String,
}

impl Mount {
    /// The flags that a change of it must name again.
    pub(super) fn flags(&self) -> MountFlags {
        let flag = |option| match option {
            "ro" => MountFlags::RDONLY,
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            "noatime" => MountFlags::NOATIME,
            "nodiratime" => MountFlags::NODIRATIME,
            "relatime" => MountFlags::RELATIME,
            "nosymfollow" => MountFlags::NOSYMFOLLOW,
            _ => MountFlags::empty(),
        };
        self.options.split(',').map(flag).fold(MountFlags::empty(), |all, one| all | one)
    }
}

/// Reads the table.
pub(super) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, at, options) = (mount.next()?, mount.next()?, mount.next()?);
    let mut system = system.split(' ');
    let (kind, super_options) = (system.next()?, system.nth(1)?);
    Some(Mount {
        root: unescaped(root).into(),
        at: unescaped(at).into(),
        options: options.to_owned(),
        kind: kind.to_owned(),
        super_options: super_options.to_owned(),
    })
}

/// Spaces and the like are written as three octal digits.
fn unescaped(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.as_bytes().iter();
    while let Some(byte) = bytes.next() {
        let code = (*byte == b'\\').then(|| std::str::from_utf8(bytes.as_slice().get(..3)?).ok()).flatten();
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                out.push(code);
                bytes.nth(2);
            }
            None => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_odd_names() {
        let text = "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime,nosuid master:1 - ext3 /dev/root rw,errors=continue\n\
                    cut off\n\
                    40 30 0:35 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].at, PathBuf::from("/mnt/a b"));
        assert_eq!(mounts[0].flags(), MountFlags::NOATIME | MountFlags::NOSUID);
        assert_eq!((mounts[1].kind.as_str(), mounts[1].super_options.as_str()), ("cgroup", "rw,cpu,cpuacct"));
    }
}
