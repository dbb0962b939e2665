//! The one machine, and jobs of a few shapes that compete for it.

use std::collections::BTreeMap;

use cell_state::Resources;
use cell_state::job::data::{Artifact, Data, Unpack};
use cell_state::job::{Exec, GroupSpec, JobKind, JobSpec, PortAsk, Restart, RestartOn, Run};
use cell_state::machine::MachineSpec;

pub(crate) fn machine_spec() -> MachineSpec {
    MachineSpec {
        name: "m".into(),
        capacity: Resources::cpu_memory(4, 100),
        attributes: BTreeMap::new(),
        devices: Vec::new(),
        ports: (20_000, 20_003),
    }
}

/// What some tasks are given, which takes a while to fetch.
fn data() -> Data {
    let artifact = Artifact {
        source: "http://host/app".into(),
        sha256: Some([1; 32]),
        destination: "app".into(),
        mode: 0o644,
        unpack: Unpack::No,
    };
    Data { artifacts: vec![artifact], secrets: Vec::new() }
}

pub(crate) fn job_spec(which: u8, shape: u8) -> JobSpec {
    let (data, run) = match shape % 4 {
        0 => (data(), Run::Exec(Exec::new("true", Vec::new()))),
        _ => (Data::default(), Run::Simulated { run_for_us: None, exit_code: 0 }),
    };
    let group = GroupSpec {
        name: "g".into(),
        count: u32::from(shape % 3) + u32::from(which.is_multiple_of(4)),
        resources: Resources::cpu_memory(u64::from(which % 3) + 1, 1),
        constraints: Vec::new(),
        distinct_machines: false,
        spread: None,
        ports: (0..usize::from(which % 2)).map(|_| PortAsk { name: "http".into(), number: None }).collect(),
        restart: Restart { on: RestartOn::Always, attempts: 1_000, delay_us: 0 },
        data,
        stop_grace_us: u64::from(shape / 3 % 2) * 2_000_000,
        run,
    };
    JobSpec {
        name: format!("job{}", which % 4),
        kind: JobKind::Service,
        priority: u16::from(which % 4) * 100,
        team: "t".into(),
        scheduler: "s".into(),
        groups: vec![group],
    }
}
