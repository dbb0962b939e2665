//! A subscription stream cut into whole records, wherever the network split it.

use bytes::{Bytes, BytesMut};
use cell_state::record::{self, HEADER_BYTES, RecordError};

/// Bytes as they arrive on a subscription stream. It never holds more than what has arrived: memory follows the bytes
/// received, not the lengths claimed.
#[derive(Default, Debug)]
pub struct RecordBuffer {
    bytes: BytesMut,
    /// How many bytes at the front are whole records.
    whole: usize,
}

impl RecordBuffer {
    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// All records that are whole, one after another; `None` when more bytes are needed. Checksums aren't checked here:
    /// whoever reads the records does, and TLS has.
    ///
    /// # Errors
    /// A record claims more than the bound: nothing that follows can be trusted to start at a record.
    pub fn take(&mut self) -> Result<Option<Bytes>, RecordError> {
        while let Some(header) = self.bytes[self.whole..].first_chunk::<HEADER_BYTES>() {
            match record::length(header) {
                Ok(length) if length <= self.bytes.len() - self.whole => self.whole += length,
                Ok(_) => break,
                // What came before it is good and is handed out first.
                Err(_) if self.whole > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if self.whole == 0 {
            return Ok(None);
        }
        let records = self.bytes.split_to(self.whole).freeze();
        self.whole = 0;
        Ok(Some(records))
    }

    /// Bytes that have arrived of a record that isn't whole yet.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cell_state::Seq;
    use cell_state::bounds::RECORD_BYTES_MAX;
    use cell_state::record::Kind;

    #[test]
    fn records_come_out_whole_wherever_the_bytes_were_split() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for n in 0..20 {
            record::append(&mut bytes, Seq(n), Kind::Mark, &vec![7u8; n as usize * 3]);
            ends.push(bytes.len());
        }
        for step in 1..bytes.len() {
            let (mut buffer, mut seen) = (RecordBuffer::default(), Vec::new());
            for piece in bytes.chunks(step) {
                buffer.push(piece);
                while let Some(records) = buffer.take().unwrap() {
                    seen.extend_from_slice(&records);
                    assert!(ends.contains(&seen.len()), "pieces of {step} bytes");
                }
            }
            assert!(seen == bytes && buffer.pending() == 0, "pieces of {step} bytes");
        }
    }

    #[test]
    fn an_oversized_claim_is_refused_at_the_header() {
        let mut buffer = RecordBuffer::default();
        buffer.push(&(RECORD_BYTES_MAX as u32 + 1).to_le_bytes());
        assert!(buffer.take().unwrap().is_none());
        buffer.push(&[0; HEADER_BYTES]);
        assert!(matches!(buffer.take(), Err(RecordError::TooLong { .. })));
    }
}
