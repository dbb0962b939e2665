//! Every bound of the trace readers and the load generator, with its reason.

use std::time::Duration;

/// Rows of one trace file. The largest part of Google's 2011 trace has about 450,000.
pub const ROWS_MAX: u64 = 20_000_000;

/// Bytes of one trace file after unpacking: a small packed file can unpack to a huge one. Rows have about 100 bytes.
pub const FILE_BYTES_MAX: u64 = 4 << 30;

/// Bytes of one row: a file that isn't a table has no line ends.
pub const ROW_BYTES_MAX: usize = 4 << 10;

/// Jobs submitted and not yet answered. Enough to keep the server's group commit full, few enough to stop quickly.
pub const SUBMISSIONS_IN_FLIGHT: usize = 128;

/// How long to wait when the server says that it is busy.
pub const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Marks remembered of the log, newest last: schedulers tell theirs every few seconds, marks come more often.
pub const MARKS_MAX: usize = 4_096;

/// Scheduler connections of one load: beyond the number of cores they only compete for the generator's processor time.
pub const LOAD_SCHEDULERS_MAX: u32 = 256;

/// Machines of one load, all on one agent connection.
pub const LOAD_MACHINES_MAX: u32 = transport::bounds::MACHINES_PER_AGENT_MAX as u32;

/// Tasks of one load: some 300 bytes each, in the server and in each copy.
pub const LOAD_TASKS_MAX: u32 = 5_000_000;

/// Tasks of one job of a load.
pub const LOAD_TASKS_PER_JOB: u32 = 10_000;

/// Copies of the cell that one load keeps, each on a thread of its own.
pub const LOAD_COPIES_MAX: u32 = 64;

/// Seconds one load may take, warm-up included: histograms and tables of a day say no more than those of an hour.
pub const LOAD_SECONDS_MAX: u64 = 3_600;

/// How long a proposer without a free task waits before it looks again; each wait is counted.
pub const LOAD_STARVED_PAUSE: Duration = Duration::from_millis(1);

/// How long a proposer with a policy sleeps at most: a timer of the policy's queue may be due.
pub const LOAD_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Plans a proposer makes before it lets answers and entries of the log in.
pub const LOAD_PLANS_PER_TURN: usize = 4;

/// How often the machines' agent looks which tasks have been held long enough.
pub const LOAD_CHURN_EVERY: Duration = Duration::from_millis(10);

/// Calls of the machines' agent in flight: half of what a session may have unanswered.
pub const LOAD_AGENT_CALLS_MAX: usize = transport::bounds::REQUESTS_IN_FLIGHT_MAX / 2;

/// How often the machines' agent shows that it is alive: a fifth of the silence after which machines count as down.
pub const LOAD_HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// How often the progress of a load is told.
pub const LOAD_TELL_EVERY: Duration = Duration::from_millis(200);

/// How long copies may take to reach the last answer once a load has stopped.
pub const LOAD_CATCH_UP_WAIT: Duration = Duration::from_secs(60);

/// How long the end of a load may take: answers still due, and the reports of everything still placed.
pub const LOAD_END_WAIT: Duration = Duration::from_secs(60);

/// How long the beginning of a load may take: 100,000 machines and 5,000,000 tasks, on a slow disk.
pub const LOAD_BEGIN_WAIT: Duration = Duration::from_secs(120);

/// How long each limit of the machine is measured.
pub const LOAD_LIMIT_FOR: Duration = Duration::from_secs(1);

/// Acknowledged positions that wait for the copy: far more than a copy is ever behind; beyond it they aren't timed.
pub const LOAD_LAGS_MAX: usize = 1_000_000;

/// Microseconds a histogram tells apart; longer times count as this long.
pub const LOAD_TIME_MAX_US: u64 = 60_000_000;

/// Idle peers that connect at a time: a quarter of the handshakes a server does at a time.
pub const IDLE_CONNECTING_MAX: usize = transport_quic::bounds::HANDSHAKES_MAX / 4;

/// How often an idle agent shows that it is alive: as often as a real one.
pub const IDLE_HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a file of golden results: 21 records take 42 KB.
pub const GOLDEN_BYTES_MAX: u64 = 64 << 20;

/// Machines of a studied cell: ten times the largest cell there is known to be.
pub const STUDY_MACHINES_MAX: u32 = 1_000_000;

/// Schedulers of one class in a studied cell.
pub const STUDY_SCHEDULERS_MAX: u32 = 1_024;

/// Transactions a studied scheduler has in flight: what a session remembers.
pub const STUDY_IN_FLIGHT_MAX: usize = cell_state::bounds::SESSION_OUTCOMES_MAX;

/// Parts that a studied cell is divided into: a view keeps a position of each.
pub const STUDY_PARTS_MAX: u32 = 4_096;

/// Hours a study simulates: a year.
pub const STUDY_HOURS_MAX: f64 = 8_784.0;

/// Points of one study, seeds apart.
pub const STUDY_POINTS_MAX: usize = 10_000;

/// Seeds each point of a study is run with.
pub const STUDY_SEEDS_MAX: u64 = 1_000;

/// Bytes of a study's table of results: a row has some 250.
pub const STUDY_RESULTS_BYTES_MAX: u64 = 1 << 30;

/// Mistakes of one scenario's tables that are told in full; the others are counted. More nobody reads.
pub const PROBLEMS_MAX: usize = 100;

/// Bytes of a model's file: each class of work is a paragraph somebody wrote.
pub const MODEL_BYTES_MAX: u64 = 1 << 20;

/// Bytes of one group of a server's log: what its header can claim is bounded by what a segment file holds, which a
/// group larger than 64 MiB makes larger.
pub const LOG_GROUP_BYTES_MAX: usize = 1 << 30;
