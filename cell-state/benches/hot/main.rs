//! How fast the state is and what it weighs.
//!
//! `cargo bench -p cell-state` measures every hot function, `cargo bench -p cell-state -- memory` prints what a cell
//! weighs. Filters are those of divan: `cargo bench -p cell-state -- judge`.

mod bytes;
mod commit;
mod memory;
mod stage;

fn main() {
    if std::env::args().any(|argument| argument == "memory") {
        memory::print();
    } else {
        divan::main();
    }
}
