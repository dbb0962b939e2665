//! Containers of the `oci` driver: what the machine's runtime is told of a task, in the terms of the OCI runtime
//! specification.
//!
//! ```text
//! agent   plan       what the machine can, and whom the job names  ──▶ Container, in the task's spec.json
//! shim    image      the root file system, and what a bundle says of command, environment, directory and user
//!         config     all of it as the runtime's config.json, below the task's directory
//! ```
//! Of a bundle nothing else is taken: its mounts, hooks, capabilities and limits would be a way around the job's own, and
//! around what the operator allows.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cell_state::job::container::Container as Source;
use serde::{Deserialize, Serialize};

use super::{Confine, User, users};
use crate::bounds::OWN_FILE_BYTES_MAX;
use crate::task_dir::{Launch, TaskDir};

/// How one task is run in a container: all that the shim has to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Container {
    /// The runtime's program.
    pub(crate) runtime: PathBuf,
    pub(crate) source: Source,
    /// Whom the job names, in the terms of the container's own files.
    pub(crate) user: Option<String>,
    /// Whether the operator lets tasks be root.
    pub(crate) may_be_root: bool,
    /// Its control groups, from the root of each hierarchy.
    pub(crate) cgroup: PathBuf,
    /// Files of the machine that are seen in it, with the places where they are: what a trial needs.
    pub(crate) lent: Vec<(PathBuf, PathBuf)>,
}

/// What a container is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Image {
    pub(super) root: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) directory: Option<String>,
    pub(super) user: Option<User>,
}

/// What is read of a bundle's `config.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleConfig {
    oci_version: String,
    process: Option<BundleProcess>,
    root: BundleRoot,
}

#[derive(Deserialize)]
struct BundleProcess {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    cwd: String,
    #[serde(default)]
    user: BundleUser,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleUser {
    uid: u32,
    gid: u32,
    #[serde(default)]
    additional_gids: Vec<u32>,
}

#[derive(Deserialize)]
struct BundleRoot {
    path: PathBuf,
}

impl From<BundleUser> for User {
    fn from(user: BundleUser) -> User {
        User { uid: user.uid, gid: user.gid, groups: user.additional_gids }
    }
}

impl Container {
    /// Looks at the bundle or root file system.
    ///
    /// # Errors
    /// It isn't there, isn't one, or is the agent's own.
    pub(crate) fn image(&self, dir: &TaskDir) -> io::Result<Image> {
        let work = dir.work();
        let at = fs::canonicalize(work.join(self.source.path()))?;
        let image = match &self.source {
            Source::Rootfs(_) => Image { root: at, ..Image::default() },
            Source::Bundle(_) => bundle(&at)?,
        };
        if !image.root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let tasks = dir.path().parent().unwrap_or(dir.path());
        let (tasks, work) = (fs::canonicalize(tasks)?, fs::canonicalize(work)?);
        let agents = tasks.parent().unwrap_or(&tasks);
        let is_agents = image.root.starts_with(agents) && !image.root.starts_with(&work);
        if is_agents || agents.starts_with(&image.root) {
            let problem = format!("{} holds data of the agent, or is part of it", image.root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        Ok(image)
    }

    /// Whom it runs as: whom the job names, else whom the bundle names unless that is root, else the agent's choice.
    /// `None` when there is no such user.
    pub(crate) fn user(&self, image: &Image, otherwise: Option<&User>) -> Option<User> {
        match &self.user {
            Some(named) => users::find_below(&image.root, named),
            None => image.user.clone().filter(|user| user.uid != 0).or_else(|| otherwise.cloned()),
        }
    }
}

impl Image {
    /// Whether it leaves open what is to be run.
    pub(crate) fn is_silent(&self) -> bool {
        self.args.is_empty()
    }
}

fn bundle(at: &Path) -> io::Result<Image> {
    let mut text = Vec::new();
    File::open(at.join("config.json"))?.take(OWN_FILE_BYTES_MAX).read_to_end(&mut text)?;
    let config: BundleConfig = serde_json::from_slice(&text)?;
    if !config.oci_version.starts_with("1.") {
        return Err(io::Error::other(format!("version {} of bundles is unknown", config.oci_version)));
    }
    let root = fs::canonicalize(at.join(&config.root.path))?;
    if !root.starts_with(at) || root == at {
        return Err(io::Error::other("the bundle's root file system is not a directory below it"));
    }
    let Some(process) = config.process else { return Ok(Image { root, ..Image::default() }) };
    Ok(Image {
        root,
        args: process.args,
        env: process.env,
        directory: Some(process.cwd),
        user: Some(process.user.into()),
    })
}

/// What a task may do; whom a container runs as is known since it has been started.
pub(crate) fn rights(launch: &Launch, dir: &TaskDir) -> io::Result<Confine> {
    let confine = launch.confine.clone();
    match launch.container {
        Some(_) => Ok(Confine { user: Some(user_of(dir)?), ..confine }),
        None => Ok(confine),
    }
}

/// Whom the runtime was told to run it as.
fn user_of(dir: &TaskDir) -> io::Result<User> {
    let told: BundleConfig = serde_json::from_slice(&fs::read(bundle_of(dir).join("config.json"))?)?;
    let process = told.process.ok_or_else(|| io::Error::other("a container without a process"))?;
    Ok(process.user.into())
}

/// Where the runtime finds what it is told.
pub(crate) fn bundle_of(dir: &TaskDir) -> PathBuf {
    dir.path().join("bundle")
}

/// Where the runtime says which process is the container's first.
pub(crate) fn pid_file(dir: &TaskDir) -> PathBuf {
    bundle_of(dir).join("pid")
}

/// The runtime, about to act on a container of this directory.
pub(crate) fn runtime(container: &Container, dir: &TaskDir) -> Command {
    let mut command = Command::new(&container.runtime);
    command.env_clear().env("PATH", super::config::PATH).stdin(Stdio::null());
    command.arg("--root").arg(state_of(dir)).arg("--log").arg(log_of(dir));
    command
}

/// What the runtime knows, and what it complained of.
fn state_of(dir: &TaskDir) -> PathBuf {
    dir.path().join("runtime")
}

pub(crate) fn log_of(dir: &TaskDir) -> PathBuf {
    dir.path().join("runtime.log")
}

/// The container's name for the runtime: the task's directory is its own world, so that one name will do.
pub(crate) const NAME: &str = "task";

/// Has the runtime forget a container of which nothing is to be left, with the control groups that it made beside ours.
pub(crate) fn forget(dir: &TaskDir) {
    let state = state_of(dir);
    if !state.exists() {
        return;
    }
    if let Some(container) = dir.launch().ok().and_then(|launch| launch.container) {
        let mut delete = runtime(&container, dir);
        delete.args(["delete", "--force", NAME]).stdout(Stdio::null()).stderr(Stdio::null());
        // What it can't do it says in its log; the directory goes with the task's.
        let _ = delete.status();
    }
    let _ = fs::remove_dir_all(state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn container(source: Source) -> Container {
        Container {
            runtime: "/usr/sbin/runc".into(),
            source,
            user: None,
            may_be_root: false,
            cgroup: "/ohm/m/j1".into(),
            lent: Vec::new(),
        }
    }

    #[test]
    fn a_root_file_system_is_a_directory_that_is_not_the_agents() {
        let machine = tempfile::tempdir().unwrap();
        let at = |path: &str| machine.path().join(path);
        for path in
            ["data/tasks/j1.0.0-1/work/image", "data/tasks/j2.0.0-1/work", "data/records", "srv/image"]
        {
            fs::create_dir_all(at(path)).unwrap();
        }
        symlink(at("data/records"), at("srv/link")).unwrap();
        fs::write(at("srv/file"), "").unwrap();
        let dir = TaskDir::at(at("data/tasks/j1.0.0-1"));
        let image = |path: &Path| {
            container(Source::Rootfs(path.display().to_string())).image(&dir).map(|image| image.root)
        };
        let work = dir.work().canonicalize().unwrap();
        assert_eq!(image(Path::new("image")).unwrap(), work.join("image"));
        assert_eq!(image(&at("srv/image")).unwrap(), at("srv/image").canonicalize().unwrap());
        for refused in
            ["srv/none", "srv/file", "srv/link", "data", "data/records", "data/tasks/j2.0.0-1/work", ""]
        {
            assert!(image(&at(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn of_a_bundle_are_taken_its_command_and_its_user_unless_that_is_root() {
        let machine = tempfile::tempdir().unwrap();
        let dir = TaskDir::at(machine.path().join("data/tasks/j1.0.0-1"));
        fs::create_dir_all(dir.work()).unwrap();
        let at = machine.path().join("srv");
        fs::create_dir_all(at.join("rootfs/etc")).unwrap();
        fs::write(at.join("rootfs/etc/passwd"), "app:x:7:8::/:/bin/sh\n").unwrap();
        let write = |root: &str, uid: u32| {
            let process = format!(
                r#"{{"args":["/bin/app"],"env":["A=b"],"cwd":"/srv","user":{{"uid":{uid},"gid":5,"additionalGids":[6]}}}}"#
            );
            let text = format!(
                r#"{{"ociVersion":"1.0.2","process":{process},"root":{{"path":"{root}"}},"hooks":{{}}}}"#
            );
            fs::write(at.join("config.json"), text).unwrap();
        };
        let bundle = container(Source::Bundle(at.display().to_string()));
        write("rootfs", 4);
        let image = bundle.image(&dir).unwrap();
        let root = at.join("rootfs").canonicalize().unwrap();
        let user = |uid, gid, groups: &[u32]| User { uid, gid, groups: groups.into() };
        assert_eq!((&image.root, &image.args[..]), (&root, &["/bin/app".to_owned()][..]));
        assert_eq!((&image.env[..], image.directory.as_deref()), (&["A=b".to_owned()][..], Some("/srv")));
        let nobody = user(65_534, 65_534, &[]);
        assert_eq!(bundle.user(&image, Some(&nobody)), Some(user(4, 5, &[6])));
        let named = |name: &str| Container { user: Some(name.into()), ..bundle.clone() };
        assert_eq!(named("app").user(&image, Some(&nobody)), Some(user(7, 8, &[])));
        assert_eq!(named("9:10").user(&image, Some(&nobody)), Some(user(9, 10, &[])));
        assert_eq!(named("none").user(&image, Some(&nobody)), None);
        write("rootfs", 0);
        assert_eq!(bundle.user(&bundle.image(&dir).unwrap(), Some(&nobody)), Some(nobody));
        for root in ["..", ".", "/etc", "rootfs/../../data"] {
            write(root, 4);
            assert!(bundle.image(&dir).is_err(), "{root}");
        }
    }
}
