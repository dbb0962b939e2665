//! What a task is given before it starts: artifacts, fetched and checked by its machine's agent, and secrets, which the
//! operator of the machine keeps there. The spec says where things are and what they are called, never what is in them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::admit::Rejection;
use crate::bounds;
use crate::constraint::{Constraint, Test};
use crate::job::Exec;
use crate::job::isolation::{Share, attribute};
use crate::validate;

/// The attribute of machines whose operator lets tasks have files of the machine as artifacts.
pub const PATHS: &str = "ohm.artifacts.path";

/// The attribute of machines that keep secrets for tasks.
pub const SECRETS: &str = "ohm.secrets";

/// What a task is given before it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Data {
    /// Files, in this order.
    pub artifacts: Vec<Artifact>,
    /// Secrets.
    pub secrets: Vec<Secret>,
}

/// A file that is fetched before a task starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// An absolute path on the machine, or an `http://` or `https://` address.
    pub source: String,
    /// What its bytes must hash to; an address can't go without.
    pub sha256: Option<[u8; 32]>,
    /// Where in the task's working directory: the file, or the directory that an archive is unpacked in.
    pub destination: String,
    /// Its permissions; those in the archive count for what is unpacked.
    pub mode: u16,
    /// Whether it is an archive to be unpacked.
    pub unpack: Unpack,
}

/// What is done with an artifact.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Unpack {
    /// It is a file.
    No,
    /// It is a tar archive.
    Tar,
    /// It is a tar archive, compressed with gzip.
    TarGz,
}

/// A secret that a task can read as a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Secret {
    /// What the operator calls it.
    pub name: String,
    /// What the task's file is called.
    pub file: String,
}

impl Artifact {
    /// Whether it comes over the network.
    pub fn is_remote(&self) -> bool {
        self.source.starts_with("http://") || self.source.starts_with("https://")
    }

    /// What a file of this source is called.
    pub fn file_name(source: &str) -> Option<&str> {
        let path = source.split(['?', '#']).next()?;
        let after_scheme = path.split_once("://").map_or(path, |(_, rest)| rest);
        let name = after_scheme.rsplit_once('/')?.1;
        (!name.is_empty()).then_some(name)
    }
}

impl Data {
    /// What a machine must offer.
    pub(crate) fn conditions(&self) -> Vec<Constraint> {
        let paths = self.artifacts.iter().any(|artifact| !artifact.is_remote());
        let secrets = !self.secrets.is_empty();
        // A secret is in the task's own view of files and nowhere else.
        let asked = [(PATHS, paths), (SECRETS, secrets), (attribute::FILESYSTEM, secrets)];
        let offered = |(key, _): (&str, bool)| Constraint {
            attribute: key.to_owned(),
            test: Test::Equal("yes".to_owned()),
        };
        asked.into_iter().filter(|(_, asked)| *asked).map(offered).collect()
    }

    /// Checks that a task with secrets has the view of files that they are in.
    ///
    /// # Errors
    /// It is to have the machine's, or a container's.
    pub(crate) fn check_view(&self, at: &str, exec: &Exec) -> Result<(), Rejection> {
        if self.secrets.is_empty() {
            return Ok(());
        }
        if exec.container.is_some() {
            let problem =
                "a container can't be given secrets yet; use driver = \"exec\", or remove the secrets";
            return Err(Rejection::invalid(format!("{at}.secrets"), problem));
        }
        match exec.isolation.filesystem {
            Share::Host => {
                let problem = "secrets are only in a view of files of the task's own; \
                               write filesystem = \"private\", or remove the secrets";
                Err(Rejection::invalid(format!("{at}.isolation.filesystem"), problem))
            }
            Share::Private | Share::Open => Ok(()),
        }
    }

    /// Checks every field; `at` is the path of the group.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn check(&self, at: &str) -> Result<(), Rejection> {
        for (field, count, most) in [
            ("artifacts", self.artifacts.len(), bounds::ARTIFACTS_MAX),
            ("secrets", self.secrets.len(), bounds::SECRETS_MAX),
        ] {
            if count > most {
                return Err(Rejection::invalid(format!("{at}.{field}"), format!("{count}; at most {most}")));
            }
        }
        let mut files = BTreeSet::new();
        for (i, artifact) in self.artifacts.iter().enumerate() {
            let at = format!("{at}.artifacts[{i}]");
            artifact.check(&at)?;
            if artifact.unpack == Unpack::No && !files.insert(&artifact.destination) {
                let problem = format!("{:?} is the place of another artifact", artifact.destination);
                return Err(Rejection::invalid(format!("{at}.destination"), problem));
            }
        }
        let mut files = BTreeSet::new();
        for (i, secret) in self.secrets.iter().enumerate() {
            let at = format!("{at}.secrets[{i}]");
            validate::name(&format!("{at}.name"), &secret.name)?;
            validate::name(&format!("{at}.file"), &secret.file)?;
            if !files.insert(&secret.file) {
                let problem = format!("{:?} is the file of another secret; choose another", secret.file);
                return Err(Rejection::invalid(format!("{at}.file"), problem));
            }
        }
        Ok(())
    }
}

impl Artifact {
    fn check(&self, at: &str) -> Result<(), Rejection> {
        let wrong = |field: &str, problem: &str| Err(Rejection::invalid(format!("{at}.{field}"), problem));
        if self.source.len() > bounds::SOURCE_BYTES_MAX
            || self.source.chars().any(|c| c.is_control() || c == ' ')
        {
            let most = bounds::SOURCE_BYTES_MAX;
            return wrong("source", &format!("at most {most} bytes, without blanks and control characters"));
        }
        if self.is_remote() {
            let host = self.source.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
            let host = host.unwrap_or_default();
            if host.is_empty() {
                return wrong(
                    "source",
                    "the address names no host; write http://HOST/PATH or https://HOST/PATH",
                );
            }
            if host.contains('@') {
                let problem = "an address with a user or password would be shown to everybody; remove it";
                return wrong("source", problem);
            }
            if self.sha256.is_none() {
                let problem =
                    "missing; what comes over the network is checked: add sha256 = \"…\" (64 digits)";
                return wrong("sha256", problem);
            }
        } else if !is_inside(self.source.strip_prefix('/').unwrap_or("..")) {
            let problem = format!(
                "{:?} is no address and no absolute path; write https://…, http://… or /PATH without ..",
                self.source
            );
            return wrong("source", &problem);
        }
        let place = self.destination.as_str();
        let fine = place.len() <= bounds::DESTINATION_BYTES_MAX
            && (is_inside(place) || (place == "." && self.unpack != Unpack::No));
        if !fine {
            let problem = format!(
                "{place:?} is no path inside the task's working directory; write one such as \"bin/tool\", \
                 without . and .., of at most {} bytes",
                bounds::DESTINATION_BYTES_MAX
            );
            return wrong("destination", &problem);
        }
        if self.mode > 0o777 {
            return wrong("mode", "permissions are \"000\" to \"777\"");
        }
        Ok(())
    }
}

/// Whether a path stays below where it begins, and is written in the one plain way.
fn is_inside(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(source: &str) -> Artifact {
        let destination = Artifact::file_name(source).unwrap_or_default().to_owned();
        let sha256 = source.starts_with("http").then_some([7; 32]);
        Artifact { source: source.to_owned(), sha256, destination, mode: 0o644, unpack: Unpack::No }
    }

    #[test]
    fn sources_and_what_their_files_are_called() {
        let table = [
            ("/srv/app.tar.gz", Some("app.tar.gz")),
            ("https://host/a/b.bin?x=/1#y", Some("b.bin")),
            ("http://host/", None),
            ("http://host", None),
            ("/srv/", None),
        ];
        for (source, name) in table {
            assert_eq!(Artifact::file_name(source), name, "{source}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let of = |change: &dyn Fn(&mut Artifact)| {
            let mut artifact = artifact("https://host/app");
            change(&mut artifact);
            let data = Data { artifacts: vec![artifact], secrets: Vec::new() };
            data.check("g").err().map(|rejection| rejection.field)
        };
        assert_eq!(of(&|_| ()), None);
        assert_eq!(of(&|a| a.source = "/srv/app".into()), None);
        assert_eq!(of(&|a| (a.unpack, a.destination) = (Unpack::Tar, ".".into())), None);
        let wrong = |field: &str| Some(format!("g.artifacts[0].{field}"));
        for source in [
            "ftp://host/a",
            "srv/app",
            "/srv/../etc/shadow",
            "https://",
            "https://u:p@host/a",
            "http://h/a b",
        ] {
            assert_eq!(of(&|a| a.source = source.into()), wrong("source"), "{source}");
        }
        assert_eq!(of(&|a| a.sha256 = None), wrong("sha256"));
        for place in ["", ".", "..", "/etc/passwd", "a/../b", "a//b", "a/./b", "a\0b"] {
            assert_eq!(of(&|a| a.destination = place.into()), wrong("destination"), "{place:?}");
        }
        assert_eq!(of(&|a| a.mode = 0o1000), wrong("mode"));
    }

    #[test]
    fn no_two_things_have_one_place() {
        let twice = Data { artifacts: vec![artifact("/a/x"), artifact("/b/x")], secrets: Vec::new() };
        assert_eq!(twice.check("g").unwrap_err().field, "g.artifacts[1].destination");
        let secret = |name: &str| Secret { name: name.into(), file: "key".into() };
        let twice = Data { artifacts: Vec::new(), secrets: vec![secret("a"), secret("b")] };
        assert_eq!(twice.check("g").unwrap_err().field, "g.secrets[1].file");
    }

    #[test]
    fn machines_are_asked_for_what_they_must_offer() {
        let keys = |data: &Data| data.conditions().iter().map(ToString::to_string).collect::<Vec<_>>();
        let secrets = vec![Secret { name: "a".into(), file: "a".into() }];
        let data = Data { artifacts: vec![artifact("/a/x"), artifact("http://h/x")], secrets };
        assert_eq!(
            keys(&data),
            ["ohm.artifacts.path = yes", "ohm.secrets = yes", "ohm.isolation.filesystem = yes"]
        );
        let data = Data { artifacts: vec![artifact("http://h/x")], secrets: Vec::new() };
        assert_eq!(keys(&data), [""; 0]);
    }
}
