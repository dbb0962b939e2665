//! Records: the framing that log files and subscription streams share, byte for byte.
//!
//! ```text
//! offset size
//!      0    4  length of the body, little-endian
//!      4    4  CRC-32C of everything after this field, the body included
//!      8    8  seq
//!     16    1  kind
//!     17    1  format version of the body
//!     18    2  zero
//!     20    n  body
//! ```
//!
//! An all-zero header is the unwritten part of a preallocated log file.

mod committed;

use serde::{Deserialize, Serialize};

use crate::bounds::RECORD_BYTES_MAX;
use crate::codec::{self, DecodeError};
use crate::event::Event;
use crate::ids::Seq;
use crate::page::{PageKey, StateHash};
use crate::scope::Loads;

/// Bytes before the body.
pub const HEADER_BYTES: usize = 20;

/// The version of the body's encoding that this build writes and reads.
pub const FORMAT_VERSION: u8 = 1;

/// What a record holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An [`Event`]: the only kind in the log.
    Event,
    /// A subscriber is about to get a snapshot of the state at `seq`; it drops what it has.
    SnapshotStart,
    /// A [`PageRecord`] of that snapshot.
    Page,
    /// The snapshot is complete; the body is its [`StateHash`].
    SnapshotEnd,
    /// The [`StateHash`] at `seq`, or for a filtered subscription just the word that there was nothing up to `seq`.
    Mark,
    /// [`Loads`], in the stream of a subscriber that follows one scheduler's jobs.
    Loads,
}

/// One page of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PageRecord {
    /// Which page.
    pub key: PageKey,
    /// Its bytes, see [`crate::page`].
    pub bytes: Vec<u8>,
}

/// A record in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The position in the log.
    pub seq: Seq,
    /// What the body is.
    pub kind: Kind,
    /// The body.
    pub body: &'a [u8],
}

/// Bytes that are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The header claims a body over the bound.
    #[error("a record of {claimed} bytes, over the bound of {RECORD_BYTES_MAX}")]
    TooLong {
        /// The claimed length.
        claimed: usize,
    },
    /// The checksum doesn't match: damaged, or torn.
    #[error("checksum mismatch in the record at seq {seq} (stored {stored:08x}, computed {computed:08x})")]
    Checksum {
        /// The seq the header names, if it can be believed.
        seq: Seq,
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A kind or format version this build doesn't know.
    #[error("record kind {kind} in format {version}; this build reads format {FORMAT_VERSION}")]
    Unknown {
        /// The kind byte.
        kind: u8,
        /// The version byte.
        version: u8,
    },
    /// The body doesn't decode.
    #[error(transparent)]
    Body(#[from] DecodeError),
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Event, Kind::SnapshotStart, Kind::Page, Kind::SnapshotEnd, Kind::Mark, Kind::Loads];

    fn byte(self) -> u8 {
        match self {
            Kind::Event => 1,
            Kind::SnapshotStart => 2,
            Kind::Page => 3,
            Kind::SnapshotEnd => 4,
            Kind::Mark => 5,
            Kind::Loads => 6,
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.byte() == byte)
    }
}

/// Appends a record whose body is the encoding of `body`, and returns its length in bytes.
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, seq: Seq, kind: Kind, body: &T) -> usize {
    append_with(out, seq, kind, |out| codec::encode_into(body, out))
}

fn append_with(out: &mut Vec<u8>, seq: Seq, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend([0; 8]);
    out.extend(seq.0.to_le_bytes());
    out.extend([kind.byte(), FORMAT_VERSION, 0, 0]);
    body(out);
    let length = (out.len() - start - HEADER_BYTES) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.len() - start
}

/// Appends the record of an event.
pub fn append_event(out: &mut Vec<u8>, seq: Seq, event: &Event) -> usize {
    append_with(out, seq, Kind::Event, |out| committed::encode_into(event, out))
}

/// Appends a record of a position and a hash: the end of a snapshot, or a mark.
pub fn append_hash(out: &mut Vec<u8>, seq: Seq, kind: Kind, hash: Option<StateHash>) -> usize {
    append(out, seq, kind, &hash)
}

/// The length of the whole record that starts with this header.
///
/// # Errors
/// The header claims more than the bound: nothing may be allocated for it.
pub fn length(header: &[u8; HEADER_BYTES]) -> Result<usize, RecordError> {
    let claimed = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
    if claimed > RECORD_BYTES_MAX {
        return Err(RecordError::TooLong { claimed });
    }
    Ok(HEADER_BYTES + claimed)
}

/// The record at the start of `bytes` and its length, or `None` when the bytes end before it does.
///
/// # Errors
/// Whatever makes the bytes no record; see [`RecordError`].
pub fn read(bytes: &[u8]) -> Result<Option<(Record<'_>, usize)>, RecordError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = length(header)?;
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    let seq = Seq(u64::from_le_bytes(header[8..16].try_into().expect("eight bytes")));
    let stored = u32::from_le_bytes(header[4..8].try_into().expect("four bytes"));
    let computed = crc32c::crc32c(&whole[8..]);
    if stored != computed {
        return Err(RecordError::Checksum { seq, stored, computed });
    }
    let (kind, version) = (header[16], header[17]);
    match Kind::from_byte(kind) {
        Some(kind) if version == FORMAT_VERSION => {
            Ok(Some((Record { seq, kind, body: &whole[HEADER_BYTES..] }, length)))
        }
        Some(_) | None => Err(RecordError::Unknown { kind, version }),
    }
}

impl Record<'_> {
    /// The event in the body of a record of kind [`Kind::Event`].
    ///
    /// # Errors
    /// The body doesn't decode.
    pub fn event(&self) -> Result<Event, DecodeError> {
        codec::decode(self.body)
    }

    /// The page in the body of a record of kind [`Kind::Page`].
    ///
    /// # Errors
    /// The body doesn't decode.
    pub fn page(&self) -> Result<PageRecord, DecodeError> {
        codec::decode(self.body)
    }

    /// The hash in the body of a record of kind [`Kind::Mark`] or [`Kind::SnapshotEnd`].
    ///
    /// # Errors
    /// The body doesn't decode.
    pub fn hash(&self) -> Result<Option<StateHash>, DecodeError> {
        codec::decode(self.body)
    }

    /// What machines hold, in the body of a record of kind [`Kind::Loads`].
    ///
    /// # Errors
    /// The body doesn't decode.
    pub fn loads(&self) -> Result<Loads, DecodeError> {
        codec::decode(self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Time};

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        append_event(&mut bytes, Seq(7), &Event::SessionEnded { session: SessionId(3), time: Time(5) });
        bytes
    }

    #[test]
    fn a_record_reads_back_and_says_when_it_is_cut_short() {
        let bytes = sample();
        let (record, length) = read(&bytes).unwrap().unwrap();
        assert_eq!((record.seq, record.kind, length), (Seq(7), Kind::Event, bytes.len()));
        assert_eq!(record.event().unwrap(), Event::SessionEnded { session: SessionId(3), time: Time(5) });
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).unwrap().is_none());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A longer claimed length reads as "cut short", everything else as an error.
            assert!(!matches!(read(&bytes), Ok(Some(_))), "bit {bit}");
        }
    }
}
