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
