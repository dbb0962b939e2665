//! Every bound of a scheduler process as a shell, with its reason. Those of deciding are in `schedulers::bounds`.

use std::time::Duration;

/// The first pause before connecting again; doubles with each failure.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(50);

/// The longest pause before connecting again: a restarted server has its schedulers back within this time.
pub const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// The pause before subscribing again after a subscription that made no sense: keeps a broken stream from being asked
/// for as fast as it fails.
pub const RESUBSCRIBE_PAUSE: Duration = Duration::from_millis(100);

/// How often the server is told how this process fares.
pub const TELEMETRY_EVERY: Duration = Duration::from_secs(1);

/// How long a process that is asked to stop waits for answers it has coming.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// Batches of records taken in one go before replies and decisions have their turn: about 4 MiB, or 20 ms of applying.
pub const BATCHES_PER_TURN: usize = 64;
