//! Every bound of the transport, with its reason.

/// Bytes of one frame: the largest request is a transaction at its bound of ops (about 400 KiB) or a job spec
/// (64 KiB); the largest reply is a page of tasks or of log text (1 MiB).
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Requests one session may have unanswered; more are answered "busy".
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1_024;

/// Request streams one session may have open at a time: a client of ours needs one. Each may hold back most of a frame,
/// so a hostile session costs the server at most 64 MiB of half frames.
pub const STREAMS_MAX: u32 = 16;

/// Subscriptions of one session.
pub const SUBSCRIPTIONS_MAX: u32 = 8;

/// Rows of one reply: larger listings are read page by page.
pub const ROWS_MAX: u32 = 5_000;

/// Bytes of log text in one reply.
pub const LOG_BYTES_MAX: u32 = 1 << 20;

/// Machines one agent identity with a trailing `*` may play (the simulated driver).
pub const MACHINES_PER_AGENT_MAX: usize = 100_000;

/// Bytes of task output, of a command's input or output, or of a file in one message of a conversation: a quarter of the
/// window, so that the next message is on its way while one is passed on.
pub const CONVERSATION_PIECE_BYTES: usize = 16 << 10;

/// Bytes of one frame of a conversation: twice a piece, for a row of files may have a long name.
pub const CONVERSATION_FRAME_BYTES_MAX: usize = 32 << 10;

/// Bytes of frames that a conversation may have on its way between server and agent and not passed on. All conversations
/// of an agent together stay at half of what the server buffers per connection, so that however slow their readers are,
/// reports and the log go on. On a path of 10 ms it lets 6 MB/s through.
pub const CONVERSATION_WINDOW: usize = 64 << 10;

/// Conversations with the tasks of one agent at a time: see `CONVERSATION_WINDOW`.
pub const CONVERSATIONS_MAX: usize = 32;

/// Rows of files in one message: each has at most 255 bytes of name, which may triple when it is no UTF-8.
pub const FILE_ROWS_MAX: usize = 32;

/// Samples of usage in one message: one has about 30 bytes.
pub const USAGE_ROWS_MAX: usize = 4_096;
