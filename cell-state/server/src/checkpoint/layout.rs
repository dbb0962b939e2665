//! The keys and values of a checkpoint database. docs/log-format.md has the tables.
//!
//! A page is stored under its name *and* the seq of the save that wrote it, so a save adds beside what is there, and
//! one small write of the `meta` value decides which of the two states the database holds. A page is cut into pieces
//! small enough that sled never puts several of them into a file of its own.

use cell_state::Seq;
use cell_state::page::{PageKey, StateHash};

use crate::bounds::PIECE_BYTES;
use crate::log::LogId;

/// The key of the meta value; pages have keys of another length.
pub(super) const META_KEY: &[u8] = b"meta";

/// The version of this layout that this build writes and reads.
const LAYOUT_VERSION: u32 = 1;

const META_BYTES: usize = 40;
const SEQ_BYTES: usize = 8;
const VALUE_HEADER_BYTES: usize = 7;
const PAGE: u8 = 1;
const GONE: u8 = 2;

/// Which state a checkpoint holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The log it was made from.
    pub log: LogId,
    /// The position.
    pub seq: Seq,
    /// The hash of the state there.
    pub hash: StateHash,
    /// How many pages it has.
    pub pages: u64,
}

impl Meta {
    /// The meta value.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(META_BYTES);
        bytes.extend(LAYOUT_VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        for field in [self.log.0, self.seq.0, self.hash.0, self.pages] {
            bytes.extend(field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What a meta value says.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Meta, String> {
        let bytes: &[u8; META_BYTES] =
            bytes.try_into().map_err(|_| format!("its meta value has {} bytes", bytes.len()))?;
        let version = u32_at(bytes, 0);
        if version != LAYOUT_VERSION {
            return Err(format!("checkpoint layout {version}; this build reads layout {LAYOUT_VERSION}"));
        }
        if u32_at(bytes, 4) != crc32c::crc32c(&bytes[8..]) {
            return Err("the checksum of its meta value doesn't match".to_owned());
        }
        let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Ok(Meta { log: LogId(field(8)), seq: Seq(field(16)), hash: StateHash(field(24)), pages: field(32) })
    }
}

/// The key of a piece of a page as saved at this seq. Versions of one page are neighbours, oldest first, and so are
/// the pieces of a version.
pub fn key(page: &PageKey, saved_at: Seq, piece: u16) -> Vec<u8> {
    let mut bytes = page.to_bytes();
    bytes.extend(saved_at.0.to_be_bytes());
    bytes.extend(piece.to_be_bytes());
    bytes
}

/// What a key names, or `None` for the meta key and for foreign ones.
pub fn parse_key(bytes: &[u8]) -> Option<(PageKey, Seq, u16)> {
    let (rest, piece) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    let (page, seq) = rest.split_at_checked(rest.len().checked_sub(SEQ_BYTES)?)?;
    let seq = Seq(u64::from_be_bytes(seq.try_into().ok()?));
    Some((PageKey::from_bytes(page)?, seq, u16::from_be_bytes(piece.try_into().ok()?)))
}

/// How many pieces a page of this length has: at least one.
pub(super) fn pieces(length: usize) -> u16 {
    let pieces = length.div_ceil(PIECE_BYTES).max(1);
    u16::try_from(pieces).expect("a page is bounded by RECORD_BYTES_MAX, far below 65,535 pieces")
}

/// The keys and values of a page, or of the word that it is gone.
pub fn entries(
    page: PageKey,
    saved_at: Seq,
    bytes: Option<&[u8]>,
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let body = bytes.unwrap_or_default();
    let count = pieces(body.len());
    (0..count).map(move |piece| {
        let start = usize::from(piece) * PIECE_BYTES;
        let body = &body[start..(start + PIECE_BYTES).min(body.len())];
        let key = key(&page, saved_at, piece);
        let mut value = Vec::with_capacity(VALUE_HEADER_BYTES + body.len());
        value.extend([0; 4]);
        value.push(if bytes.is_some() { PAGE } else { GONE });
        value.extend(count.to_le_bytes());
        value.extend(body);
        let crc = crc(&key, &value);
        value[..4].copy_from_slice(&crc.to_le_bytes());
        (key, value)
    })
}

/// A piece of a page, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// The page is gone.
    pub gone: bool,
    /// How many pieces the page has.
    pub count: u16,
    /// Its bytes.
    pub body: &'a [u8],
}

/// What a value says.
///
/// # Errors
/// It is none of this key, in words.
pub fn parse_value<'a>(key: &[u8], value: &'a [u8]) -> Result<Piece<'a>, String> {
    let header = value.first_chunk::<VALUE_HEADER_BYTES>().ok_or("a value without a header")?;
    if u32_at(header, 0) != crc(key, value) {
        return Err("the checksum doesn't match".to_owned());
    }
    let gone = match header[4] {
        PAGE => false,
        GONE => true,
        other => return Err(format!("a value of kind {other}")),
    };
    let count = u16::from_le_bytes([header[5], header[6]]);
    Ok(Piece { gone, count, body: &value[VALUE_HEADER_BYTES..] })
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &value[4..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_and_every_flipped_bit_is_noticed() {
        let meta = Meta { log: LogId(1), seq: Seq(2), hash: StateHash(3), pages: 4 };
        assert_eq!(Meta::from_bytes(&meta.to_bytes()), Ok(meta));
        for bit in 0..META_BYTES * 8 {
            let mut bytes = meta.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::from_bytes(&bytes).is_err(), "bit {bit}");
        }
        let page = PageKey::Machines(7);
        assert_eq!(parse_key(&key(&page, Seq(9), 3)), Some((page, Seq(9), 3)));
        assert_eq!(parse_key(META_KEY), None);
        for body in [Some(&b"machines"[..]), Some(&[]), None] {
            let all: Vec<_> = entries(page, Seq(9), body).collect();
            let [(key, good)] = &all[..] else { panic!("one piece") };
            let expected = Piece { gone: body.is_none(), count: 1, body: body.unwrap_or_default() };
            assert_eq!(parse_value(key, good), Ok(expected));
            assert!(parse_value(&super::key(&page, Seq(8), 0), good).is_err(), "the value of another key");
            for bit in 0..good.len() * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(parse_value(key, &bytes).is_err(), "bit {bit}");
            }
        }
    }

    /// These bytes never change within a layout version: old checkpoints must stay readable.
    #[test]
    fn the_layout_is_pinned() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let meta = Meta { log: LogId(1), seq: Seq(2), hash: StateHash(3), pages: 4 };
        assert_eq!(
            hex(&meta.to_bytes()),
            "0100000012f7a1f40100000000000000020000000000000003000000000000000400000000000000"
        );
        let page = |bytes| entries(PageKey::Machines(7), Seq(9), bytes).next().unwrap();
        let ((key, value), (_, gone)) = (page(Some(&b"abc"[..])), page(None));
        assert_eq!(hex(&key), "020000000700000000000000000000000000090000");
        assert_eq!(
            (hex(&value), hex(&gone)),
            ("c9e14ddb010100616263".to_owned(), "4c60b8a2020100".to_owned())
        );
    }

    #[test]
    fn large_pages_are_cut_into_pieces() {
        for (length, count) in [(0, 1), (1, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 2), (4 << 20, 64)] {
            let page: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
            let all: Vec<_> = entries(PageKey::Meta, Seq(1), Some(&page)).collect();
            assert_eq!((all.len(), pieces(length)), (count, count as u16));
            let parsed = all.iter().flat_map(|(key, value)| parse_value(key, value).unwrap().body);
            assert!(parsed.eq(&page));
            assert!(all.is_sorted());
        }
    }
}
