//! The corpus of the fuzz targets through the functions of the fuzz targets: nothing panics, and nothing takes more
//! memory than the bounds allow. The only test of its process, for it counts every byte that is allocated.

use std::path::Path;

use cell_state::bounds::{JOB_NUMBERS_MAX, RECORD_BYTES_MAX};
use cell_tests::fuzz::TARGETS;
use cell_tests::source;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What one decode may claim (`cell_state::codec`), and as much again for what a target does with it.
const PEAK_BYTES_MAX: usize = 16 * RECORD_BYTES_MAX;

/// What a state read from pages may take besides, for the numbers of jobs it says were given out.
const NUMBERS_BYTES_MAX: usize = 8 * JOB_NUMBERS_MAX as usize;

/// Bytes of all inputs together: a corpus is for reading, too.
const CORPUS_BYTES_MAX: usize = 300 << 10;

/// The inputs of a target, each with its name, in order.
fn inputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("the corpus is readable").path();
            let bytes = std::fs::read(&path).expect("the corpus is readable");
            (path.display().to_string(), bytes)
        })
        .collect();
    inputs.sort();
    inputs
}

/// Lengths that claim as much as can be claimed, in every varint form, after each beginning of a sound input.
fn claims(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const LENGTHS: [&[u8]; 4] = [
        &[251, 0xff, 0xff],
        &[252, 0xff, 0xff, 0xff, 0x01],
        &[252, 0xff, 0xff, 0xff, 0xff],
        &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ];
    let cuts = (0..input.len().min(40)).step_by(3);
    cuts.flat_map(move |cut| {
        LENGTHS.iter().map(move |length| [&input[..cut], length, &input[cut..]].concat())
    })
}

#[test]
fn no_input_of_the_corpus_panics_or_takes_more_memory_than_the_bound() {
    let corpus = source::root().join("tests/fuzz/corpus");
    let mut total = 0;
    for target in TARGETS {
        let inputs = inputs(&corpus.join(target.name));
        assert!(inputs.len() >= 3, "{} has a corpus of {}", target.name, inputs.len());
        let bound = PEAK_BYTES_MAX + if target.name == "pages" { NUMBERS_BYTES_MAX } else { 0 };
        let (mut ran, mut most) = (0, 0);
        for (name, input) in &inputs {
            total += input.len();
            let mut run = |what: &str, input: &[u8]| {
                let before = ALLOCATOR.current_usage();
                ALLOCATOR.reset_peak_usage();
                (target.run)(input);
                let taken = ALLOCATOR.peak_usage().saturating_sub(before);
                assert!(taken <= bound, "{} {name}{what} took {taken} bytes", target.name);
                (ran, most) = (ran + 1, most.max(taken));
            };
            run("", input);
            for (n, claim) in claims(input).enumerate() {
                run(&format!(", claim {n}"), &claim);
            }
        }
        println!("{}: {} inputs, {ran} runs, at most {most} bytes", target.name, inputs.len());
    }
    assert!(total <= CORPUS_BYTES_MAX, "the corpus has {total} bytes");
}
