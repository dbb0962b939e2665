//! Subscription streams, both ends: whole records, as many as the reader's pace allows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use transport::RecordBuffer;
use transport::bounds::SUBSCRIPTIONS_MAX;

use crate::bounds::{READ_PIECES, SUBSCRIPTION_WAIT};
use crate::client::CallError;
use crate::closing::{BAD_FRAME, DONE, why, why_or};
use crate::session::SendError;

/// A subscription as its reader sees it. Dropping it tells the server to stop.
#[derive(Debug)]
pub struct Subscription {
    connection: Connection,
    stream: RecvStream,
    buffer: RecordBuffer,
    pieces: Vec<Bytes>,
}

impl Subscription {
    /// The next records: one or more, each whole and within the bound; their checksums are for the caller to check.
    /// `None` when the server has ended the stream, for example because this reader fell behind: subscribe again after
    /// the last position seen. No record is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection was lost, or the bytes are no records.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let taken = self.buffer.take().map_err(|error| {
                // Fails only when the stream has ended already.
                let _ = self.stream.stop(BAD_FRAME);
                CallError::Lost(format!("unreadable subscription: {error}"))
            })?;
            if taken.is_some() {
                return Ok(taken);
            }
            match self.stream.read_chunks(&mut self.pieces).await {
                Ok(Some(n)) => self.pieces[..n].iter_mut().for_each(|p| self.buffer.push(&std::mem::take(p))),
                Ok(None) if self.buffer.pending() == 0 => return Ok(None),
                Ok(None) => {
                    let problem =
                        format!("the subscription ended {} bytes into a record", self.buffer.pending());
                    return Err(CallError::Lost(problem));
                }
                Err(error) => {
                    let otherwise = format!("the subscription broke: {error}");
                    return Err(CallError::Lost(why_or(&self.connection, &otherwise)));
                }
            }
        }
    }
}

/// Where subscription streams meet the calls that asked for them; either may be first.
#[derive(Default)]
pub(crate) struct Arrivals {
    expected: Mutex<BTreeMap<u32, Arrival>>,
}

enum Arrival {
    /// The call is here and waits for the stream.
    Wanted(oneshot::Sender<RecvStream>),
    /// The stream is here and waits for the call.
    Here(RecvStream),
    /// The call has gone: the stream is to be stopped when it comes.
    Unwanted,
}

impl Arrivals {
    /// Takes in the server's streams until the connection ends.
    pub(crate) async fn accept(self: Arc<Arrivals>, connection: Connection) {
        while let Ok(mut stream) = connection.accept_uni().await {
            let mut number = [0; 4];
            if stream.read_exact(&mut number).await.is_ok() {
                self.arrived(u32::from_le_bytes(number), stream);
            }
        }
    }

    fn arrived(&self, number: u32, mut stream: RecvStream) {
        let mut expected = self.expected();
        match expected.remove(&number) {
            // Dropping a stream stops it, so a caller that has gone needs no more.
            Some(Arrival::Wanted(caller)) => drop(caller.send(stream)),
            Some(Arrival::Unwanted) => drop(stream.stop(DONE)),
            Some(Arrival::Here(_)) | None => drop(expected.insert(number, Arrival::Here(stream))),
        }
    }

    /// The stream with this number was granted to a caller that has gone.
    pub(crate) fn forget(&self, number: u32) {
        let mut expected = self.expected();
        if expected.remove(&number).is_none() && expected.len() < SUBSCRIPTIONS_MAX as usize {
            expected.insert(number, Arrival::Unwanted);
        }
    }

    /// The subscription with this number, when its stream is here.
    pub(crate) async fn take(&self, connection: &Connection, number: u32) -> Result<Subscription, CallError> {
        let waiting = {
            let mut expected = self.expected();
            match expected.remove(&number) {
                Some(Arrival::Here(stream)) => return Ok(subscription(connection, stream)),
                Some(Arrival::Wanted(_) | Arrival::Unwanted) | None => {
                    let (caller, stream) = oneshot::channel();
                    expected.insert(number, Arrival::Wanted(caller));
                    stream
                }
            }
        };
        tokio::select! {
            stream = tokio::time::timeout(SUBSCRIPTION_WAIT, waiting) => match stream {
                Ok(Ok(stream)) => Ok(subscription(connection, stream)),
                Ok(Err(_)) | Err(_) => {
                    self.forget(number);
                    let waited = SUBSCRIPTION_WAIT.as_secs();
                    Err(CallError::Lost(format!("the server granted a subscription and didn't open it for {waited} s")))
                }
            },
            error = connection.closed() => Err(CallError::Lost(why(&error))),
        }
    }

    fn expected(&self) -> MutexGuard<'_, BTreeMap<u32, Arrival>> {
        self.expected.lock().expect("no panic while it is held")
    }
}

fn subscription(connection: &Connection, stream: RecvStream) -> Subscription {
    let pieces = vec![Bytes::new(); READ_PIECES];
    Subscription { connection: connection.clone(), stream, buffer: RecordBuffer::default(), pieces }
}

/// A subscription as the server sees it.
#[derive(Debug)]
pub struct SubscriptionWriter {
    connection: Connection,
    stream: SendStream,
    _place: OwnedSemaphorePermit,
}

impl SubscriptionWriter {
    /// Opens the stream and writes its number.
    pub(crate) async fn open(
        connection: &Connection,
        number: u32,
        place: OwnedSemaphorePermit,
    ) -> Result<SubscriptionWriter, SendError> {
        let stream = connection.open_uni().await.map_err(|error| SendError::Lost(why(&error)))?;
        let mut writer = SubscriptionWriter { connection: connection.clone(), stream, _place: place };
        writer.send(Bytes::copy_from_slice(&number.to_le_bytes())).await?;
        Ok(writer)
    }

    /// Sends whole records, waiting while the reader is behind by more than its window. The bytes are shared, not copied.
    ///
    /// # Errors
    /// The reader has gone.
    pub async fn send(&mut self, records: Bytes) -> Result<(), SendError> {
        let sent = self.stream.write_chunk(records).await;
        sent.map_err(|error| match error {
            quinn::WriteError::Stopped(_) => SendError::Unwanted,
            other => SendError::Lost(why_or(&self.connection, &other.to_string())),
        })
    }

    /// Ends the stream: the reader gets what was sent, then the end.
    pub fn finish(mut self) {
        // Fails only when the stream has ended already.
        let _ = self.stream.finish();
    }

    /// Waits until the reader has gone: it dropped its subscription, or the connection ended.
    pub async fn closed(&self) {
        // Any end of the stream is the end of it.
        let _ = self.stream.stopped().await;
    }
}
