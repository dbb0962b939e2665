//! Bytes and entries that nobody of ours wrote: decoding is an error and nothing worse, and applying is total.

use cell_state::audit::audit;
use cell_state::event::Event;
use cell_state::page::{PageKey, Restore};
use cell_state::transaction::Transaction;
use cell_state::{Cell, JobId, MachineId, Seq, SessionId, codec, record};
use proptest::prelude::*;

use crate::golden;
use crate::histories::step;
use crate::same::Both;

/// Every golden sample as one string of bytes.
fn samples(path: &str) -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for line in golden::read(path).lines() {
        match line.strip_prefix("    ") {
            None => samples.push(Vec::new()),
            Some(hex) => {
                let bytes =
                    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
                samples.last_mut().unwrap().extend(bytes);
            }
        }
    }
    samples
}

/// Decodes as everything there is; all that matters is that it comes back.
fn decode(bytes: &[u8]) {
    drop(codec::decode::<Event>(bytes));
    drop(codec::decode::<Transaction>(bytes));
    let _ = record::read(bytes);
    let keys = [
        PageKey::Meta,
        PageKey::Specs(0),
        PageKey::Machines(0),
        PageKey::Jobs(0),
        PageKey::Tasks(0),
        PageKey::Group(JobId(0), 0, 0),
        PageKey::Session(SessionId(0)),
        PageKey::Assigned(MachineId(0)),
    ];
    for key in keys {
        let mut restore = Restore::new(Seq(1));
        if restore.add(key, bytes).is_ok() {
            drop(restore.finish());
        }
    }
    PageKey::from_bytes(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_decode_to_an_error_or_a_value(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes);
    }

    #[test]
    fn sound_bytes_with_one_change_decode_to_an_error_or_a_value(
        sample in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut all = samples("tests/golden/events.txt");
        all.extend(samples("tests/golden/transactions.txt"));
        let bytes = all[sample.index(all.len())].clone();
        // Records are headed by a checksum; what follows it is an event.
        for mut body in [bytes.clone(), bytes[record::HEADER_BYTES..].to_vec()] {
            let at = at.index(body.len());
            body[at] = byte;
            decode(&body);
        }
    }

    #[test]
    fn entries_of_another_cell_are_applied_without_a_panic_and_alike_everywhere(
        ours in prop::collection::vec(step(), 1..40),
        theirs in prop::collection::vec(step(), 1..40),
    ) {
        let (mut own, mut other) = (Both::new(), Both::new());
        ours.iter().for_each(|step| own.step(step));
        theirs.iter().for_each(|step| other.step(step));
        let (mut once, mut twice) = (own.cell.clone(), own.cell.clone());
        for event in &other.log {
            once.apply(once.seq().next(), event);
            twice.apply(twice.seq().next(), event);
        }
        prop_assert_eq!(once.hash(), twice.hash());
        // Whatever it is now, looking at it does no harm.
        audit(&once);
        let pages: Vec<_> = once.page_keys().into_iter().map(|key| (key, once.encode_page(&key))).collect();
        let mut restore = Restore::new(once.seq());
        for (key, bytes) in pages {
            restore.add(key, &bytes.expect("a page of the state")).expect("a page we wrote");
        }
        let restored: Cell = restore.finish().expect("pages we wrote");
        prop_assert_eq!(restored.seq(), once.seq());
    }
}
