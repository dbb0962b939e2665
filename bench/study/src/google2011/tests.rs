//! Tests of the readers on small files; `tests/google2011.rs` reads the real ones.

use std::fs;
use std::io::Write;
use std::path::Path;

use bench::trace::{Arriving, Running};

use super::*;

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if name.ends_with(".gz") {
        let mut packed =
            flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap();
    } else {
        fs::write(path, text).unwrap();
    }
}

const MACHINES: &str = "machine,platform,cpu,mem\n5,P0,0.5,0.2493\n7,P1,1.0,1.0\n";
const RUNNING: &str = "job,idx,machine,cls,prio,cpu,mem,disk,diff\n30,1,5,3,9,0.125,0.5,0.25,1\n";
const ARRIVING: &str = "submit_us,job,idx,user,cls,prio,cpu,mem,disk,diff,schedule_us,sched_machine,end_us,end_event\n\
    604046280,40,0,0,1,2,0.0625,0.25,0,0,605569015,5,675251705,4\n604046281,40,1,0,1,2,0.0625,0.25,0,0,,,,\n";

const MACHINE_EVENTS: &str =
    "0,5,0,hash-a,0.5,0.2493\n0,7,0,hash-b,1,1\n0,8,0,hash-a,0.5,0.5\n900,9,0,hash-a,0.5,0.2493\n";
/// Job 30 was updated before the start; job 31 was pending; 40/0 is submitted twice; 40/1 never scheduled.
const TASK_EVENTS: &str = "0,2,30,1,,0,u,3,9,,,,\n0,,30,1,5,1,u,3,9,0.25,0.5,0.25,1\n0,,30,1,5,8,u,3,9,0.125,0.5,0.25,1\n\
    0,,31,0,,0,u,3,9,0.25,0.5,0.25,0\n604046280,,40,0,,0,u,1,2,0.0625,0.25,0,0\n604046281,,40,1,,0,u,1,2,0.0625,0.25,0,0\n\
    605569015,,40,0,5,1,u,1,2,0.0625,0.25,0,0\n675251705,,40,0,5,4,u,1,2,0.0625,0.25,0,0\n\
    675251706,,40,0,,0,u,1,2,0.0625,0.25,0,0\n675251709,,30,1,5,5,u,3,9,0.125,0.5,0.25,1\n";

fn expected_tasks() -> (Vec<Running>, Vec<Arriving>) {
    let size = [8_000, 128 << 30, 1 << 40];
    let running = TraceTask { job: 30, index: 1, priority: 9, size, distinct: true };
    let first = TraceTask { job: 40, index: 0, priority: 2, size: [4_000, 64 << 30, 0], distinct: false };
    let arriving = [
        Arriving {
            task: first,
            submit_us: 604_046_280,
            schedule_us: Some(605_569_015),
            machine: Some(5),
            end: Some((675_251_705, End::Finished)),
        },
        Arriving {
            task: TraceTask { index: 1, ..first },
            submit_us: 604_046_281,
            schedule_us: None,
            machine: None,
            end: None,
        },
    ];
    (vec![Running { task: running, machine: 5 }], arriving.to_vec())
}

#[test]
fn projections_are_read_packed_or_not() {
    for end in ["", ".gz"] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &format!("machines_t0.csv{end}"), MACHINES);
        put(dir.path(), &format!("tasks_running_t0.csv{end}"), RUNNING);
        put(dir.path(), &format!("tasks_arriving_first83min.csv{end}"), ARRIVING);
        let trace = read(dir.path()).unwrap();
        assert_eq!(
            trace.machines.iter().map(|m| (m.id, m.platform.as_str())).collect::<Vec<_>>(),
            [(5, "P0"), (7, "P1")]
        );
        assert_eq!((trace.running, trace.arriving), expected_tasks());
    }
}

#[test]
fn originals_are_replayed_to_the_same_trace() {
    for (machines, tasks) in [
        ("machine_events/part-00000-of-00001.csv.gz", "task_events/part-00000-of-00500.csv.gz"),
        ("machine_events_part-00000-of-00001.csv", "task_events_part-00000-of-00500.csv"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), machines, MACHINE_EVENTS);
        put(dir.path(), tasks, TASK_EVENTS);
        let trace = read(dir.path()).unwrap();
        let platforms: Vec<_> = trace.machines.iter().map(|m| (m.id, m.platform.as_str())).collect();
        assert_eq!(platforms, [(5, "P0"), (7, "P1"), (8, "P0")]);
        assert_eq!((trace.running, trace.arriving), expected_tasks());
    }
}

#[test]
fn mistakes_are_told_by_file_line_and_column() {
    let running =
        |row: &str| format!("job,idx,machine,cls,prio,cpu,mem,disk,diff\n30,1,5,3,9,0.1,0.5,0,1\n{row}\n");
    let running_file = "tasks_running_t0.csv";
    let table: Vec<(&str, String, &str)> = vec![
        (
            running_file,
            running("x,1,5,3,9,0.1,0.5,0,1"),
            "line 3, column 1 (job): \"x\" is not a whole number in range",
        ),
        (running_file, running("1,-1,5,3,9,0.1,0.5,0,1"), "line 3, column 2 (idx): \"-1\" is not a whole"),
        (running_file, running("1,1,,3,9,0.1,0.5,0,1"), "line 3, column 3 (machine): \"\" is not a whole"),
        (
            running_file,
            running("1,1,5,3,12,0.1,0.5,0,1"),
            "line 3, column 5 (prio): 12 is no priority; Google's are 0 to 11",
        ),
        (running_file, running("1,1,5,3,9,a,0.5,0,1"), "line 3, column 6 (cpu): \"a\" is not a number"),
        (running_file, running("1,1,5,3,9,0.1,-0.5,0,1"), "line 3, column 7 (mem): \"-0.5\" is negative"),
        (running_file, running("1,1,5,3,9,0.1,0.5,0,2"), "line 3, column 9 (diff): \"2\" is neither 0 nor 1"),
        (running_file, running("1,1,5"), "line 3: 3 fields, expected 9"),
        (
            running_file,
            "job,idx\n1,2\n".to_owned(),
            "line 1: the columns are \"job,idx\", expected \"job,idx,machine,cls",
        ),
        (running_file, String::new(), "line 1: the columns are \"\""),
        (running_file, running(&"x".repeat(5_000)), "a line of more than 4096 bytes, the bound"),
        (
            "machines_t0.csv",
            format!("{MACHINES}5,P0,1,1\n"),
            "line 4, column 1 (machine): machine 5 is there twice",
        ),
        (
            "machines_t0.csv",
            format!("{MACHINES}9,P0,1,big\n"),
            "line 4, column 3 (cpu): \"big\" is not a number",
        ),
        (
            "tasks_arriving_first83min.csv",
            ARRIVING.replace(",4\n", ",9\n"),
            "line 2, column 14 (end_event): \"9\" is no end",
        ),
    ];
    for (file, text, message) in table {
        let dir = tempfile::tempdir().unwrap();
        for (name, good) in [
            ("machines_t0.csv", MACHINES),
            (running_file, RUNNING),
            ("tasks_arriving_first83min.csv", ARRIVING),
        ] {
            put(dir.path(), name, if name == file { &text } else { good });
        }
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(message), "{error}\nlacks\n{message}");
    }
}

#[test]
fn a_damaged_archive_and_an_empty_directory_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("holds no trace: expected machine_events/part-00000-of-00001.csv"), "{error}");
    put(dir.path(), "tasks_running_t0.csv", RUNNING);
    put(dir.path(), "tasks_arriving_first83min.csv", ARRIVING);
    put(dir.path(), "machines_t0.csv.gz", MACHINES);
    let path = dir.path().join("machines_t0.csv.gz");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("machines_t0.csv.gz, line") && error.contains("can't read on"), "{error}");
}
