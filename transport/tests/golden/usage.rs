//! Usage as agents report it and as people read it, and where services are.

use cell_state::endpoint::Endpoint;
use cell_state::machine::MachineState;
use cell_state::{MachineId, Seq, Time};
use transport::Request;
use transport::usage::{MachineUsage, MachineUsageRow, TaskUsage, TaskUsageRow, Usage, UsageView};
use transport::view::ServiceRow;

use crate::requests::{amounts, task};

fn usage() -> Usage {
    Usage {
        cpu_us: 1 << 40,
        cpu_milli: 1_500,
        memory_bytes: 1 << 30,
        memory_peak_bytes: 2 << 30,
        read_bytes: 5,
        written_bytes: 70_000,
        processes: 3,
    }
}

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let tasks = vec![TaskUsage { task: task(4, 2), epoch: 3, usage: usage() }];
    vec![
        ("Usage", Request::Usage(MachineUsage { machine: MachineId(300), first: true, tasks })),
        ("ReadUsage.all", Request::ReadUsage { machine: None, limit: 100 }),
        ("ReadUsage.machine", Request::ReadUsage { machine: Some("m1".into()), limit: 0 }),
    ]
}

pub(crate) fn view() -> UsageView {
    UsageView {
        at: Seq(1_000),
        time: Time(1_700_000_000_000_000),
        machines: vec![MachineUsageRow {
            name: "m1".into(),
            state: MachineState::Ready,
            tasks: 7,
            sampled: 6,
            limit: amounts(),
            promised: amounts(),
            usage: usage(),
            age_us: Some(2_000_000),
        }],
        tasks: vec![TaskUsageRow {
            task: task(4, 2),
            epoch: 3,
            job: "site".into(),
            group: "main".into(),
            machine: "m1".into(),
            priority: 200,
            promised: amounts(),
            usage: usage(),
            age_us: 1_000,
        }],
        tasks_total: 6,
    }
}

pub(crate) fn service_row() -> ServiceRow {
    ServiceRow { port: "http".into(), group: "main".into(), job: "site".into(), running: 7 }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint {
        task: task(4, 2),
        job: "site".into(),
        group: "main".into(),
        port: Some(("http".into(), 20_007)),
        machine: "m1".into(),
        address: Some("10.0.0.7".into()),
    }
}
