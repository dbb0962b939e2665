//! The log thread: makes groups durable before anyone is told. Step 7 (log) of a placement's life.
//!
//! What waits is merged into one append and one flush, so under load a flush pays for many transactions. When the log
//! fails the thread reports it and ends: nothing behind it is answered, and the server stops. The next start reads
//! what is really on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cell_state::Seq;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use crate::bounds::FLUSH_BYTES_MAX;
use crate::error::ServerError;
use crate::fatal::Fatal;
use crate::group::{Durable, Group};
use crate::log::{self, Log};
use crate::stages::{Stage, Stages};

/// How often an idle log looks whether it may be trimmed.
const TRIM_LOOK_EVERY: Duration = Duration::from_millis(500);

/// Up to where the log may be trimmed. The checkpoint thread raises it.
#[derive(Default)]
pub(crate) struct Trim(AtomicU64);

impl Trim {
    /// Entries up to and including this one are no longer needed.
    pub(crate) fn allow(&self, upto: Seq) {
        self.0.fetch_max(upto.0, Ordering::AcqRel);
    }
}

/// The thread's own state.
pub(crate) struct LogThread {
    /// The log.
    pub(crate) log: Box<dyn Log>,
    /// Judged groups.
    pub(crate) groups: Receiver<Group>,
    /// Durable ones.
    pub(crate) publish: Sender<Durable>,
    /// What may be trimmed.
    pub(crate) trim: Arc<Trim>,
    /// Processor time by stage.
    pub(crate) stages: Arc<Stages>,
    /// Whom to tell when the log fails.
    pub(crate) fatal: Arc<Fatal>,
}

impl LogThread {
    /// Appends until the commit thread is gone.
    pub(crate) fn run(mut self) {
        let mut trimmed = Seq(0);
        let stages = Arc::clone(&self.stages);
        let mut clock = stages.clock();
        loop {
            match self.groups.recv_timeout(TRIM_LOOK_EVERY) {
                Ok(first) => {
                    let durable = match self.append(first) {
                        Ok(durable) => durable,
                        Err(source) => return self.fatal.report(ServerError::Log(source)),
                    };
                    if self.publish.send(durable).is_err() {
                        return;
                    }
                    clock.lap(Stage::Log);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.trim(&mut trimmed);
        }
    }

    /// Merges what waits behind `first` and makes it durable with one flush.
    fn append(&mut self, first: Group) -> Result<Durable, log::LogError> {
        let mut group = first;
        while group.bytes.len() < FLUSH_BYTES_MAX {
            let Ok(next) = self.groups.try_recv() else { break };
            group.merge(next);
        }
        let bytes = Bytes::from(group.bytes);
        if let (Some(first), Some(last)) = (group.entries.first(), group.entries.last()) {
            let (first, last) = (first.seq, last.seq);
            let span = tracing::debug_span!("log", first = first.0, last = last.0, bytes = bytes.len());
            let _entered = span.enter();
            self.log.append(&log::Group { first, last, bytes: bytes.clone() })?;
        }
        Ok(Durable { bytes, entries: group.entries, answers: group.answers })
    }

    fn trim(&mut self, trimmed: &mut Seq) {
        let upto = Seq(self.trim.0.load(Ordering::Acquire));
        if upto <= *trimmed {
            return;
        }
        *trimmed = upto;
        match self.log.trim(upto) {
            Ok(oldest) => tracing::debug!(%oldest, "log trimmed"),
            // Only space is lost, and the next checkpoint asks again.
            Err(error) => tracing::warn!(%error, "the log can't be trimmed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use cell_state::event::Event;
    use cell_state::ids::{SessionId, Time};
    use cell_state::record;

    use super::*;
    use crate::group::{Entry, Outcomes, Pending};
    use crate::intake::AnswerTo;
    use crate::log::faulty::{Fault, FaultyDisk};
    use crate::log::{LogId, Options, Segments};

    fn group(first: u64, count: u64) -> Group {
        let mut group = Group::default();
        for seq in (first..first + count).map(Seq) {
            let event = Event::SessionEnded { session: SessionId(0), time: Time(0) };
            record::append_event(&mut group.bytes, seq, &event);
            group.entries.push(Entry { seq, event, end: group.bytes.len() as u32 });
        }
        group
    }

    fn open(disk: &FaultyDisk) -> Segments {
        let mut options = Options::new("/data/log".into(), "test", LogId(7));
        options.segment_bytes = 64 << 10;
        options.ahead = false;
        Segments::open(Arc::new(disk.clone()), options).unwrap().log
    }

    /// Runs a log thread over these groups, and returns what was durable and what was reported.
    fn run(disk: &FaultyDisk, groups: Vec<Group>) -> (Vec<Durable>, Arc<Fatal>) {
        let (to_log, queue) = crossbeam::channel::bounded(groups.len());
        let (publish, durable) = crossbeam::channel::bounded(groups.len());
        for group in groups {
            to_log.send(group).unwrap();
        }
        drop(to_log);
        let fatal = Arc::new(Fatal::default());
        let thread = LogThread {
            log: Box::new(open(disk)),
            groups: queue,
            publish,
            trim: Arc::default(),
            stages: Arc::default(),
            fatal: Arc::clone(&fatal),
        };
        thread.run();
        (durable.iter().collect(), fatal)
    }

    #[test]
    fn what_waits_is_flushed_together_and_answers_follow_their_records() {
        let disk = FaultyDisk::new();
        let mut silent = Group::default();
        silent.answers.push(Pending { to: AnswerTo::Nobody, what: Outcomes::Judged(0) });
        let (durable, fatal) = run(&disk, vec![group(1, 2), silent, group(3, 3)]);
        assert!(!fatal.is_reported());
        assert_eq!(durable.len(), 1);
        assert_eq!((durable[0].entries.len(), durable[0].answers.len()), (5, 1));
        assert_eq!(open(&disk).last(), Seq(5));
    }

    #[test]
    fn a_log_that_fails_lets_nothing_through() {
        let disk = FaultyDisk::new();
        drop(run(&disk, vec![group(1, 2)]));
        let log = open(&disk);
        disk.break_at(0, Fault::Fails, false);
        let (to_log, queue) = crossbeam::channel::bounded(1);
        let (publish, durable) = crossbeam::channel::bounded(1);
        to_log.send(group(3, 1)).unwrap();
        let fatal = Arc::new(Fatal::default());
        let thread = LogThread {
            log: Box::new(log),
            groups: queue,
            publish,
            trim: Arc::default(),
            stages: Arc::default(),
            fatal: Arc::clone(&fatal),
        };
        thread.run();
        assert_eq!(durable.iter().count(), 0, "nobody is told");
        assert!(matches!(fatal.take(), Some(ServerError::Log(_))));
        assert!(to_log.send(group(4, 1)).is_err(), "the commit thread learns that nobody listens");
    }
}
