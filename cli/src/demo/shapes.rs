//! The machines of a workload as a shapes file, which is how an agent is told what to play.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use bench::cell_c::NAME_PREFIX;
use cell_state::Dimension;
use cell_state::machine::MachineSpec;

use crate::failure::Failure;
use crate::local_cell::LocalCell;

/// Starts one agent process that plays these machines. It names them and deals them to racks by itself; their
/// capacities and platforms are these.
pub(crate) fn start_agent(cell: &mut LocalCell, machines: &[MachineSpec]) -> Result<String, Failure> {
    let path = cell.dir().join("shapes.toml");
    fs::write(&path, text(machines)).map_err(|e| Failure::write(&path, e))?;
    let path = path.display().to_string();
    Ok(cell.start_simulated_agent(NAME_PREFIX, machines.len() as u32, &["--shapes", &path])?)
}

/// One table per shape.
fn text(machines: &[MachineSpec]) -> String {
    let mut shapes: BTreeMap<([u64; 3], &str), u32> = BTreeMap::new();
    for machine in machines {
        let capacity = [Dimension::CPU, Dimension::MEMORY, Dimension::DISK].map(|d| machine.capacity.get(d));
        let platform = machine.attributes.get("platform").map_or("", String::as_str);
        *shapes.entry((capacity, platform)).or_default() += 1;
    }
    let mut text = String::new();
    for (([cpu, memory, disk], platform), count) in shapes {
        let table = format!(
            "[[shapes]]\ncount = {count}\ncpu = \"{cpu}m\"\nmemory = {memory}\ndisk = {disk}\nattributes = {{ platform = {platform:?} }}\n"
        );
        writeln!(text, "{table}").expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_file::{self, Document, Syntax};

    #[test]
    fn the_shapes_are_read_back_as_written() {
        let machines = bench::cell_c::machines(1);
        let document = Document::parse(&text(&machines), Syntax::of("shapes.toml", "")).unwrap();
        let shapes = job_file::shapes(&document).unwrap();
        assert_eq!(shapes.len(), bench::cell_c::SHAPES.len());
        let mut counts: Vec<u32> = shapes.iter().map(|s| s.count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 3, 4, 5, 54, 123, 788, 992, 3_835, 6_672]);
        let cpu: u64 = shapes.iter().map(|s| s.capacity.get(Dimension::CPU) * u64::from(s.count)).sum();
        assert_eq!(cpu, 422_608_000);
    }
}
