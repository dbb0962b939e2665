//! The life of a task as one explicit state machine. Every change of a task's state goes through [`next`].
//!
//! ```text
//!              Place (epoch + 1)      Started
//!   Pending ────────────────▶ Placed ────────▶ Running
//!    ▲ ▲ │                     │  │             │  │
//!    │ │ │ Stop                │  └───Stop──────┤  │
//!    │ │ └──────▶ Stopped      │                ▼  │
//!    │ │            ▲          │      Stopping(reason)
//!    │ │            └──────────┼───────── Ended │  │
//!    │ └───────────────────────┼── Ended (evict, │  │
//!    │                         │         drain) ─┘  │
//!    │  Lost (Placed, Running, Stopping)            │
//!    ├──────────────────────────┬───────────────────┘
//!    │  Ended, restarts left    │
//!    └──────────────────────────┴─▶ Completed | Failed   (Ended, no restart)
//!
//!   Revive: Stopped | Failed ─▶ Pending      (a new submission)
//! ```
//!
//! Epochs: a placement is one epoch. Only `Place` makes a new one, so a restart is a new placement, and a process
//! of an older epoch can never be taken for the current one: its reports are ignored.

use crate::task::{StopReason, TaskState};

/// What can happen to a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A transaction put it on a machine.
    Place,
    /// Its agent started it.
    Started,
    /// Its agent saw it end, and this is what its restart rule makes of that.
    Ended(After),
    /// It was asked to stop.
    Stop(StopReason),
    /// Its machine went down, or came back without it.
    Lost,
    /// A new submission gives it another chance.
    Revive,
}

/// What the restart rule makes of an end that nobody asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// Place it again.
    Restart,
    /// It is done.
    Complete,
    /// It failed for good.
    Fail,
}

/// The state that follows, or `None` when the trigger means nothing in this state and is ignored.
pub fn next(state: TaskState, trigger: Trigger) -> Option<TaskState> {
    use TaskState::{Completed, Failed, Pending, Placed, Running, Stopped, Stopping};
    match (state, trigger) {
        (Pending, Trigger::Place) => Some(Placed),
        (Placed, Trigger::Started) => Some(Running),

        (Placed | Running, Trigger::Ended(After::Restart)) => Some(Pending),
        (Placed | Running, Trigger::Ended(After::Complete)) => Some(Completed),
        (Placed | Running, Trigger::Ended(After::Fail)) => Some(Failed),
        (Stopping(reason), Trigger::Ended(_)) => Some(after_stop(reason)),

        (Pending, Trigger::Stop(StopReason::Stop)) => Some(Stopped),
        (Placed | Running, Trigger::Stop(reason)) => Some(Stopping(reason)),
        // A stop for good overrides an eviction or a drain under way; nothing overrides a stop for good.
        (Stopping(StopReason::Evict | StopReason::Drain), Trigger::Stop(StopReason::Stop)) => {
            Some(Stopping(StopReason::Stop))
        }

        (Placed | Running, Trigger::Lost) => Some(Pending),
        (Stopping(reason), Trigger::Lost) => Some(after_stop(reason)),

        (Stopped | Failed, Trigger::Revive) => Some(Pending),
        // Asked to stop for good and revived before it was gone: it is placed again once it is gone.
        (Stopping(StopReason::Stop), Trigger::Revive) => Some(Stopping(StopReason::Evict)),

        (Pending, Trigger::Started | Trigger::Ended(_) | Trigger::Lost | Trigger::Revive)
        | (Pending, Trigger::Stop(StopReason::Evict | StopReason::Drain))
        | (Placed | Running, Trigger::Place | Trigger::Revive)
        | (Running, Trigger::Started)
        | (Stopping(_), Trigger::Place | Trigger::Started | Trigger::Stop(_))
        | (Stopping(StopReason::Evict | StopReason::Drain), Trigger::Revive)
        | (Completed, _)
        | (Failed | Stopped, Trigger::Place | Trigger::Started | Trigger::Ended(_) | Trigger::Stop(_))
        | (Failed | Stopped, Trigger::Lost) => None,
    }
}

fn after_stop(reason: StopReason) -> TaskState {
    match reason {
        StopReason::Stop => TaskState::Stopped,
        StopReason::Evict | StopReason::Drain => TaskState::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGERS: [Trigger; 10] = [
        Trigger::Place,
        Trigger::Started,
        Trigger::Ended(After::Restart),
        Trigger::Ended(After::Complete),
        Trigger::Ended(After::Fail),
        Trigger::Stop(StopReason::Stop),
        Trigger::Stop(StopReason::Evict),
        Trigger::Stop(StopReason::Drain),
        Trigger::Lost,
        Trigger::Revive,
    ];

    /// Rows are states, columns triggers, in the order above. `.` is "ignored".
    const TABLE: [&str; 9] = [
        "placed . . . . stopped . . . .",
        ". running pending completed failed stop evict drain pending .",
        ". . pending completed failed stop evict drain pending .",
        ". . stopped stopped stopped . . . stopped evict",
        ". . pending pending pending stop . . pending .",
        ". . pending pending pending stop . . pending .",
        ". . . . . . . . . .",
        ". . . . . . . . . pending",
        ". . . . . . . . . pending",
    ];

    fn name(state: Option<TaskState>) -> &'static str {
        match state {
            None => ".",
            Some(TaskState::Pending) => "pending",
            Some(TaskState::Placed) => "placed",
            Some(TaskState::Running) => "running",
            Some(TaskState::Stopping(StopReason::Stop)) => "stop",
            Some(TaskState::Stopping(StopReason::Evict)) => "evict",
            Some(TaskState::Stopping(StopReason::Drain)) => "drain",
            Some(TaskState::Completed) => "completed",
            Some(TaskState::Failed) => "failed",
            Some(TaskState::Stopped) => "stopped",
        }
    }

    #[test]
    fn the_whole_matrix() {
        for (state, row) in TaskState::ALL.iter().zip(TABLE) {
            for (trigger, expected) in TRIGGERS.iter().zip(row.split(' ')) {
                assert_eq!(name(next(*state, *trigger)), expected, "{state:?} on {trigger:?}");
            }
        }
    }

    #[test]
    fn only_placing_leads_onto_a_machine() {
        for state in TaskState::ALL.into_iter().filter(|s| !s.is_live()) {
            for trigger in TRIGGERS.into_iter().filter(|t| *t != Trigger::Place) {
                assert!(next(state, trigger).is_none_or(|s| !s.is_live()));
            }
        }
    }
}
