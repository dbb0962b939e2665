//! A copy built from records: snapshots, entries, marks, and streams that make no sense.

use cell_state::event::Event;
use cell_state::page::StateHash;
use cell_state::record::{self, Kind, PageRecord};
use cell_state::{Cell, Resources, Seq};
use schedulers::copy::{Copy, CopyError, Step};
use schedulers::sandbox::{Sandbox, simulated_job};

fn server() -> Sandbox {
    let mut sandbox = Sandbox::new(1);
    for i in 0..300 {
        sandbox.machine(&format!("m{i}"), Resources::cpu_memory(100, 100));
    }
    let job = sandbox.job(simulated_job("j", "s", 50, Resources::cpu_memory(10, 10)));
    sandbox.place(schedulers::built_in("service").expect("a built-in policy").as_mut(), job);
    sandbox
}

/// The snapshot as the server streams it.
fn snapshot(cell: &mut Cell) -> Vec<u8> {
    let (seq, hash) = (cell.seq(), cell.hash());
    let mut bytes = Vec::new();
    record::append_hash(&mut bytes, seq, Kind::SnapshotStart, None);
    for key in cell.page_keys() {
        let page = cell.encode_page(&key).expect("a page of the state");
        record::append(&mut bytes, seq, Kind::Page, &PageRecord { key, bytes: page });
    }
    record::append_hash(&mut bytes, seq, Kind::SnapshotEnd, Some(hash));
    bytes
}

/// Feeds bytes to a copy, applying entries as a scheduler would.
fn feed(copy: &mut Copy, mut bytes: &[u8]) -> Result<Vec<&'static str>, CopyError> {
    let mut steps = Vec::new();
    while let Some(step) = copy.take(&mut bytes)? {
        steps.push(match step {
            Step::Restored => "restored",
            Step::Event(seq, event) => {
                copy.cell_mut().expect("there is a copy").apply(seq, &event);
                "event"
            }
            Step::Checked(..) => "checked",
            Step::Loads(..) => panic!("only a scoped copy gets loads"),
            Step::Nothing => "nothing",
        });
    }
    assert!(bytes.is_empty(), "whole records were fed");
    Ok(steps)
}

fn event(seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::append_event(&mut bytes, Seq(seq), &Event::JobsForgotten { jobs: Vec::new() });
    bytes
}

fn mark(seq: Seq, hash: StateHash) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::append_hash(&mut bytes, seq, Kind::Mark, Some(hash));
    bytes
}

#[test]
fn a_snapshot_then_entries_then_a_mark() {
    let mut server = server();
    let (mut copy, at) = (Copy::new(), server.cell().seq());
    assert_eq!(copy.seq(), None);
    let steps = feed(&mut copy, &snapshot(server.cell_mut())).unwrap();
    assert_eq!((steps.last(), copy.seq()), (Some(&"restored"), Some(at)));
    server.apply(&Event::JobsForgotten { jobs: Vec::new() });
    assert_eq!(feed(&mut copy, &event(at.0 + 1)).unwrap(), ["event"]);
    let hash = server.cell_mut().hash();
    assert_eq!(feed(&mut copy, &mark(at.next(), hash)).unwrap(), ["checked"]);
    // A resumed subscription may repeat what the copy has.
    assert_eq!(feed(&mut copy, &event(at.0)).unwrap(), ["nothing"]);
    assert_eq!(copy.cell_mut().unwrap().hash(), hash);
}

#[test]
fn a_copy_that_differs_is_dropped() {
    let mut server = server();
    let mut copy = Copy::new();
    feed(&mut copy, &snapshot(server.cell_mut())).unwrap();
    let seq = copy.seq().unwrap();
    let wrong = feed(&mut copy, &mark(seq, StateHash(1)));
    assert!(matches!(wrong, Err(CopyError::Mismatch { server: StateHash(1), .. })));
    assert_eq!(copy.seq(), None, "the next subscription asks for a snapshot");
}

#[test]
fn what_does_not_follow_is_an_error_and_the_copy_stays() {
    let mut server = server();
    let mut copy = Copy::new();
    assert!(matches!(feed(&mut copy, &event(1)), Err(CopyError::Gap { at: None, .. })));
    feed(&mut copy, &snapshot(server.cell_mut())).unwrap();
    let at = copy.seq().unwrap();
    for bytes in [event(at.0 + 2), mark(at.next(), StateHash(0))] {
        assert!(matches!(feed(&mut copy, &bytes), Err(CopyError::Gap { .. })));
        assert_eq!(copy.seq(), Some(at));
    }
    let mut torn = event(at.0 + 1);
    let last = torn.len() - 1;
    torn[last] ^= 1;
    assert!(matches!(feed(&mut copy, &torn), Err(CopyError::Record(_))));
    assert_eq!(copy.seq(), Some(at));
}

#[test]
fn a_snapshot_in_mid_stream_replaces_the_copy_and_half_a_one_is_given_up() {
    let mut server = server();
    let mut copy = Copy::new();
    feed(&mut copy, &snapshot(server.cell_mut())).unwrap();
    server.machine("late", Resources::cpu_memory(1, 1));
    let whole = snapshot(server.cell_mut());
    let steps = feed(&mut copy, &whole).unwrap();
    assert_eq!(steps.iter().filter(|s| **s == "restored").count(), 1);
    assert!(copy.cell().unwrap().machine_named("late").is_some());
    // The stream breaks after the first record of a snapshot: there is no copy until a whole one came.
    let first = record::read(&whole).unwrap().unwrap().1;
    feed(&mut copy, &whole[..first]).unwrap();
    assert_eq!(copy.seq(), None);
    copy.resubscribed();
    assert!(matches!(feed(&mut copy, &whole[first..]), Err(CopyError::Gap { .. })));
    feed(&mut copy, &whole).unwrap();
    assert_eq!(copy.seq(), Some(server.cell().seq()));
}
