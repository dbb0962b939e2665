//! How fast this machine starts and waits for processes without a scheduler: what task throughput is measured against.

use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Processes started and waited for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spawned {
    /// By how many threads.
    pub threads: usize,
    /// How many.
    pub count: u64,
    /// In how long.
    pub seconds: f64,
}

impl Spawned {
    /// Processes per second.
    pub fn per_s(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// Spawns a command and waits for it, again and again, on as many threads, for as long. Nothing is set that would keep the
/// library from `posix_spawn`.
///
/// # Errors
/// The command can't be started.
pub fn spawn(command: &[String], threads: usize, time: Duration) -> io::Result<Spawned> {
    let begin = Instant::now();
    let until = begin + time;
    let counted: io::Result<Vec<u64>> = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(|| spawn_until(command, until))).collect();
        let counts = all.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that spawned panicked")))
        });
        counts.collect()
    });
    let count = counted?.into_iter().sum();
    Ok(Spawned { threads, count, seconds: begin.elapsed().as_secs_f64() })
}

fn spawn_until(command: &[String], until: Instant) -> io::Result<u64> {
    let Some((program, args)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command"));
    };
    let mut count = 0;
    while Instant::now() < until {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status()?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spawned_is_counted_and_what_is_no_command_is_an_error() {
        let time = Duration::from_millis(20);
        let spawned = spawn(&["true".to_owned()], 2, time).unwrap();
        assert!(spawned.count >= 2 && spawned.per_s() > 0.0);
        assert!(spawn(&["/no/such/program".to_owned()], 1, time).is_err());
        assert!(spawn(&[], 1, time).is_err());
    }
}
