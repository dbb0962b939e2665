//! Every bound of workloads and metrics, with its reason.

/// Digits of one number of a trace: its mantissa must fit 64 bits, so that scaling it in 128 bits is exact.
pub const AMOUNT_DIGITS_MAX: usize = 19;

/// Decimal places of one number of a trace, exponent included; Google's have at most ten.
pub const AMOUNT_PLACES_MAX: u32 = 18;

/// Batch schedulers a load is divided among: a decision of the caller, kept small enough to be a command line.
pub const BATCH_SCHEDULERS_MAX: usize = 64;

/// The longest delay the histogram tells apart, in microseconds: an hour. Longer ones count as an hour.
pub const DELAY_US_MAX: u64 = 3_600_000_000;

/// Seconds for which placements are counted one by one: a day. Later ones only count in the total.
pub const SECONDS_MAX: usize = 86_400;

/// Machines of one scenario: what a cell may have.
pub const SCENARIO_MACHINES_MAX: usize = cell_state::bounds::MACHINES_MAX;

/// Jobs of one scenario: what a cell may have at once. Each takes some 400 bytes.
pub const SCENARIO_JOBS_MAX: usize = cell_state::bounds::JOBS_MAX;

/// Entries of equal tasks of one scenario: 150 bytes each. Google's 29 days have 25 million tasks.
pub const SCENARIO_TASKS_MAX: usize = 40_000_000;

/// Waits of one class of jobs that are kept as they are, for exact percentiles: more than any golden result has, and
/// 8 MiB.
pub const WAITS_EXACT_MAX: usize = 1 << 20;

/// Machines going and coming in one scenario: Google's 29 days have 25,000.
pub const SCENARIO_CHANGES_MAX: usize = 5_000_000;

/// Tasks of one job that a cell is filled with: what the public Omega simulator uses.
pub const FILL_JOB_TASKS: usize = 50;

/// Tasks drawn in vain, one after another, before a cell counts as full.
pub const FILL_DRAWS_MAX: u32 = 64;

/// Classes of work of one model: each is a paragraph somebody wrote.
pub const MODEL_CLASSES_MAX: usize = 64;

/// Points of one curve: a plot is no wider.
pub const CURVE_POINTS_MAX: usize = 400;

/// Activities of one MapReduce job: ten times what nineteen of twenty have.
pub const MAPREDUCE_ACTIVITIES_MAX: u32 = 5_000;
