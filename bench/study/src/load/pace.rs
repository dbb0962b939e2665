//! The pace of a proposer that is to offer so much and no more.

use std::time::{Duration, Instant};

/// The least it makes sense to wait: timers are no finer.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// How much may still be made up for after a pause: a load that was held up goes on at its rate, not in one burst.
const BEHIND_MAX: Duration = Duration::from_millis(50);

/// Counts placements against the time.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long one placement takes at this pace; `None` is no limit.
    each: Option<Duration>,
    /// When the next one is due.
    due: Option<Instant>,
}

impl Pace {
    /// At this many placements per second, or as fast as it goes.
    pub(super) fn new(per_s: Option<f64>) -> Pace {
        Pace { each: per_s.map(|rate| Duration::from_secs_f64(1.0 / rate)), due: None }
    }

    /// How long it is too early for the next proposal; `None` when it is due.
    pub(super) fn early(&mut self, now: Instant) -> Option<Duration> {
        self.each?;
        let due = self.due.get_or_insert(now);
        if *due + BEHIND_MAX < now {
            *due = now - BEHIND_MAX;
        }
        (*due > now).then(|| (*due - now).max(WAIT_MIN))
    }

    /// So many placements were proposed.
    pub(super) fn sent(&mut self, placements: usize) {
        if let (Some(each), Some(due)) = (self.each, self.due.as_mut()) {
            *due += each * placements as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_lost_time_is_made_up_for_within_bounds() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1_000.0));
        assert_eq!(pace.early(start), None);
        pace.sent(10);
        assert_eq!(pace.early(start), Some(Duration::from_millis(10)));
        let (mut proposed, later) = (0, start + Duration::from_secs(1));
        while pace.early(later).is_none() {
            pace.sent(10);
            proposed += 10;
        }
        assert!((50..=60).contains(&proposed), "{proposed}");
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        let mut pace = Pace::new(None);
        pace.sent(1_000_000);
        assert_eq!(pace.early(Instant::now()), None);
    }
}
