//! Every bound of the server, with its reason. Over a bound the answer is "busy" or one clear error, never growth.

use std::time::Duration;

// The intake and the stages behind it.

/// Requests waiting for the commit thread: at 100,000 small ones a second about 80 ms of work.
pub const INTAKE_ITEMS_MAX: usize = 8_192;

/// Ops (of transactions) and reports waiting for the commit thread, so that few huge requests can't fill memory:
/// about 128 MiB decoded, and half a second of judging.
pub const INTAKE_WEIGHT_MAX: usize = 1_000_000;

/// Requests judged into one group. Larger groups save no more flushes and delay the first answer.
pub const GROUP_ITEMS_MAX: usize = 2_048;

/// Bytes of records after which a group is closed. One flush of 1 MiB takes 0.6-1.6 ms, so the disk is busy enough.
pub const GROUP_BYTES_MAX: usize = 1 << 20;

/// Groups waiting for the log thread: it merges what waits into one flush, so more only adds latency.
pub const GROUPS_TO_LOG_MAX: usize = 4;

/// Bytes of merged groups that are appended before one flush.
pub const FLUSH_BYTES_MAX: usize = 8 << 20;

/// Durable groups waiting for the publish thread; what doesn't fit is held together, up to [`FLUSH_BYTES_MAX`], so that a
/// flush needs no room here.
pub const GROUPS_TO_PUBLISH_MAX: usize = 16;

// Fan-out.

/// Bytes of records kept in memory for subscribers that are a little behind; those further behind read the log.
pub const RING_BYTES_MAX: usize = 64 << 20;

/// Chunks (groups and marks) kept in memory: at 5,000 flushes a second, six seconds.
pub const RING_CHUNKS_MAX: usize = 32_768;

/// Bytes handed to a subscription's stream at once: one wake-up pays for many records.
pub const COALESCE_BYTES: usize = 256 << 10;

/// A chunk of at least this size is sent as it is; smaller ones are copied together first.
pub const COALESCE_BELOW_BYTES: usize = 64 << 10;

/// Subscribers that are woken for every group of entries.
pub const WAKE_AT_ONCE: u32 = 2;

/// How long records wait for others per subscriber beyond those: to wake one and send it a packet takes about 25 us, so
/// a crowd of them takes a quarter of a core at most.
pub const WAKE_REST: Duration = Duration::from_micros(100);

/// The longest that they wait.
pub const WAKE_REST_MAX: Duration = Duration::from_millis(50);

/// Bytes waiting for one agent. Beyond it they are dropped and the agent gets a fresh snapshot of its machines.
pub const FEED_BYTES_MAX: usize = 8 << 20;

/// Records waiting for one agent.
pub const FEED_RECORDS_MAX: usize = 16_384;

/// Bytes of log read at a time for a subscriber that catches up.
pub const CATCH_UP_BYTES: usize = 1 << 20;

/// Bytes of newer records through which a returning agent is resumed; beyond it a snapshot is cheaper.
pub const RESUME_BYTES: usize = 1 << 20;

/// Entries that a follower of one scheduler's jobs may be behind and still go on from the log; beyond it a snapshot is
/// cheaper: to read so many takes up to a second, and the snapshot of 100,000 machines less.
pub const SCOPED_RESUME_ENTRIES_MAX: u64 = 100_000;

/// Pieces of the log read for such a follower before it is told of the machines they changed: twice what the ring holds.
/// Who still isn't at its end then gets a snapshot.
pub const SCOPED_PIECES_MAX: usize = 2 * RING_BYTES_MAX / COALESCE_BYTES;

/// Where a snapshot is cut into sends.
pub const SNAPSHOT_SEND_BYTES: usize = 256 << 10;

/// How many times as long as a mark took the next one waits at least, so that marks take half a percent of the time, here
/// and in each copy.
pub const MARK_REST: u32 = 200;

/// The longest that it waits, as a multiple of the shortest: what a new subscriber has to read from the log after its
/// snapshot, and a restart after its checkpoint, grows with it.
pub const MARK_STRETCH_MAX: u32 = 20;

/// How often a silent machine subscription is told how far the log is, so that it can resume from there.
pub const FEED_MARK_EVERY: Duration = Duration::from_secs(30);

// Sessions and liveness.

/// Cell sessions one connection may open: a scheduler process needs one.
pub const SESSIONS_PER_CONNECTION_MAX: usize = 16;

/// How long a scheduler process may be unreachable before its session ends and its jobs go to its peers.
pub const SESSION_GRACE: Duration = Duration::from_secs(5);

/// How often machines, sessions and old jobs are looked at.
pub const CARE_EVERY: Duration = Duration::from_secs(1);

/// Machines that may be declared down in one look, whatever the size of the cell.
pub const MACHINES_LOST_AT_ONCE: usize = 64;

/// And in percent of the cell, if that is more: a fault of the network or of this server looks like the loss of
/// everything, and replacing everything is worse than waiting.
pub const MACHINES_LOST_PERCENT: usize = 10;

/// Jobs dropped from the state by one entry.
pub const FORGET_BATCH: usize = 1_000;

/// Jobs looked at for dropping at a time, so that the state isn't held for long.
pub const FORGET_SCAN: usize = 50_000;

/// Jobs that are over and still kept.
pub const JOBS_OVER_MAX: usize = 200_000;

// Reads.

/// Reads worked on at a time; each may hold a thread for milliseconds.
pub const READS_MAX: usize = 32;

/// Reads that build a whole copy of the cell (an earlier position, an audit): each costs the memory of one.
pub const COPIES_MAX: usize = 2;

/// Names listed when a prefix isn't unique.
pub const CANDIDATES_MAX: usize = 8;

/// Attempts in one reply.
pub const ATTEMPTS_MAX: u32 = 1_000;

// Shutdown.

/// How long answers under way get to leave before the connections are closed.
pub const FAREWELL: Duration = Duration::from_millis(200);

/// How often, and how many times, the end of the last tasks is looked for: five seconds in all.
pub const LET_GO_LOOK_EVERY: Duration = Duration::from_millis(10);
/// See [`LET_GO_LOOK_EVERY`].
pub const LET_GO_LOOKS: u32 = 500;

// The log and the stores beside it.

/// Bytes of a preallocated log file: small enough that trimming follows the checkpoints closely, large enough that a
/// new one is rare (under full load every few seconds).
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes between two entries of a log file's index in memory: what a reader skips at most; 16 KiB of index per file.
pub const SEGMENT_INDEX_STRIDE: u64 = 64 << 10;

/// Bytes read at a time while the log is replayed.
pub const REPLAY_BYTES: usize = 1 << 20;

/// Pieces of the log decoded ahead of being applied; each takes a few MiB decoded.
pub const REPLAY_AHEAD: usize = 4;

/// Bytes of a sled segment. Anything larger than a quarter of it goes to a file of its own, which doesn't survive a
/// power cut; and sled puts a dozen neighbouring values together before it splits them.
pub const DATABASE_SEGMENT_BYTES: usize = 8 << 20;

/// Bytes of one value in a checkpoint: larger pages are cut into pieces. A dozen of them are well below a quarter of a
/// segment (measured: files of their own from 256 KiB on).
pub const PIECE_BYTES: usize = 64 << 10;

/// How long to wait for the lock of a database that was closed just now: its threads let go within milliseconds.
pub const DATABASE_LOCK_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of cache of one checkpoint database. Pages are written, read back once and hardly ever read again.
pub const CHECKPOINT_CACHE_BYTES: u64 = 16 << 20;

/// Attempts that the side log keeps a row of, at 24 bytes of memory and about 8 on the disk each: seconds of the highest
/// load, days of an ordinary one.
pub const ATTEMPTS_KEPT: usize = 131_072;

/// Rows in one block of the side log, which is written anew whenever it got more: about 8 KiB.
pub const ATTEMPTS_PER_BLOCK: usize = 1_024;

/// Entries of the log that a start looks at for the side log: a crash takes about a second of it, and looking at so many
/// takes a fraction of one.
pub const ATTEMPTS_BEHIND_MAX: u64 = 131_072;

/// Names of sessions kept for the side log: several times the sessions a cell has at once.
pub const ATTEMPTS_NAMES_MAX: usize = 4 * cell_state::bounds::SESSIONS_MAX;

/// Rows looked at before others may have a turn, and transactions read from the log at once.
pub const ATTEMPTS_LOOK: usize = 1_024;

/// Entries between two wanted ones that are read over rather than skipped: as many as fit the log's index stride.
pub const ATTEMPTS_GAP_MAX: u64 = 256;

/// Bytes of cache of the side log.
pub const ATTEMPTS_CACHE_BYTES: u64 = 8 << 20;

/// How often the side log is written: how much of it a crash takes, to be read from the log again.
pub const ATTEMPTS_FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Combinations of loser, winner and kind that conflicts are counted by; the rest is counted together.
pub const CONFLICT_PAIRS_MAX: usize = 10_000;

/// How long samples of what tasks use mean something: agents send them every five seconds, and a few may be late.
pub const USAGE_KEPT: Duration = Duration::from_secs(60);

/// Machines whose usage is read under one lock of the mirror: with a hundred tasks each, about a millisecond.
pub const USAGE_MACHINES_AT_ONCE: usize = 64;
