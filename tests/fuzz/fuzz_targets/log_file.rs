//! A log file that is opened, read and appended to.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("log_file", bytes));
