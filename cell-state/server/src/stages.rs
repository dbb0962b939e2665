//! Processor time by stage of the pipeline: what a placement costs, and where.
//!
//! Each thread reads its own processor clock once per stage and group of entries, never per transaction. Encoding happens
//! between judging and applying one transaction, so its share is measured on a sample of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use transport::view::StageTimes;

/// One transaction in so many is looked at closely.
const SAMPLE_ONE_IN: u32 = 32;

/// A stage of the pipeline, or work beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Judging, admitting and applying.
    Judge,
    /// Writing records.
    Encode,
    /// Appending and flushing.
    Log,
    /// Handing records to the subscribers.
    Stream,
    /// Answering authors.
    Answer,
    /// Applying to the mirror, and filling the agents' feeds.
    Mirror,
    /// The side log of attempts.
    SideLog,
    /// Hashing the state and archiving its pages.
    Mark,
    /// Checkpoints.
    Checkpoint,
}

const STAGES: usize = Stage::Checkpoint as usize + 1;

/// Nanoseconds of all stages.
#[derive(Default)]
pub(crate) struct Stages([AtomicU64; STAGES]);

/// The processor clock of one thread.
pub(crate) struct Clock<'a> {
    stages: &'a Stages,
    last: Duration,
}

impl Stages {
    /// A clock for the calling thread, which must be the only one to use it.
    pub(crate) fn clock(&self) -> Clock<'_> {
        Clock { stages: self, last: processor_time() }
    }

    fn add(&self, stage: Stage, time: Duration) {
        self.0[stage as usize].fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// What all stages have used. The calling thread must be the one that serves the sessions: its own time is theirs.
    pub(crate) fn view(&self) -> StageTimes {
        let us = |stage: Stage| self.0[stage as usize].load(Ordering::Relaxed) / 1_000;
        StageTimes {
            sessions_us: processor_time().as_micros() as u64,
            judge_us: us(Stage::Judge),
            encode_us: us(Stage::Encode),
            log_us: us(Stage::Log),
            stream_us: us(Stage::Stream),
            answer_us: us(Stage::Answer),
            mirror_us: us(Stage::Mirror),
            side_log_us: us(Stage::SideLog),
            mark_us: us(Stage::Mark),
            checkpoint_us: us(Stage::Checkpoint),
        }
    }
}

impl Clock<'_> {
    /// What the thread has used since the last call goes to this stage.
    pub(crate) fn lap(&mut self, stage: Stage) {
        self.lap_split(stage, stage, 0.0);
    }

    /// The same for two stages, of which the second has this share.
    pub(crate) fn lap_split(&mut self, first: Stage, second: Stage, share: f64) {
        let now = processor_time();
        let used = now.saturating_sub(self.last);
        self.last = now;
        let of_second = used.mul_f64(share);
        self.stages.add(first, used.saturating_sub(of_second));
        if share > 0.0 {
            self.stages.add(second, of_second);
        }
    }
}

/// How much of something one of its parts takes, by a sample.
#[derive(Default)]
pub(crate) struct Sampled {
    calls: u32,
    began: Option<Instant>,
    whole: Duration,
    part: Duration,
}

impl Sampled {
    /// The whole begins.
    pub(crate) fn begin(&mut self) {
        self.calls = self.calls.wrapping_add(1);
        self.began = self.calls.is_multiple_of(SAMPLE_ONE_IN).then(Instant::now);
    }

    /// Does the part.
    pub(crate) fn part<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if self.began.is_none() {
            return work();
        }
        let began = Instant::now();
        let done = work();
        self.part += began.elapsed();
        done
    }

    /// The whole ends.
    pub(crate) fn end(&mut self) {
        if let Some(began) = self.began.take() {
            self.whole += began.elapsed();
        }
    }

    /// The part's share, between 0 and 1.
    pub(crate) fn share(&self) -> f64 {
        if self.whole.is_zero() { 0.0 } else { self.part.as_secs_f64() / self.whole.as_secs_f64() }
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_the_stage_that_used_it() {
        let stages = Stages::default();
        let mut clock = stages.clock();
        let mut sum = 0u64;
        while processor_time() - clock.last < Duration::from_millis(2) {
            sum = std::hint::black_box(sum + 1);
        }
        clock.lap_split(Stage::Judge, Stage::Encode, 0.5);
        let view = stages.view();
        assert!(view.judge_us >= 1_000 && view.encode_us >= 1_000 && view.sessions_us > 0);
        assert_eq!((view.log_us, view.checkpoint_us), (0, 0));
    }

    #[test]
    fn a_sample_tells_the_share_of_a_part() {
        let mut sampled = Sampled::default();
        for _ in 0..SAMPLE_ONE_IN {
            sampled.begin();
            sampled.part(|| std::hint::black_box(1));
            sampled.end();
        }
        assert!(sampled.whole >= sampled.part && (0.0..=1.0).contains(&sampled.share()));
    }
}
