//! Every bound of the command line and of the processes it starts, with its reason.

use std::time::Duration;

/// How long a started process may take until it answers: a server that replays a long log needs seconds.
pub(crate) const READY_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a wait looks again: short beside what a person notices, long beside the cost of a look.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(50);

/// How long a process may take to stop politely before it is killed.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(15);

/// Processes one supervisor starts: `ohm dev` needs six, a demo a dozen.
pub(crate) const PROCESSES_MAX: usize = 256;

/// Bytes shown of the end of a dead process's log: its last words, not its life.
pub(crate) const LOG_TAIL_BYTES: u64 = 2_000;

/// How long a command tries to reconnect once its connection broke: a server restart takes seconds.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// How long a command that is done waits for its word of farewell to get out: one datagram.
pub(crate) const LEAVE_WAIT: Duration = Duration::from_millis(5);

/// The pause before a busy server is asked again.
pub(crate) const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a job file: four times the largest encoded spec, for text is longer.
pub(crate) const JOB_FILE_BYTES_MAX: u64 = 1 << 20;

/// How long `job run` waits for its tasks to be placed, unless told otherwise.
pub(crate) const PLACE_WAIT: &str = "30s";

/// Tasks `job status` shows, unless told otherwise: a screen or two.
pub(crate) const TASKS_SHOWN: u32 = 50;

/// How often a monitor looks again.
pub(crate) const MONITOR_EVERY: Duration = Duration::from_millis(100);

/// How often `job logs --follow` looks again once it has read everything.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Conflicts of a job that `job why` shows.
pub(crate) const CONFLICTS_SHOWN: usize = 5;

/// Real tasks of the demo, each with a file of its own.
pub(crate) const DEMO_FILES: usize = 200;

/// Bytes of a file the demo works on: enough to be work, and its compressed form fits a few log pieces.
pub(crate) const DEMO_FILE_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=512 << 10;

/// Directory entries looked at in each folder the demo takes files from: tens of thousands take a fraction of a second.
pub(crate) const DEMO_FILES_LOOKED_AT: usize = 20_000;

/// How deep the demo looks for files.
pub(crate) const DEMO_FOLDER_DEPTH: usize = 4;

/// How long the demo waits for its real tasks: they take seconds.
pub(crate) const DEMO_REAL_WAIT: Duration = Duration::from_secs(60);

/// How long the demo waits for one phase of its big cell: with the recorded load they take half a minute.
pub(crate) const DEMO_WAIT: Duration = Duration::from_secs(300);

/// Without a placement for so long, what is still pending counts as having no place: longer than the schedulers'
/// unconditional sweep of what is blocked.
pub(crate) const DEMO_SETTLED_AFTER: Duration = Duration::from_secs(6);

/// How long the demo waits until every copy has been compared with the server's state: marks come every second.
pub(crate) const DEMO_COPIES_WAIT: Duration = Duration::from_secs(20);

/// Jobs whose pending tasks are explained: each costs a look at every machine.
pub(crate) const DEMO_EXPLAINED_MAX: usize = 200;

/// How long `ohm scale` waits for its tasks to be placed, for a checkpoint, or for a restart.
pub(crate) const SCALE_WAIT: Duration = Duration::from_secs(900);

/// Values of one sweep of `ohm load`: each takes a quarter of a minute.
pub(crate) const LOAD_SWEEP_MAX: usize = 64;

/// Tasks of `ohm scale` beside those that fill the cell, placed one by one to see how long a commit takes meanwhile: at
/// 5,000 a second, some ten seconds.
pub(crate) const SCALE_PROBES: u32 = 50_000;

/// After this pause the server's marks, which come every second, have seen the last entry.
pub(crate) const SCALE_SETTLE: Duration = Duration::from_millis(1_500);
/// Runs of a study at a time: beyond the cores of any machine they only take turns.
pub(crate) const STUDY_THREADS_MAX: usize = 1_024;

/// Repetitions when the simulator is measured.
pub(crate) const STUDY_RUNS_MAX: usize = 1_000;

/// Pieces of standard input or output that wait for the other side: at 16 KiB each, what a pipe holds twice over.
pub(crate) const PIECES_AHEAD: usize = 8;

/// Seeds a comparison takes at least: with fewer the interval is wider than most differences.
pub(crate) const STUDY_COMPARE_SEEDS: u64 = 5;

/// Points of a live study: each starts and stops a cell of its own.
pub(crate) const STUDY_LIVE_POINTS_MAX: usize = 40;

/// Seconds one point of a live study may take.
pub(crate) const STUDY_LIVE_SECONDS_MAX: u64 = 600;

/// Percent of cell C a live study plays unless told otherwise: 500 machines and 5,000 tasks, on a laptop.
pub(crate) const STUDY_LIVE_PERCENT: u32 = 4;

/// How long the tasks of the start may take to be placed.
pub(crate) const STUDY_LIVE_FILL_WAIT: Duration = Duration::from_secs(60);

/// Without a placement for so long the cell of a live study counts as filled; schedulers tell how they fare more often.
pub(crate) const STUDY_LIVE_SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Tasks of one `ohm load tasks`: they are one group of one job.
pub(crate) const LOAD_TASKS_MAX: u32 = cell_state::bounds::GROUP_TASKS_MAX;

/// Tasks that go first and aren't counted: they start what is started once.
pub(crate) const LOAD_TASKS_WARM_UP: u32 = 64;

/// How long commands are spawned without Ohm, once by one thread and once by as many as there are cores.
pub(crate) const LOAD_SPAWN_FOR: Duration = Duration::from_secs(1);

/// How often it is looked whether the tasks are done: the resolution of the result.
pub(crate) const LOAD_TASKS_LOOK_EVERY: Duration = Duration::from_millis(2);

/// Tasks that the agent of `ohm load tasks` has room for: enough that it never waits for the schedulers.
pub(crate) const LOAD_TASKS_AT_ONCE: u32 = 512;

/// The same for simulated tasks, which end when they start.
pub(crate) const LOAD_SIMULATED_AT_ONCE: u32 = 20_000;

/// The least time between two samples of what tasks use: processor time is counted in hundredths of a second.
pub(crate) const USAGE_EVERY_MIN: std::time::Duration = std::time::Duration::from_millis(100);

/// The least time between two looks of `ohm top`: nobody reads faster.
pub(crate) const TOP_EVERY_MIN: std::time::Duration = std::time::Duration::from_millis(100);
