//! A script of commands and transactions, and its history.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("history", bytes));
