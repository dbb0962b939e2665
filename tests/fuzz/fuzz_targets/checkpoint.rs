//! Keys and values of a checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("checkpoint", bytes));
