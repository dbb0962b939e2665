//! Pages of a snapshot or checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("pages", bytes));
