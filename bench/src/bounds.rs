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
