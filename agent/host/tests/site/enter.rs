//! Commands beside a task, started as the agent starts them.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{Site, shim};

impl Site {
    /// Runs a shell script where a task is; what it wrote, and how it ended.
    pub(crate) fn enter(&self, n: u32, script: &str) -> (String, String) {
        self.enter_with(n, &["sh", "-c", script])
    }

    /// Runs a command where a task is.
    pub(crate) fn enter_with(&self, n: u32, command: &[&str]) -> (String, String) {
        let (mut control, theirs) = UnixStream::pair().expect("a socket");
        let mut shim = Command::new(shim().path);
        shim.arg("enter").arg(self.task(n)).stdin(OwnedFd::from(theirs));
        let child = shim.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the shim starts");
        // Its end of the socket.
        drop(shim);
        let plan = serde_json::json!({"command": command, "terminal": null}).to_string();
        let input = std::fs::File::open("/dev/null").expect("/dev/null");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let descriptors = [input.as_fd()];
        assert!(rights.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&control, &[IoSlice::new(b"i")], &mut rights, SendFlags::NOSIGNAL).expect("it listens");
        control.write_all(&(plan.len() as u32).to_le_bytes()).expect("it listens");
        control.write_all(plan.as_bytes()).expect("it listens");
        let mut told = String::new();
        control.read_to_string(&mut told).expect("it tells");
        let output = child.wait_with_output().expect("it ends");
        (String::from_utf8_lossy(&output.stdout).into_owned(), told)
    }
}
