//! A network of namespaces for one test: machines that can be cut off from the server, in both directions or in one.
//!
//! The server stays where the test runs. Each machine has a namespace with one cable (a veth pair) to it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Networks of this process so far.
static OPENED: AtomicU32 = AtomicU32::new(0);

/// The cables, removed when it is dropped.
pub struct Network {
    /// Part of every name, and of the addresses: tests may run beside each other.
    number: u32,
    machines: u8,
}

/// Which packets of a machine are lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// All.
    Both,
    /// Those it sends.
    ToServer,
    /// Those it is sent.
    FromServer,
}

impl Network {
    /// A network without machines; `None` where namespaces can't be made, with the reason on standard output.
    pub fn open() -> Option<Network> {
        let number = (std::process::id() * 16 + OPENED.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let network = Network { number, machines: 0 };
        let probe = format!("ohm{}p", network.number);
        let made = Command::new("ip").args(["netns", "add", &probe]).output();
        if made.as_ref().is_ok_and(|output| output.status.success()) {
            ip(&["netns", "del", &probe]);
            return Some(network);
        }
        println!("skipped: no right or no iproute2 to make network namespaces: {made:?}");
        None
    }

    /// Adds a machine. Returns what its processes are started through, and the server's address as it sees it.
    pub fn add(&mut self) -> (Vec<String>, String) {
        self.machines += 1;
        let machine = self.machines;
        let (space, near, far) = (self.space(machine), self.cable(machine, "n"), self.cable(machine, "f"));
        ip(&["netns", "add", &space]);
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &space]);
        ip(&["addr", "add", &format!("{}/30", self.address(machine, 1)), "dev", &near]);
        ip(&["link", "set", &near, "up"]);
        ip(&["-n", &space, "addr", "add", &format!("{}/30", self.address(machine, 2)), "dev", &far]);
        ip(&["-n", &space, "link", "set", &far, "up"]);
        ip(&["-n", &space, "link", "set", "lo", "up"]);
        let launcher = ["nsenter".to_owned(), format!("--net=/run/netns/{space}")];
        (launcher.to_vec(), self.address(machine, 1))
    }

    /// Cuts a machine off.
    pub fn cut(&self, machine: u8, cut: Cut) {
        self.routes("add", machine, cut);
    }

    /// Undoes that.
    pub fn heal(&self, machine: u8, cut: Cut) {
        self.routes("del", machine, cut);
    }

    fn routes(&self, act: &str, machine: u8, cut: Cut) {
        if cut != Cut::FromServer {
            ip(&["-n", &self.space(machine), "route", act, "blackhole", &self.address(machine, 1)]);
        }
        if cut != Cut::ToServer {
            ip(&["route", act, "blackhole", &self.address(machine, 2)]);
        }
    }

    fn space(&self, machine: u8) -> String {
        format!("ohm{}m{machine}", self.number)
    }

    fn cable(&self, machine: u8, end: &str) -> String {
        format!("ohm{}{end}{machine}", self.number)
    }

    /// Of the network's own: 10.X.Y.0 to 10.X.Y.255, four for each machine.
    fn address(&self, machine: u8, end: u8) -> String {
        format!("10.{}.{}.{}", 100 + self.number / 250, self.number % 250, 4 * machine + end)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in 1..=self.machines {
            // The cable goes with either end; a test that failed in between has left less.
            let _ = Command::new("ip").args(["link", "del", &self.cable(machine, "n")]).output();
            let _ =
                Command::new("ip").args(["route", "del", "blackhole", &self.address(machine, 2)]).output();
            let _ = Command::new("ip").args(["netns", "del", &self.space(machine)]).output();
        }
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("iproute2 is here");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
