//! Every bound of the cell's own data, with its reason. Over a bound: one clear rejection, nothing changed.

/// Bytes of one encoded log record. A transaction of `TXN_OPS_MAX` placements needs about 400 KiB,
/// the largest page of a snapshot about 3.5 MiB; a record must fit one stream frame.
pub const RECORD_BYTES_MAX: usize = 4 << 20;

/// Ops of one transaction. Judging 10,000 placements takes about 5 ms, the longest the writer may be held.
pub const TXN_OPS_MAX: usize = 10_000;

/// Assertions of one transaction: each may walk all tasks of one job.
pub const TXN_ASSERTIONS_MAX: usize = 64;

/// Machines named by one place op: the first choice and its fallbacks.
pub const PLACE_MACHINES_MAX: usize = 16;

/// Victims of one preempting placement: all of them sit on one machine.
pub const PREEMPT_VICTIMS_MAX: usize = 64;

/// Outcomes remembered per session, hence the most transactions a session may have in flight.
pub const SESSION_OUTCOMES_MAX: usize = 256;

/// Ops whose outcomes are remembered per session, whatever the number of transactions: at up to 300 bytes each
/// (a conflict with long names) a session's page stays below one record.
pub const SESSION_OUTCOME_OPS_MAX: usize = 12_000;

/// Sessions remembered, live and ended. Beyond it the longest ended one is forgotten.
pub const SESSIONS_MAX: usize = 4_096;

/// Machines of one cell: ten times the largest published cell.
pub const MACHINES_MAX: usize = 1_000_000;

/// Jobs not yet forgotten. A job of one task costs about 1 KiB.
pub const JOBS_MAX: usize = 5_000_000;

/// Jobs ever submitted to one cell: three a second for a year. A number that was given out keeps 8 bytes for ever, and
/// a page that claims more is damaged.
pub const JOB_NUMBERS_MAX: u32 = 100_000_000;

/// Groups of one job; the richest job of the Google 2011 trace has 40 shapes. A page holds the small groups of 32 jobs.
pub const JOB_GROUPS_MAX: usize = 64;

/// Tasks of one group; Google 2011 jobs reach 20,010.
pub const GROUP_TASKS_MAX: u32 = 1_000_000;

/// Versions of one job whose specs are still in use by placed tasks.
pub const JOB_VERSIONS_MAX: usize = 8;

/// Bytes of one encoded job spec: a page holds 4 jobs in up to 8 versions.
pub const JOB_SPEC_BYTES_MAX: usize = 64 << 10;

/// Tasks of one job whose promise differs from their spec: they are kept in the job's page.
pub const JOB_RESIZED_MAX: usize = 10_000;

/// Bytes of a name (cell, machine, job, group, team, scheduler).
pub const NAME_BYTES_MAX: usize = 128;

/// Attributes of a machine: a page holds 64 machines.
pub const ATTRIBUTES_MAX: usize = 64;

/// Bytes of an attribute's key or value.
pub const ATTRIBUTE_BYTES_MAX: usize = 256;

/// Constraints of a group.
pub const CONSTRAINTS_MAX: usize = 64;

/// Values of one `in` constraint.
pub const CONSTRAINT_VALUES_MAX: usize = 256;

/// Bytes of a compiled regular expression: keeps a hostile pattern from eating the server's memory.
pub const REGEX_BYTES_MAX: usize = 64 << 10;

/// Ports asked for by one task.
pub const PORTS_MAX: usize = 32;

/// GPU devices of one machine.
pub const DEVICES_MAX: usize = 64;

/// Paths of the machine that stay writable for a task.
pub const WRITABLE_PATHS_MAX: usize = 64;

/// Processes of one task: what a machine has numbers for.
pub const TASK_PIDS_MAX: u32 = 4_194_304;

/// The path of a container's directory: what the kernel takes, less what agents put before and behind it.
pub const CONTAINER_PATH_BYTES_MAX: usize = 3_072;

/// The smallest hard limit of processor time: the kernel refuses a quota below one millisecond of a period.
pub const CPU_LIMIT_MILLI_MIN: u64 = 10;

/// Artifacts of a group: they are fetched one after another before each start.
pub const ARTIFACTS_MAX: usize = 32;

/// Secrets of a group: each is a file in memory.
pub const SECRETS_MAX: usize = 32;

/// Bytes of an artifact's source: what servers take of an address.
pub const SOURCE_BYTES_MAX: usize = 2_048;

/// Bytes of an artifact's place in the working directory.
pub const DESTINATION_BYTES_MAX: usize = 512;

/// Arguments of a command, and variables of its environment.
pub const ARGS_MAX: usize = 4_096;

/// The largest amount of one resource: 2^53, so that sums over a cell never overflow and JSON keeps them exact.
pub const AMOUNT_MAX: u64 = 1 << 53;

/// Over-commit, in percent of capacity: from none to ten-fold.
pub const OVERCOMMIT_PERCENT: std::ops::RangeInclusive<u16> = 100..=1_000;

/// The highest priority; Borg's bands are a hundred wide.
pub const PRIORITY_MAX: u16 = 399;

/// Restarts of one task before it counts as failed.
pub const RESTARTS_MAX: u16 = 1_000;

/// Reports in one agent message: a machine seldom holds more tasks.
pub const REPORTS_MAX: usize = 4_096;

/// Quota entries (team and band) of a cell.
pub const QUOTAS_MAX: usize = 10_000;

/// Endpoints in one answer about a service: more than any client balances over.
pub const ENDPOINTS_MAX: usize = 1_000;
