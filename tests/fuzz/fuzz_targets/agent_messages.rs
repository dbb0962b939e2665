//! Messages between server and agent, reports and names of parties.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cell_tests::fuzz::run("agent_messages", bytes));
