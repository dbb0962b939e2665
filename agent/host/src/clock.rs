//! The agent's clock: the time of day when it started, and from there a count that never goes back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cell_state::Time;

/// The time of day, which may jump.
pub(crate) fn wall() -> Time {
    time_of(SystemTime::now())
}

/// A time of the system.
pub(crate) fn time_of(time: SystemTime) -> Time {
    Time(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Time,
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { began: wall(), started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        self.began.plus(self.started.elapsed().as_micros() as u64)
    }

    /// The instant of a time, for timers.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        let since = std::time::Duration::from_micros(time.since(self.began));
        tokio::time::Instant::from_std(self.started + since)
    }
}

/// Sleeps until then; for ever when there is no such time.
pub(crate) async fn sleep_until(timeout: Option<tokio::time::Instant>) {
    match timeout {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
