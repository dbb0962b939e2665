//! The one encoding of the log and the wire: bincode 2, little-endian varints, bounded, no trailing bytes.
//!
//! Everything that is encoded goes through these functions, so the library behind them can be replaced (its project
//! is archived) as long as the golden files stay equal. Never decode collections of zero-sized types: the limit
//! counts bytes, and they have none.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bounds::RECORD_BYTES_MAX;

/// Bytes a single decode may claim: a few times the largest record, for a value may be larger in memory than encoded.
const CLAIM_BYTES_MAX: usize = 8 * RECORD_BYTES_MAX;

/// Bytes that aren't what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no encoding of the type, or claim more than the bound.
    #[error("not a valid {what}: {source}")]
    Malformed {
        /// The type that was expected.
        what: &'static str,
        /// The decoder's complaint.
        source: bincode::error::DecodeError,
    },
    /// A valid encoding, followed by bytes that don't belong to it.
    #[error("{left} bytes left over after a {what}")]
    TrailingBytes {
        /// The type that was decoded.
        what: &'static str,
        /// How many bytes follow it.
        left: usize,
    },
}

/// Appends the encoding of a value.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
        .expect("our own types encode into memory without error");
}

/// The encoding of a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// Decodes a value that is all of `bytes`.
///
/// # Errors
/// Malformed or over-long input, and trailing bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let what = short_name::<T>();
    let config = bincode::config::standard().with_limit::<CLAIM_BYTES_MAX>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|source| DecodeError::Malformed { what, source })?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::TrailingBytes { what, left }),
    }
}

fn short_name<T>() -> &'static str {
    std::any::type_name::<T>().rsplit("::").next().unwrap_or("value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lengths_are_errors_before_any_allocation() {
        let mut claim = vec![253];
        claim.extend((1u64 << 60).to_le_bytes());
        assert!(matches!(decode::<Vec<u64>>(&claim), Err(DecodeError::Malformed { .. })));
        assert!(matches!(decode::<String>(&claim), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(DecodeError::TrailingBytes { left: 1, .. })));
    }
}
