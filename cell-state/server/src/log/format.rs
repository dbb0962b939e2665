//! The bytes of a segment file: a header block, then groups, then zeros. docs/log-format.md has the tables.
//!
//! A group header says how far its group reaches and is checksummed together with the id of the log, so bytes inside
//! a record can't pass for one.

use cell_state::Seq;
use cell_state::bounds::NAME_BYTES_MAX;

/// Bytes of the header block: one page, never written again once the file has its name, so no torn write of a record
/// can reach it.
pub const HEADER_BLOCK_BYTES: usize = 4096;

/// Bytes of a group header.
pub const GROUP_HEADER_BYTES: usize = 32;

/// The version of this layout that this build writes and reads.
pub const LAYOUT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"OHMLOG\r\n";

/// The first bytes of every group header.
pub const GROUP_MAGIC: [u8; 4] = [0x89, b'G', b'r', b'p'];

/// Which log it is: drawn at random when the log is made. A file or a checkpoint of another log is noticed by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogId(pub u64);

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What the header block says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogHeader {
    /// The log the file belongs to.
    pub id: LogId,
    /// The name of the cell.
    pub cell: String,
    /// The seq of the file's first record.
    pub first: Seq,
}

impl LogHeader {
    /// The header block.
    pub fn to_block(&self) -> [u8; HEADER_BLOCK_BYTES] {
        let name = &self.cell.as_bytes()[..self.cell.len().min(NAME_BYTES_MAX)];
        let mut block = [0; HEADER_BLOCK_BYTES];
        block[..8].copy_from_slice(&MAGIC);
        block[12..16].copy_from_slice(&LAYOUT_VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.id.0.to_le_bytes());
        block[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        block[32..34].copy_from_slice(&(name.len() as u16).to_le_bytes());
        block[34..34 + name.len()].copy_from_slice(name);
        let crc = crc32c::crc32c(&block[12..]);
        block[8..12].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// The header that this block holds.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_block(block: &[u8; HEADER_BLOCK_BYTES]) -> Result<LogHeader, String> {
        if block[..8] != MAGIC {
            return Err("no segment file: wrong magic bytes".to_owned());
        }
        if crc32c::crc32c(&block[12..]) != u32_at(block, 8) {
            return Err("the header block's checksum doesn't match".to_owned());
        }
        let version = u32_at(block, 12);
        if version != LAYOUT_VERSION {
            return Err(format!("segment layout {version}; this build reads layout {LAYOUT_VERSION}"));
        }
        let length = usize::from(u16::from_le_bytes([block[32], block[33]]));
        let name = block.get(34..34 + length).ok_or("the cell's name is too long")?;
        let cell = String::from_utf8(name.to_vec()).map_err(|_| "the cell's name is not UTF-8")?;
        Ok(LogHeader { id: LogId(u64_at(block, 16)), cell, first: Seq(u64_at(block, 24)) })
    }
}

/// What precedes the records that were made durable together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupHeader {
    /// The seq of its first record.
    pub first: Seq,
    /// The seq of its last record; of a mark, the one before `first`.
    pub last: Seq,
    /// Bytes of its records; 0 is a mark: everything before it was durable when it was written.
    pub length: u32,
}

impl GroupHeader {
    /// The mark that goes after `last`.
    pub fn mark(last: Seq) -> GroupHeader {
        GroupHeader { first: last.next(), last, length: 0 }
    }

    /// Its bytes in this log.
    pub fn to_bytes(self, id: LogId) -> [u8; GROUP_HEADER_BYTES] {
        let mut bytes = [0; GROUP_HEADER_BYTES];
        bytes[..4].copy_from_slice(&GROUP_MAGIC);
        bytes[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        let crc = group_crc(&bytes, id);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The group header in these bytes, or `None` when they are none of this log.
    pub fn from_bytes(bytes: &[u8; GROUP_HEADER_BYTES], id: LogId) -> Option<GroupHeader> {
        if bytes[..4] != GROUP_MAGIC || u32_at(bytes, 4) != group_crc(bytes, id) {
            return None;
        }
        let header = GroupHeader {
            first: Seq(u64_at(bytes, 8)),
            last: Seq(u64_at(bytes, 16)),
            length: u32_at(bytes, 24),
        };
        let is_mark = header.length == 0 && header.first == header.last.next();
        (is_mark || (header.length > 0 && header.first <= header.last)).then_some(header)
    }
}

/// The name of the segment file that starts at this seq.
pub fn file_name(first: Seq) -> String {
    format!("{:020}.log", first.0)
}

/// The first seq that a segment file's name says, or `None` for another file.
pub fn first_of(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Seq)).flatten()
}

fn group_crc(bytes: &[u8; GROUP_HEADER_BYTES], id: LogId) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&id.0.to_le_bytes()), &bytes[8..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_every_flipped_bit_is_noticed() {
        let header = LogHeader { id: LogId(7), cell: "dev".to_owned(), first: Seq(42) };
        let block = header.to_block();
        assert_eq!(LogHeader::from_block(&block), Ok(header));
        for bit in 0..64 * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(LogHeader::from_block(&bad).is_err(), "bit {bit}");
        }
        let group = GroupHeader { first: Seq(3), last: Seq(9), length: 100 };
        let bytes = group.to_bytes(LogId(7));
        assert_eq!(GroupHeader::from_bytes(&bytes, LogId(7)), Some(group));
        assert_eq!(GroupHeader::from_bytes(&bytes, LogId(8)), None, "a group of another log");
        for bit in 0..GROUP_HEADER_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::from_bytes(&bad, LogId(7)), None, "bit {bit}");
        }
    }

    /// These bytes never change within a layout version: old files must stay readable.
    #[test]
    fn the_layout_is_pinned() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let header = LogHeader { id: LogId(0x0123_4567_89ab_cdef), cell: "dev".to_owned(), first: Seq(42) };
        let block = header.to_block();
        assert_eq!(
            hex(&block[..40]),
            "4f484d4c4f470d0ab42d52f201000000efcdab89674523012a000000000000000300646576000000"
        );
        assert!(block[40..].iter().all(|byte| *byte == 0));
        let group = GroupHeader { first: Seq(42), last: Seq(44), length: 300 }.to_bytes(header.id);
        assert_eq!(hex(&group), "89477270b947b0632a000000000000002c000000000000002c01000000000000");
        assert_eq!(
            hex(&GroupHeader::mark(Seq(44)).to_bytes(header.id)),
            "89477270e65e4e4c2d000000000000002c000000000000000000000000000000"
        );
    }

    #[test]
    fn file_names_sort_like_seqs() {
        assert!(file_name(Seq(9)) < file_name(Seq(10)));
        assert_eq!(first_of(&file_name(Seq(u64::MAX))), Some(Seq(u64::MAX)));
        for odd in ["spare", "1.log", "0000000000000000000x.log", "00000000000000000001.log.bak"] {
            assert_eq!(first_of(odd), None, "{odd}");
        }
    }
}
