//! Explanations as people read them.

use std::fmt;

use super::{GroupWhy, JobState, Reason, ReasonKind, Why};

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (job, scheduler) = (&self.job, &self.scheduler);
        match self.state {
            JobState::Stopped => {
                return write!(f, "job {job} was asked to stop; `ohm job run` starts it again");
            }
            JobState::NothingPending => return write!(f, "job {job} has no pending tasks"),
            JobState::NoScheduler => writeln!(
                f,
                "job {job} belongs to scheduler {scheduler}, of which no process is connected; start one with \
                 `ohm scheduler run --name {scheduler}`"
            )?,
            JobState::Pending => {
                let pending: u32 = self.groups.iter().map(|g| g.pending).sum();
                let processes = counted(self.processes as u64, "process", "processes");
                writeln!(
                    f,
                    "job {job}: {pending} pending, scheduler {scheduler} ({processes}), at seq {}",
                    self.at
                )?;
            }
        }
        for (i, group) in self.groups.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            group.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for GroupWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}: {} pending", self.group, self.pending)?;
        if self.delayed > 0 {
            let seconds = self.due_in_us.div_ceil(1_000_000);
            write!(f, "\n  {} waiting out a restart delay, the first for {seconds} s more", self.delayed)?;
        }
        if let Some(quota) = &self.quota {
            write!(
                f,
                "\n  quota of team {} in band {} is used up: {} wanted {}, left {}",
                quota.team, quota.band, quota.dimension, quota.wanted, quota.free
            )?;
        }
        if self.machines == 0 {
            write!(f, "\n  there is no machine in the cell")?;
        }
        if self.fits > 0 {
            let machines = counted(self.fits.into(), "machine", "machines");
            write!(f, "\n  fits on {machines} now ({}", self.fitting.join(", "))?;
            f.write_str(if self.fits as usize > self.fitting.len() { ", …)" } else { ")" })?;
        }
        for reason in &self.reasons {
            write!(f, "\n  {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.kind, counted(self.machines.into(), "machine", "machines"))?;
        let Some(first) = self.closest.first() else { return Ok(()) };
        match first.wanted_free {
            Some((wanted, free)) => write!(f, ", closest {}: wanted {wanted}, free {free}", first.machine),
            None => {
                let names: Vec<&str> = self.closest.iter().map(|c| c.machine.as_str()).collect();
                let more = if self.machines as usize > names.len() { ", …" } else { "" };
                write!(f, " ({}{more})", names.join(", "))
            }
        }
    }
}

impl fmt::Display for ReasonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReasonKind::State(state) => write!(f, "{state}"),
            ReasonKind::Short(dimension) => write!(f, "{dimension} short"),
            ReasonKind::Constraint(constraint) => write!(f, "constraint {constraint} does not hold"),
            ReasonKind::SameJob => {
                write!(f, "another task of the job is there, which wants distinct machines,")
            }
            ReasonKind::PortTaken(port) => write!(f, "port {port} taken"),
            ReasonKind::Ports => write!(f, "dynamic ports short"),
            ReasonKind::Devices => write!(f, "no such share of a gpu device free"),
            ReasonKind::NoAttribute(key) => write!(f, "attribute {key} missing"),
            ReasonKind::DomainFull(key, value, max) => {
                write!(f, "{key} {value} at its limit of {max} for the job")
            }
        }
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
