//! Kinds of requests, as the permission table tells them apart.

use std::fmt;

/// The kinds of requests that permissions tell apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "each is the request of the same name")]
pub enum RequestKind {
    Status,
    Read,
    ListSchedulers,
    ListAttempts,
    GetAttempt,
    TopConflicts,
    Audit,
    ReadLog,
    OpenSession,
    Commit,
    Telemetry,
    RegisterMachine,
    Report,
    GetSpec,
    SubmitJob,
    StopJob,
    SetMachineState,
    SetQuota,
    Configure,
    SubscribeFull,
    SubscribeJobs,
    SubscribeMachines,
    FollowLog,
    TaskExec,
    TaskFiles,
    TaskSignal,
}

impl RequestKind {
    /// All kinds.
    pub const ALL: [RequestKind; 26] = [
        RequestKind::Status,
        RequestKind::Read,
        RequestKind::ListSchedulers,
        RequestKind::ListAttempts,
        RequestKind::GetAttempt,
        RequestKind::TopConflicts,
        RequestKind::Audit,
        RequestKind::ReadLog,
        RequestKind::OpenSession,
        RequestKind::Commit,
        RequestKind::Telemetry,
        RequestKind::RegisterMachine,
        RequestKind::Report,
        RequestKind::GetSpec,
        RequestKind::SubmitJob,
        RequestKind::StopJob,
        RequestKind::SetMachineState,
        RequestKind::SetQuota,
        RequestKind::Configure,
        RequestKind::SubscribeFull,
        RequestKind::SubscribeJobs,
        RequestKind::SubscribeMachines,
        RequestKind::FollowLog,
        RequestKind::TaskExec,
        RequestKind::TaskFiles,
        RequestKind::TaskSignal,
    ];
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
