//! Standard input and output on threads of their own: however long a pipe or a terminal keeps them waiting, the connection
//! is attended to, and the process may end all the same.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;
use transport::bounds::CONVERSATION_PIECE_BYTES;

use crate::bounds::PIECES_AHEAD;
use crate::failure::Failure;

/// Which output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Writes to standard output and standard error.
pub(crate) struct Out {
    pieces: mpsc::Sender<(To, Vec<u8>)>,
    ended: mpsc::Receiver<io::Result<()>>,
}

impl Out {
    /// Starts the thread.
    pub(crate) fn start() -> Out {
        let (pieces, mut taken) = mpsc::channel::<(To, Vec<u8>)>(PIECES_AHEAD);
        let (ending, ended) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut write_all = || {
                while let Some((to, bytes)) = taken.blocking_recv() {
                    match to {
                        To::Output => {
                            let mut out = io::stdout().lock();
                            out.write_all(&bytes)?;
                            out.flush()?;
                        }
                        To::Error => io::stderr().lock().write_all(&bytes)?,
                    }
                }
                Ok(())
            };
            // Fails when nobody waits for it.
            let _ = ending.blocking_send(write_all());
        });
        Out { pieces, ended }
    }

    /// Hands over a piece, once there is room for it.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) async fn write(&mut self, to: To, bytes: Vec<u8>) -> Result<(), Failure> {
        match self.pieces.send((to, bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.problem().await),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// It can't be.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        let Out { pieces, mut ended } = self;
        drop(pieces);
        match ended.recv().await {
            Some(Err(error)) => Err(error.into()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    async fn problem(&mut self) -> Failure {
        match self.ended.recv().await {
            Some(Err(error)) => error.into(),
            Some(Ok(())) | None => io::Error::from(io::ErrorKind::BrokenPipe).into(),
        }
    }
}

/// Reads standard input. The pieces end when it does; an empty piece says that it has.
pub(crate) fn input() -> mpsc::Receiver<Vec<u8>> {
    let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; CONVERSATION_PIECE_BYTES];
        loop {
            let read = match stdin.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if pieces.blocking_send(buffer[..read].to_vec()).is_err() || read == 0 {
                return;
            }
        }
    });
    taken
}
