//! Requests under way. They are first polled in the order they were made, which is the order they are sent in: the
//! server judges a process's transactions in the order of their numbers, unless a connection breaks in between.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use transport::message::{Reply, Request};
use transport_quic::{CallError, Client};

/// What a request was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The transaction of this number.
    Commit(u64),
    /// Telling how this process fares.
    Telemetry,
}

type Call = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>;

/// Requests under way on one connection.
#[derive(Default)]
pub(crate) struct Calls {
    under_way: Vec<(Purpose, Call)>,
    /// Replies not yet taken.
    replies: VecDeque<(Purpose, Result<Reply, CallError>)>,
}

impl Calls {
    /// Makes a request. It is sent when [`Calls::next`] is polled.
    pub(crate) fn make(&mut self, client: &Client, purpose: Purpose, request: Request) {
        let client = client.clone();
        self.under_way.push((purpose, Box::pin(async move { client.call(request).await })));
    }

    /// Whether one for this purpose is under way.
    pub(crate) fn has(&self, purpose: Purpose) -> bool {
        self.under_way.iter().any(|(other, _)| *other == purpose)
    }

    /// True when transactions are under way.
    pub(crate) fn has_commits(&self) -> bool {
        let mut purposes = self.under_way.iter().map(|(p, _)| p).chain(self.replies.iter().map(|(p, _)| p));
        purposes.any(|purpose| matches!(purpose, Purpose::Commit(_)))
    }

    /// The next reply; waits for ever when nothing is under way. Nothing is lost when the future is dropped.
    pub(crate) fn next(&mut self) -> impl Future<Output = (Purpose, Result<Reply, CallError>)> {
        std::future::poll_fn(|context| self.poll(context))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Purpose, Result<Reply, CallError>)> {
        // All are polled whatever is ready, so that those not yet sent go out now.
        let replies = &mut self.replies;
        self.under_way.retain_mut(|(purpose, call)| match call.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(reply) => {
                replies.push_back((*purpose, reply));
                false
            }
        });
        self.replies.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
