//! How fast bytes are made and read: transactions as they arrive, events as they are logged and followed, pages as
//! they are hashed, saved and restored.
//!
//! Rates are in ops, or in bytes where a line says so.

use cell_state::commit::Judge;
use cell_state::event::Event;
use cell_state::page::{PageKey, Restore};
use cell_state::transaction::Transaction;
use cell_state::{Cell, JobId, codec, record};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use crate::stage::{OPS, apply, commit, events, transactions};

const TXNS: u32 = 2_000;

fn placed(machines: u32, txns: u32) -> (Cell, Vec<Event>) {
    let mut cell = crate::stage::cell(machines, txns * OPS);
    let all = transactions(&cell, 0..txns);
    let events = events(&mut cell, &all);
    (cell, events)
}

fn ops<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(TXNS * OPS))
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn decode_transactions(bencher: Bencher<'_, '_>) {
    let cell = crate::stage::cell(10_000, TXNS * OPS);
    let encoded: Vec<Vec<u8>> = transactions(&cell, 0..TXNS).iter().map(codec::encode).collect();
    let decode = |bytes: &Vec<u8>| codec::decode::<Transaction>(bytes).is_ok();
    ops(bencher).bench_local(|| encoded.iter().filter(|bytes| decode(bytes)).count());
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn encode_events(bencher: Bencher<'_, '_>) {
    let (cell, events) = placed(10_000, TXNS);
    ops(bencher).bench_local(|| {
        let mut bytes = Vec::new();
        events.iter().map(|event| record::append_event(&mut bytes, cell.seq(), event)).sum::<usize>()
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn decode_events(bencher: Bencher<'_, '_>) {
    let (cell, events) = placed(10_000, TXNS);
    let mut bytes = Vec::new();
    for event in &events {
        record::append_event(&mut bytes, cell.seq(), event);
    }
    ops(bencher).bench_local(|| {
        let (mut rest, mut read) = (&bytes[..], 0);
        while let Ok(Some((record, length))) = record::read(rest) {
            read += usize::from(record.event().is_ok());
            rest = &rest[length..];
        }
        read
    });
}

/// Bytes per second; a page of 512 tasks and one of 64 machines.
#[divan::bench(args = [PageKey::Group(JobId(0), 0, 0), PageKey::Machines(0)], sample_count = 50, sample_size = 20)]
fn encode_page(bencher: Bencher<'_, '_>, key: PageKey) {
    let (cell, _) = placed(10_000, TXNS);
    let bytes = cell.encode_page(&key).map_or(0, |page| page.len());
    bencher.counter(BytesCount::new(bytes)).bench_local(|| cell.encode_page(&key));
}

/// The hash after so many transactions, which is what a mark costs.
#[divan::bench(args = [100, 2_000], sample_count = 5, sample_size = 1)]
fn hash_at_mark(bencher: Bencher<'_, '_>, txns: u32) {
    let mut cell = crate::stage::cell(10_000, 2 * TXNS * OPS);
    let all = transactions(&cell, 0..2 * TXNS);
    commit(&mut cell, &mut Judge::new(), &all[..TXNS as usize]);
    cell.hash();
    let later = &all[TXNS as usize..][..txns as usize];
    for event in events(&mut cell.clone(), later) {
        apply(&mut cell, &event);
    }
    bencher
        .counter(ItemsCount::new(txns * OPS))
        .with_inputs(|| cell.clone())
        .bench_local_refs(|cell| cell.hash());
}

/// Tasks per second.
#[divan::bench(args = [100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn restore(bencher: Bencher<'_, '_>, tasks: u32) {
    let (cell, _) = placed(10_000, tasks / OPS);
    let encoded = |key: PageKey| cell.encode_page(&key).map(|bytes| (key, bytes));
    let pages: Vec<(PageKey, Vec<u8>)> = cell.page_keys().into_iter().filter_map(encoded).collect();
    bencher.counter(ItemsCount::new(tasks)).bench_local(|| {
        let mut restore = Restore::new(cell.seq());
        for (key, bytes) in &pages {
            restore.add(*key, bytes).expect("a page of this build");
        }
        restore.finish().expect("all pages")
    });
}
