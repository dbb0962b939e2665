//! Records of the log and of subscriptions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("records", bytes));
