//! The one place where the server reads the clock for what goes into the log.

use std::time::{SystemTime, UNIX_EPOCH};

use cell_state::Time;

/// The time now. A clock before 1970 reads as 0.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_micros() as u64)
}

/// A clock that never goes back, whatever happens to the machine's.
pub(crate) struct Monotonic {
    last: Time,
}

impl Monotonic {
    /// Starts not before `last`, the time of the last entry in the log.
    pub(crate) fn after(last: Time) -> Monotonic {
        Monotonic { last }
    }

    /// The time now, or that of the last reading when the clock was set back.
    pub(crate) fn now(&mut self) -> Time {
        self.last = self.last.max(now());
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_log_stands_still() {
        let future = now().plus(3_600_000_000);
        assert_eq!(Monotonic::after(future).now(), future);
    }
}
