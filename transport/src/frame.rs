//! Frames: a length, then one message. The length is checked before anything is allocated for it.
//!
//! ```text
//! offset size
//!      0    4  length of the message, little-endian
//!      4    n  the message, encoded by `cell_state::codec`
//! ```

use std::sync::Arc;

use cell_state::Seq;
use cell_state::codec::{self, DecodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bounds::FRAME_BYTES_MAX;
use crate::message::{Reply, ReplyFrame};

/// Bytes before the message.
pub const PREFIX_BYTES: usize = 4;

/// Bytes that are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The prefix claims more than the bound.
    #[error("a frame of {claimed} bytes, over the bound of {FRAME_BYTES_MAX}")]
    TooLong {
        /// The claimed length.
        claimed: usize,
    },
    /// The message doesn't decode.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// Appends a message as a frame.
pub fn frame<T: Serialize + ?Sized>(message: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; PREFIX_BYTES]);
    codec::encode_into(message, out);
    let length = (out.len() - start - PREFIX_BYTES) as u32;
    out[start..start + PREFIX_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Appends the frame of [`Reply::Verdicts`], given its outcomes and its failed assertion already encoded: a server has
/// them so in its log.
pub fn frame_verdicts(id: u64, at: Seq, encoded: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let empty = Reply::Verdicts { at, outcomes: Arc::default(), failed_assertion: None };
    frame(&ReplyFrame { id, reply: Ok(empty) }, out);
    // No outcomes and no assertion are one byte each, and the last ones.
    out.truncate(out.len() - 2);
    out.extend_from_slice(encoded);
    let length = (out.len() - start - PREFIX_BYTES) as u32;
    out[start..start + PREFIX_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// The length of the message that follows this prefix.
///
/// # Errors
/// It is over the bound.
pub fn message_length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let claimed = u32::from_le_bytes(prefix) as usize;
    if claimed > FRAME_BYTES_MAX { Err(FrameError::TooLong { claimed }) } else { Ok(claimed) }
}

/// The message at the start of `bytes` and the length of its frame, or `None` when the bytes end before it does.
///
/// # Errors
/// The frame is over the bound, or its message doesn't decode.
pub fn unframe<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let length = message_length(*prefix)?;
    let Some(message) = bytes.get(PREFIX_BYTES..PREFIX_BYTES + length) else { return Ok(None) };
    Ok(Some((codec::decode(message)?, PREFIX_BYTES + length)))
}

/// Bytes as they arrive on a stream, cut into frames. It never holds more than what has arrived of one frame and one
/// read after it: memory follows the bytes received, not the lengths claimed.
#[derive(Default, Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    /// Where the first frame not yet taken starts.
    start: usize,
}

/// A buffer that grew beyond this for one large frame gives its memory back once it is empty.
const KEEP_BYTES: usize = 256 << 10;

impl FrameBuffer {
    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The message of the next whole frame, undecoded; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The frame is over the bound: nothing that follows can be trusted to start at a frame.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = &self.bytes[self.start..];
        let Some(prefix) = rest.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let end = PREFIX_BYTES + message_length(*prefix)?;
        let Some(frame) = rest.get(..end) else { return Ok(None) };
        self.start += end;
        Ok(Some(&frame[PREFIX_BYTES..]))
    }

    /// Bytes that have arrived of a frame that isn't whole yet.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_one_after_another() {
        let mut bytes = Vec::new();
        frame("one", &mut bytes);
        frame("three", &mut bytes);
        let (first, used) = unframe::<String>(&bytes).unwrap().unwrap();
        let (second, rest) = unframe::<String>(&bytes[used..]).unwrap().unwrap();
        assert_eq!((first.as_str(), second.as_str(), used + rest), ("one", "three", bytes.len()));
        for cut in 0..used {
            assert!(unframe::<String>(&bytes[..cut]).unwrap().is_none());
        }
    }

    #[test]
    fn a_buffer_cuts_frames_wherever_the_bytes_were_split() {
        let mut bytes = Vec::new();
        let words = ["", "one", "three", &"long ".repeat(100)];
        words.iter().for_each(|word| frame(word, &mut bytes));
        for step in 1..bytes.len() {
            let (mut buffer, mut seen) = (FrameBuffer::default(), Vec::new());
            for piece in bytes.chunks(step) {
                buffer.push(piece);
                while let Some(message) = buffer.next_message().unwrap() {
                    seen.push(codec::decode::<String>(message).unwrap());
                }
            }
            assert_eq!(
                (seen, buffer.pending()),
                (words.map(str::to_owned).to_vec(), 0),
                "pieces of {step} bytes"
            );
        }
    }

    #[test]
    fn an_oversized_claim_is_refused_at_the_prefix() {
        let claim = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
        assert!(matches!(unframe::<String>(&claim), Err(FrameError::TooLong { .. })));
    }
}
