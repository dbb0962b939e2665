//! Snapshots, the state hash and replay: a state put together again, by whatever way, is the same state.

use std::collections::BTreeMap;

use cell_state::Cell;
use cell_state::page::{PageKey, Restore};

use crate::same::Both;

/// The pages of a state.
fn pages(cell: &Cell) -> BTreeMap<PageKey, Vec<u8>> {
    let keys = cell.page_keys().into_iter();
    keys.map(|key| (key, cell.encode_page(&key).expect("a page of the state"))).collect()
}

/// A copy of the state, by way of its pages.
pub(crate) fn copy(cell: &Cell) -> Cell {
    let mut restore = Restore::new(cell.seq());
    // Any order will do: this one is the reverse.
    for (key, bytes) in pages(cell).into_iter().rev() {
        assert_eq!(PageKey::from_bytes(&key.to_bytes()), Some(key));
        restore.add(key, &bytes).expect("a page we wrote");
    }
    restore.finish().expect("all pages of a state")
}

/// Pages, and back: the same pages, the same hash.
pub(crate) fn round_trip(cell: &mut Cell) {
    let mut copied = copy(cell);
    assert_eq!(pages(&copied), pages(cell));
    assert_eq!(copied.hash(), cell.hash());
    let (audited, original) = (cell_state::audit::audit(&copied), cell_state::audit::audit(cell));
    assert_eq!(audited, original);
}

/// The log alone, and the pages kept up to date with `take_changed` alone, give the same state and hash.
pub(crate) fn replay_is_equal(both: &mut Both) {
    let mut replayed = Cell::new();
    let mut kept: BTreeMap<PageKey, Vec<u8>> = BTreeMap::new();
    for (i, event) in both.log.iter().enumerate() {
        replayed.apply(replayed.seq().next(), event);
        // Hashing in between, or not, makes no difference.
        if i % 3 == 0 {
            replayed.hash();
        }
        if i % 5 == 0 || i + 1 == both.log.len() {
            for key in replayed.take_changed() {
                match replayed.encode_page(&key) {
                    Some(bytes) => drop(kept.insert(key, bytes)),
                    None => drop(kept.remove(&key)),
                }
            }
        }
    }
    assert_eq!(replayed.hash(), both.cell.hash());
    assert_eq!(kept, pages(&both.cell));
}

#[test]
fn the_bytes_of_page_keys_sort_like_the_keys() {
    let mut cell = Cell::new();
    let mut both = Both::new();
    std::mem::swap(&mut cell, &mut both.cell);
    let keys = cell.page_keys();
    let bytes: Vec<Vec<u8>> = keys.iter().map(PageKey::to_bytes).collect();
    assert!(keys.is_sorted() && bytes.is_sorted());
}

#[test]
fn a_missing_or_cut_page_is_an_error() {
    let both = Both::new();
    let all = pages(&both.cell);
    for missing in all.keys().filter(|k| !matches!(k, PageKey::Session(_))) {
        let mut restore = Restore::new(both.cell.seq());
        for (key, bytes) in all.iter().filter(|(k, _)| *k != missing) {
            restore.add(*key, bytes).expect("a page we wrote");
        }
        assert!(restore.finish().is_err(), "nobody misses {missing:?}");
    }
    for (key, bytes) in &all {
        let cut = &bytes[..bytes.len() - 1];
        assert!(Restore::new(both.cell.seq()).add(*key, cut).is_err(), "{key:?} may be cut short");
    }
}
