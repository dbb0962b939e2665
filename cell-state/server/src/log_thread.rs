//! The log thread: makes groups durable before anyone is told, and tells the authors of transactions and reports. Steps
//! 7 (log) and 8 (answer) of a placement's life.
//!
//! The answers leave from here because nothing they say has to be looked up anywhere: so nobody who commits waits for
//! another thread to wake up, nor for the state to be applied a second time, hashed or read.
//!
//! What waits is merged into one append and one flush, so under load a flush pays for many transactions. When the log
//! fails the thread reports it and ends: nothing behind it is answered, and the server stops. The next start reads
//! what is really on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cell_state::Seq;
use cell_state::event::Event;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use crate::bounds::FLUSH_BYTES_MAX;
use crate::error::ServerError;
use crate::fatal::Fatal;
use crate::group::{Durable, Group};
use crate::log::{self, Log};
use crate::stages::{Stage, Stages};
use crate::stats::Stats;
use crate::verdicts::tell;

/// How often an idle log looks whether it may be trimmed.
const TRIM_LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often an idle log looks whether publish has room again.
const HELD_LOOK_EVERY: Duration = Duration::from_millis(1);

/// Publish has ended.
struct Gone;

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
    /// Durable, and to be published when there is room again: publish may be hashing a large state.
    pub(crate) held: Option<Durable>,
    /// What may be trimmed.
    pub(crate) trim: Arc<Trim>,
    /// Counters.
    pub(crate) stats: Arc<Stats>,
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
            let patience = if self.held.is_some() { HELD_LOOK_EVERY } else { TRIM_LOOK_EVERY };
            let handed = match self.groups.recv_timeout(patience) {
                Ok(first) => {
                    let mut durable = match self.append(first) {
                        Ok(durable) => durable,
                        Err(source) => return self.fatal.report(ServerError::Log(source)),
                    };
                    clock.lap(Stage::Log);
                    self.answer(&mut durable);
                    clock.lap(Stage::Answer);
                    self.hand_on(Some(durable), FLUSH_BYTES_MAX)
                }
                Err(RecvTimeoutError::Timeout) => self.hand_on(None, FLUSH_BYTES_MAX),
                Err(RecvTimeoutError::Disconnected) => {
                    self.hand_on(None, 0).ok();
                    return;
                }
            };
            if handed.is_err() {
                return;
            }
            self.trim(&mut trimmed);
        }
    }

    /// Answers transactions and reports; the answers that are left wait for the mirror.
    fn answer(&self, durable: &mut Durable) {
        // Before the answers, so that who has one finds it counted.
        for entry in &durable.entries {
            if let Event::Committed(committed) = &entry.event {
                self.stats.count(committed);
            }
        }
        let answers = std::mem::take(&mut durable.answers);
        let (early, late): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.what.is_early());
        let span = tracing::debug_span!("answer", early = early.len());
        span.in_scope(|| {
            early.into_iter().for_each(|pending| tell(pending, &durable.entries, &durable.bytes))
        });
        durable.answers = late;
    }

    /// Gives publish what it has room for. Without room the groups are held together, and from so many bytes on the log
    /// waits.
    fn hand_on(&mut self, durable: Option<Durable>, bytes_max: usize) -> Result<(), Gone> {
        let next = match (self.held.take(), durable) {
            (Some(held), Some(durable)) => held.merge(durable),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Ok(()),
        };
        if next.entries.is_empty() && next.answers.is_empty() {
            return Ok(());
        }
        if next.bytes.len() >= bytes_max {
            return self.publish.send(next).map_err(|_| Gone);
        }
        match self.publish.try_send(next) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(next)) => {
                self.held = Some(next);
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(Gone),
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
    use cell_state::admit::Answer;
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

    /// A log thread between these two queues.
    fn log_thread(
        log: Segments,
        groups: Receiver<Group>,
        publish: Sender<Durable>,
        fatal: &Arc<Fatal>,
    ) -> LogThread {
        LogThread {
            log: Box::new(log),
            groups,
            publish,
            held: None,
            trim: Arc::default(),
            stats: Arc::default(),
            stages: Arc::default(),
            fatal: Arc::clone(fatal),
        }
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
        let thread = log_thread(open(disk), queue, publish, &fatal);
        thread.run();
        (durable.iter().collect(), fatal)
    }

    #[test]
    fn what_waits_is_flushed_together_and_answers_follow_their_records() {
        let disk = FaultyDisk::new();
        let mut silent = Group::default();
        let done = Outcomes::Done { at: Seq(2), answer: Answer::Done };
        silent.answers.push(Pending { to: AnswerTo::Nobody, what: done });
        let reported = Outcomes::Reported(Vec::new());
        silent.answers.push(Pending { to: AnswerTo::Nobody, what: reported });
        let (durable, fatal) = run(&disk, vec![group(1, 2), silent, group(3, 3)]);
        assert!(!fatal.is_reported());
        assert_eq!(durable.len(), 1);
        assert_eq!((durable[0].entries.len(), durable[0].answers.len()), (5, 1));
        assert_eq!(open(&disk).last(), Seq(5));
    }

    #[test]
    fn what_publish_has_no_room_for_is_held_together_and_the_log_goes_on() {
        let disk = FaultyDisk::new();
        let (to_log, queue) = crossbeam::channel::bounded(0);
        let (publish, durable) = crossbeam::channel::bounded(1);
        let thread = log_thread(open(&disk), queue, publish, &Arc::default());
        let running = std::thread::spawn(move || thread.run());
        for first in [1, 3, 5, 7] {
            to_log.send(group(first, 2)).unwrap();
        }
        drop(to_log);
        let published: Vec<Entry> = durable.iter().flat_map(|group| group.entries).collect();
        assert_eq!(
            published.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(),
            (1..=8).collect::<Vec<_>>()
        );
        running.join().unwrap();
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
        let thread = log_thread(log, queue, publish, &fatal);
        thread.run();
        assert_eq!(durable.iter().count(), 0, "nobody is told");
        assert!(matches!(fatal.take(), Some(ServerError::Log(_))));
        assert!(to_log.send(group(4, 1)).is_err(), "the commit thread learns that nobody listens");
    }
}
