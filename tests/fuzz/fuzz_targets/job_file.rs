//! Job files, in both syntaxes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("job_file", bytes));
