//! Events of another cell, applied.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("events", bytes));
