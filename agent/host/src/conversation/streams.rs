//! A command's input and output, as this process holds them: three pipes, or one terminal.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::ioctl_fionbio;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, watch};
use transport::bounds::CONVERSATION_PIECE_BYTES;
use transport::message::LogStream;
use transport::task::{FromTask, Window};

use super::Writer;
use super::exec::{BOTH, END_OF_INPUT};

/// This process's ends.
pub(super) enum Ends {
    Pipes {
        /// `None` once there is no more input.
        input: Mutex<Option<pipe::Sender>>,
        output: pipe::Receiver,
        error: pipe::Receiver,
    },
    Terminal(AsyncFd<OwnedFd>),
}

impl Ends {
    pub(super) fn pipes(input: Option<OwnedFd>, output: OwnedFd, error: OwnedFd) -> io::Result<Ends> {
        Ok(Ends::Pipes {
            input: Mutex::new(input.map(pipe::Sender::from_owned_fd).transpose()?),
            output: pipe::Receiver::from_owned_fd(output)?,
            error: pipe::Receiver::from_owned_fd(error)?,
        })
    }

    #[expect(
        deprecated,
        reason = "unsound only for types whose descriptor may change or close; an OwnedFd's doesn't, and the replacement is an unsafe fn"
    )]
    pub(super) fn terminal(master: OwnedFd) -> io::Result<Ends> {
        ioctl_fionbio(&master, true)?;
        Ok(Ends::Terminal(AsyncFd::with_interest(master, BOTH)?))
    }

    /// Gives the command input. One that takes no more of it is none of the other end's mistakes.
    pub(super) async fn input(&self, bytes: &[u8]) {
        match self {
            Ends::Pipes { input, .. } => {
                let mut input = input.lock().await;
                if let Some(pipe) = &mut *input
                    && pipe.write_all(bytes).await.is_err()
                {
                    *input = None;
                }
            }
            Ends::Terminal(master) => {
                // Fails when the last process with the terminal has gone.
                let _ = write_all(master, bytes).await;
            }
        }
    }

    /// Tells the command that there is no more input.
    pub(super) async fn input_end(&self) {
        match self {
            Ends::Pipes { input, .. } => *input.lock().await = None,
            Ends::Terminal(_) => self.input(&[END_OF_INPUT]).await,
        }
    }

    /// Tells the command that its terminal has another size.
    pub(super) fn resize(&self, window: Window) {
        if let Ends::Terminal(master) = self {
            // Fails when the last process with the terminal has gone.
            let _ = set_window(master.get_ref(), window);
        }
    }

    /// Sends what the command writes until it can write no more or, once it is over, until all is sent.
    pub(super) async fn copy_out(&self, writer: &Writer, over: watch::Receiver<bool>) {
        match self {
            Ends::Pipes { output, error, .. } => {
                let one = copy_pipe(output, LogStream::Stdout, writer, over.clone());
                tokio::join!(one, copy_pipe(error, LogStream::Stderr, writer, over));
            }
            Ends::Terminal(master) => copy_terminal(master, writer, over).await,
        }
    }
}

/// Sets the size of a terminal.
pub(super) fn set_window(master: &impl AsFd, window: Window) -> io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(master, size)?)
}

async fn write_all(master: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = master.writable().await?;
        if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
            bytes = &bytes[written?..];
        }
    }
    Ok(())
}

async fn copy_pipe(
    pipe: &pipe::Receiver,
    stream: LogStream,
    writer: &Writer,
    mut over: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; CONVERSATION_PIECE_BYTES];
    loop {
        match pipe.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                if writer.send(FromTask::Output { stream, bytes: buffer[..n].to_vec() }).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if *over.borrow() {
                    return;
                }
                tokio::select! {
                    ready = pipe.readable() => if ready.is_err() { return },
                    // Its sender lives as long as this.
                    _ = over.changed() => {}
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

async fn copy_terminal(master: &AsyncFd<OwnedFd>, writer: &Writer, mut over: watch::Receiver<bool>) {
    let mut buffer = vec![0; CONVERSATION_PIECE_BYTES];
    loop {
        // Looked at before reading: what was written before the end is there by then.
        let is_over = *over.borrow();
        match rustix::io::read(master.get_ref(), &mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                let bytes = buffer[..n].to_vec();
                if writer.send(FromTask::Output { stream: LogStream::Stdout, bytes }).await.is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::AGAIN) if is_over => return,
            Err(rustix::io::Errno::AGAIN) => {
                tokio::select! {
                    ready = master.readable() => match ready {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => return,
                    },
                    // Its sender lives as long as this.
                    _ = over.changed() => {}
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            // The last process with the terminal has gone.
            Err(_) => return,
        }
    }
}
