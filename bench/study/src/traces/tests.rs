//! Tests of the readers on small inputs; `tests/traces.rs` reads real ones.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bench::fleet::{Shape, machines};
use cell_state::event::Event;
use cell_state::ids::{MachineId, Seq, Time};
use cell_state::{Resources, record};

use super::*;

fn put(dir: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn given() -> Given {
    let shape = Shape { count: 3, capacity: Resources::cpu_memory(64_000, 256 << 30) };
    Given { machines: machines(&[shape], 1), seed: 1 }
}

const SWF: &str = "; Version: 2.2\n; MaxNodes: 3\n; MaxProcs: 10\n\n\
    1 0 5 60 4 -1 100 4 90 200 1 3 1 -1 2 -1 -1 -1\n\
    2 10 -1 -1 -1 -1 -1 8 90 -1 5 3 1 -1 2 -1 -1 -1\n\
    3 20 0 30 2 29.5 100 -1 -1 -1 0 3 1 -1 -1 -1 -1 -1\n\
    3 20 0 30 2 -1 100 2 -1 -1 2 3 1 -1 -1 -1 -1 -1\n";

#[test]
fn a_parallel_workload_is_read_with_the_machines_of_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let traced = Format::Swf.read(&[put(&dir, "a.swf", SWF)], &Given::default()).unwrap();
    let cores: Vec<u64> = traced.scenario.machines.iter().map(|m| m.capacity.0[0]).collect();
    assert_eq!(
        (cores, traced.scenario.machines[0].capacity.0[1]),
        (vec![4_000, 3_000, 3_000], (4 * 200) << 10)
    );
    let notes = [
        "3 machines with 10 cores, as the header says",
        "1 jobs that never ran were left out",
        "1 parts of jobs were left out",
    ];
    assert_eq!(traced.notes, notes);
    let jobs: Vec<_> =
        traced.scenario.jobs.iter().map(|j| (j.submit_us, j.class.as_str(), j.gang, &j.tasks[0])).collect();
    assert_eq!((jobs.len(), jobs[0].0, jobs[0].1, jobs[0].2), (2, Some(0), "queue-2", true));
    let (first, third) = (jobs[0].3, jobs[1].3);
    assert_eq!(
        (first.count, first.ask, first.run_for_us, first.exit_code),
        (4, Resources::cpu_memory(1_000, 200 << 10), Some(60_000_000), 0)
    );
    assert_eq!((third.count, third.ask.0[1], third.exit_code, jobs[1].1), (2, 100 << 10, 1, "batch"));
    for (line, problem) in [
        ("1 2 3", "line 9: 3 fields, expected 18"),
        (&"x ".repeat(18), "line 9, column 1 (job number): \"x\" is not a number"),
    ] {
        let path = put(&dir, "b.swf", format!("{SWF}{line}\n"));
        let error = Format::Swf.read(&[path], &Given::default()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

const AZURE: &str = "split,t,batch,flavor,vcpu,mem_gb,censored,durbin,dur_lo,dur_hi\n\
    dev,600,0,m,8.0,14.0,U,13,3900,7200\ndev,600,1,a,1.0,0.75,U,1,300,300\ndev,600,1,a,1.0,0.75,U,1,300,300\n\
    dev,900,1,g,2.0,3.5,C,3,900,900\n";

#[test]
fn virtual_machines_asked_for_at_once_are_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(&dir, "vms.csv", AZURE);
    let error = Format::Azure.read(std::slice::from_ref(&path), &Given::default()).unwrap_err().to_string();
    assert!(error.contains("names no machines; give them with --machine"), "{error}");
    let traced = Format::Azure.read(&[path], &given()).unwrap();
    let jobs: Vec<_> = traced
        .scenario
        .jobs
        .iter()
        .map(|j| {
            (j.name.as_str(), j.submit_us, j.gang, j.tasks.len(), j.tasks[0].count, j.tasks[0].run_for_us)
        })
        .collect();
    assert_eq!(
        jobs,
        [
            ("vm-dev-600-0", Some(0), false, 1, 1, Some(5_550_000_000)),
            ("vm-dev-600-1", Some(0), true, 1, 2, Some(300_000_000)),
            ("vm-dev-900-1", Some(300_000_000), false, 1, 1, None),
        ]
    );
    assert_eq!(traced.scenario.machines.len(), 3);
    let path = put(&dir, "bad.csv", AZURE.replace(",C,", ",D,"));
    let error = Format::Azure.read(&[path], &given()).unwrap_err().to_string();
    assert!(error.contains("line 5, column 7 (censored): \"D\" is neither U"), "{error}");
}

#[test]
fn streams_have_a_class_per_file() {
    let dir = tempfile::tempdir().unwrap();
    let head = "id,submit_s,tasks,duration_s,cpus_per_task,mem_gb_per_task\n";
    let paths = [("batch.csv", "1,0.5,10,20.25,0.5,1.5\n"), ("service.csv", "1,0.25,1,100,2,4\n")]
        .map(|(name, rows)| put(&dir, name, format!("{head}{rows}")));
    let traced = Format::Stream.read(&paths, &given()).unwrap();
    let jobs: Vec<_> =
        traced.scenario.jobs.iter().map(|j| (j.name.as_str(), j.submit_us, j.priority)).collect();
    assert_eq!(jobs, [("service-1", Some(250_000), 250), ("batch-1", Some(500_000), 150)]);
    let tasks = &traced.scenario.jobs[1].tasks[0];
    assert_eq!((tasks.ask, tasks.run_for_us), (Resources::cpu_memory(500, 3 << 29), Some(20_250_000)));
}

#[test]
fn models_are_read_and_their_mistakes_told_by_line_or_field() {
    let dir = tempfile::tempdir().unwrap();
    let model = include_str!("../../tests/model.toml");
    let read =
        |text: &str| Format::Model.read(&[put(&dir, "m.toml", text)], &Given { seed: 4, ..Given::default() });
    let traced = read(model).unwrap();
    assert_eq!(traced.scenario.machines.len(), 50);
    assert!(traced.scenario.jobs.len() > 250);
    let table = [
        (model.replace("alpha = 1.3", "beta = 1.3"), "m.toml, line 20: unexpected keys in table: beta"),
        (
            model.replace("priority = 250", "priority = 450"),
            "m.toml, line 29: classes[1].priority: 450 is no priority",
        ),
    ];
    for (text, problem) in table {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

/// A segment file with these groups of events.
fn segment(first: u64, groups: &[&[Event]]) -> Vec<u8> {
    let id = 7u64.to_le_bytes();
    let mut bytes = vec![0; 4_096];
    bytes[..8].copy_from_slice(b"OHMLOG\r\n");
    bytes[16..24].copy_from_slice(&id);
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    let mut seq = Seq(first);
    for events in groups {
        let mut records = Vec::new();
        let mut header = [0; 32];
        header[..4].copy_from_slice(&[0x89, b'G', b'r', b'p']);
        header[8..16].copy_from_slice(&seq.0.to_le_bytes());
        for event in *events {
            record::append_event(&mut records, seq, event);
            seq = seq.next();
        }
        header[16..24].copy_from_slice(&(seq.0 - 1).to_le_bytes());
        header[24..28].copy_from_slice(&(records.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&id), &header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.extend(header);
        bytes.extend(records);
    }
    bytes
}

fn registered(number: u32) -> Event {
    let spec =
        bench::scenario::machine(format!("m{number}"), Resources::cpu_memory(1, 1), Default::default());
    Event::MachineRegistered {
        machine: MachineId(number),
        spec: Arc::new(spec),
        incarnation: 1,
        time: Time(5),
    }
}

#[test]
fn a_log_is_read_to_its_last_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    let all: Vec<Event> = (0..5).map(registered).collect();
    put(&dir, "log/00000000000000000001.log", segment(1, &[&all[..2], &all[2..3], &[]]));
    let mut last = segment(4, &[&all[3..4], &all[4..]]);
    let inputs = [dir.path().to_owned()];
    let machines = |torn: usize, last: &[u8]| {
        put(&dir, "log/00000000000000000004.log", &last[..last.len() - torn]);
        Format::Log.read(&inputs, &Given::default()).map(|traced| traced.scenario.machines.len())
    };
    assert_eq!((machines(0, &last).unwrap(), machines(3, &last).unwrap()), (5, 4));
    last.extend([0; 100]);
    assert_eq!(machines(0, &last).unwrap(), 5);
    put(&dir, "log/00000000000000000001.log", &segment(1, &[&all[..2], &all[2..3]])[..4_200]);
    let error = machines(0, &last).unwrap_err().to_string();
    assert!(error.contains("`ohm server verify` tells more"), "{error}");
    fs::remove_file(dir.path().join("log/00000000000000000001.log")).unwrap();
    let error = machines(0, &last).unwrap_err().to_string();
    assert!(error.contains("begins at seq 4") && error.contains("--retain-log"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Format::Log.read(&[empty.path().to_owned()], &Given::default()).unwrap_err().to_string();
    assert!(error.contains("holds no log"), "{error}");
}

#[test]
fn other_machines_take_the_recorded_placements_with_them() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir, "machines.csv", "machine,cpu_milli,memory_bytes\nm,1,1\n");
    put(&dir, "jobs.csv", "job,submit_us\nj,\n");
    put(&dir, "tasks.csv", "job,count,cpu_milli,memory_bytes,machine\nj,1,1,1,m\n");
    let inputs = [dir.path().to_owned()];
    let own = Format::Generic.read(&inputs, &Given::default()).unwrap();
    assert!(own.scenario.jobs[0].tasks[0].placed.is_some());
    let other = Format::Generic.read(&inputs, &given()).unwrap();
    assert_eq!((other.scenario.machines.len(), other.scenario.jobs[0].tasks[0].placed), (3, None));
    put(&dir, "jobs.csv", "job,submit_us\nj,x\nk,y\n");
    let error = Format::Generic.read(&inputs, &given()).unwrap_err().to_string();
    assert!(
        error.contains("line 2, column 2 (submit_us)")
            && error.ends_with("(and 2 more: see `ohm study check`)"),
        "{error}"
    );
    let error = Format::Swf.read(&[], &given()).unwrap_err().to_string();
    assert_eq!(error, "swf takes one file or directory, not 0 paths");
}
