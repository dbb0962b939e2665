//! Every bound and pause of the agent process, with its reason.

use std::time::Duration;

/// How often the agent shows that it is there. The server declares a machine down after ten of them by default.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// The pause before the first attempt to connect again; it doubles with each one that fails.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between attempts to connect: short against the 10 s after which a machine counts as down.
pub const RECONNECT_MAX: Duration = Duration::from_secs(3);

/// The pause before the log is followed again after its stream ended.
pub const FOLLOW_AGAIN: Duration = Duration::from_millis(100);

/// The pause before a request is made again that the server was too busy for.
pub const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Requests in flight: half of what the server takes of one session, so that log requests always find a place.
pub const CALLS_MAX: usize = 512;

/// What connection, stream and drivers may have told the agent before it has looked: pieces of the stream are up to
/// 256 KiB.
pub const NEWS_MAX: usize = 64;

/// Ends and starts of processes that the agent has not yet looked at.
pub const PROCESS_NEWS_MAX: usize = 1_024;

/// Specs kept: a machine seldom runs tasks of so many jobs, and a simulated cell asks for each of its jobs once.
pub const SPECS_MAX: usize = 16_384;

/// Shims being started at a time: enough to keep every core busy, few enough that none waits long for one.
pub const STARTS_AT_ONCE: usize = 32;

/// Writes handed to the records and not yet durable.
pub const WRITES_MAX: usize = 4_096;

/// Bytes of memory for the records' cache: a record has about 100 bytes.
pub const RECORDS_CACHE_BYTES: u64 = 8 << 20;

/// How long the locks of the data directory may be held by an agent that is gone but not yet cleared away.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The pause between two attempts to take a lock.
pub const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// How often a process is looked at where the kernel can't tell when it ends.
pub const WATCH_EVERY: Duration = Duration::from_millis(200);

/// How often left-over processes of a dead shim are looked for while they die.
pub const ORPHANS_EVERY: Duration = Duration::from_millis(50);

/// Attempts to remove the control groups of a task whose processes are gone, and the pause between two: the kernel
/// lets go of them a moment after the last process.
pub const CGROUP_REMOVALS_MAX: u32 = 200;

/// Attempts to make and hold one of the agent's own control groups, each of which an agent that sweeps may undo once.
pub const CGROUP_HOLDS_MAX: u32 = 16;

/// See [`CGROUP_REMOVALS_MAX`].
pub const CGROUP_REMOVE_AGAIN: Duration = Duration::from_millis(5);

/// Directories of ended tasks that are kept, for their logs. The oldest go first.
pub const ENDED_DIRS_MAX: usize = 1_000;

/// How many directories too many are removed at a time.
pub const ENDS_PER_SWEEP: usize = 100;

/// Artifacts being fetched at a time: a few keep a link busy, and one slow host doesn't hold up the rest.
pub const FETCHES_AT_ONCE: usize = 8;

/// How long a host of artifacts may take to take a connection.
pub const FETCH_CONNECT: Duration = Duration::from_secs(10);

/// How long it may take to begin its answer.
pub const FETCH_FIRST_BYTE: Duration = Duration::from_secs(60);

/// How long a whole artifact may take: the largest at 10 MiB/s needs 17 minutes.
pub const FETCH_WHOLE: Duration = Duration::from_secs(3_600);

/// Bytes of artifacts that are kept, and of one artifact, where an operator says nothing.
pub const ARTIFACT_BYTES: u64 = 10 << 30;

/// Entries of an archive: the largest distributions of software have some hundred thousand files.
pub const ARCHIVE_ENTRIES_MAX: usize = 1_000_000;

/// Bytes of a secret: keys and certificates have a few thousand.
pub const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Bytes of an artifact moved at a time.
pub const COPY_BYTES: usize = 256 << 10;

/// Bytes of a file of the agent's own in a task's directory: a spec is at most 256 KiB as the cell encodes it.
pub const OWN_FILE_BYTES_MAX: u64 = 4 << 20;

/// Bytes read from a task's output at a time: what a pipe holds.
pub const OUTPUT_READ_BYTES: usize = 64 << 10;

/// Attempts to write a task's exit status, a second apart: a full disk may be cleared in a minute.
pub const EXIT_WRITES_MAX: u32 = 60;

/// Bytes of the path of a task's directory: the bound of Linux.
pub const PATH_BYTES_MAX: usize = 4_096;

/// Bytes of a shim's word: ids and a status take less than 40.
pub const WORD_BYTES_MAX: usize = 128;

/// How often output that is followed is looked at once it has been read: a look is a stat of a directory.
pub const FOLLOW_LOG_EVERY: Duration = Duration::from_millis(100);

/// The least time between two notes of when output was written, in microseconds.
pub const LOG_TIME_EVERY_US: u64 = 1_000_000;

/// Notes of when output was written, per stream: nine hours of uninterrupted output to the second, in 512 KiB.
pub const LOG_TIMES_MAX: usize = 32_768;

/// How often it is checked whether the task that a command was started in is still there.
pub const TASK_LOOK_EVERY: Duration = Duration::from_millis(500);

/// Bytes of what is told to and by the process that enters a task.
pub const ENTER_BYTES_MAX: usize = 1 << 20;

/// Entries of a directory that are listed.
pub const FILES_LISTED_MAX: usize = 10_000;

/// Names in a path: more than any that was made by hand.
pub const PATH_NAMES_MAX: usize = 64;

/// How much older than the last sync a file of the records must be to need none: a hundred times the coarsest clock of a file
/// system that is in use.
pub const UNSYNCED_AGE: Duration = Duration::from_secs(5);

/// How often what tasks use is sampled, unless told otherwise.
pub const USAGE_EVERY: Duration = Duration::from_secs(5);

/// Samples of a task after which it is taken to have no cgroups of its own: it moves into them right after its start.
pub const CGROUP_LOOKS: u32 = 3;

/// Processes of one task that are added up where it has no cgroups: beyond it the rest is left out rather than sampling
/// slowed down.
pub const TREE_PROCESSES_MAX: usize = 1_000;

/// Bytes of a query for a name: real ones have a tenth of that.
pub const DNS_QUERY_BYTES_MAX: usize = 4_096;

/// Bytes of a datagram that every resolver takes.
pub const DNS_DATAGRAM_BYTES: u16 = 512;

/// Bytes of a datagram that no network cuts into pieces, for resolvers that take more.
pub const DNS_DATAGRAM_BYTES_MAX: u16 = 1_232;

/// Records of one answer: more than any client tries.
pub const DNS_RECORDS_MAX: usize = 256;

/// For how many seconds an answer may be remembered: tasks move.
pub const DNS_TTL_SECONDS: u32 = 5;

/// Connections with queries at a time: they are for answers that don't fit a datagram.
pub const DNS_CONNECTIONS_MAX: usize = 32;

/// How long a connection with queries may take in all.
pub const DNS_WAIT: Duration = Duration::from_secs(10);

/// Bytes of an answer in which a health check looks for the status: the first line has 15 to 60.
pub const HTTP_STATUS_BYTES_MAX: usize = 1_024;

/// The pause between two questions to the server while a task runs that is to stop when they aren't answered: a tenth of the
/// shortest time that makes sense there.
pub const LEASE_EVERY: Duration = Duration::from_millis(200);

/// Bytes of the agent's disk that are kept for its records: a thousand starts and ends, many times over.
pub const RESERVE_BYTES: u64 = 4 << 20;

/// Bytes that must be free beside it for a task to be started: its own files, and the first of its output.
pub const ROOM_BYTES_MIN: u64 = 1 << 20;

/// The pause between two attempts to write records to a disk that is full, reserve and all.
pub const FULL_AGAIN: Duration = Duration::from_millis(500);
