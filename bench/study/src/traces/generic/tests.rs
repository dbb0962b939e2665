//! Tests of the generic format: what is written is what is read, and mistakes are told all at once.

use std::fs;

use bench::model::Model;
use bench::scenario::{Change, Placed};
use bench::transform::{Failures, fail};

use super::*;

const MACHINES_CSV: &str =
    "machine,cpu_milli,memory_bytes,gpus,attributes\nm1,4000,1000,2,zone=a;rack=r1\nm2,8000,2000,,\n";
const JOBS_CSV: &str = "job,submit_us,class,priority,gang\nold,,service,250,\nnew,500,,,1\n";
const TASKS_CSV: &str = "job,count,cpu_milli,memory_bytes,gpus,run_for_us,constraints,machine,placed_us\n\
    old,2,100,10,0.25,,zone=a,m1,\nnew,3,200,20,2,900,\"zone in a|b;zone!=c\",,\nnew,1,200,20,,900,,m2,700\n";

fn dir(tables: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let good = [(MACHINES, MACHINES_CSV), (JOBS, JOBS_CSV), (TASKS, TASKS_CSV)];
    for (name, text) in good.iter().chain(tables) {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn problems(tables: &[(&str, &str)]) -> Vec<String> {
    let dir = dir(tables);
    let prefix = format!("{}/", dir.path().display());
    let checked = check(dir.path());
    checked.problems.told.iter().map(|p| p.to_string().replace(&prefix, "")).collect()
}

#[test]
fn tables_are_read_with_defaults_for_what_is_missing() {
    let checked = check(dir(&[(EVENTS, "time_us,machine,event\n800,m2,down\n")]).path());
    assert_eq!(checked.problems, Problems::default());
    let scenario = checked.scenario;
    assert_eq!(scenario.machines[0].devices, ["gpu0", "gpu1"]);
    assert_eq!(scenario.machines[0].attributes["zone"], "a");
    assert_eq!(scenario.changes, [MachineChange { at_us: 800, machine: 1, change: Change::Down }]);
    let [old, new] = &scenario.jobs[..] else { panic!("two jobs") };
    assert_eq!((old.submit_us, old.priority, old.gang, old.team.as_str()), (None, 250, false, "study"));
    assert_eq!((new.submit_us, new.priority, new.gang, new.class.as_str()), (Some(500), 150, true, "batch"));
    assert_eq!(old.tasks[0].ask.0[..4], [100, 10, 0, 250]);
    assert_eq!(old.tasks[0].placed, Some(Placed { machine: 0, at_us: 0 }));
    assert_eq!((new.tasks[0].ask.0[3], new.tasks[0].constraints.len()), (2_000, 2));
    assert_eq!(new.tasks[1].placed, Some(Placed { machine: 1, at_us: 700 }));
}

#[test]
fn what_is_written_is_what_is_read() {
    let model: Model = toml::from_str(include_str!("../../../tests/model.toml")).unwrap();
    for seed in 0..3 {
        let mut scenario = model.scenario(seed).unwrap();
        fail(&mut scenario, &Failures { mtbf_s: 500.0, mttr_s: 50.0, seed }).unwrap();
        for (i, job) in scenario.jobs.iter_mut().enumerate() {
            (job.distinct, job.tasks[0].exit_code) = (i % 3 == 0, i as i32 % 2);
            let at_us = job.submit_us.unwrap_or(0) + 7;
            job.tasks[0].placed = (i % 4 == 0).then_some(Placed { machine: i as u32 % 7, at_us });
        }
        let dir = tempfile::tempdir().unwrap();
        write(&scenario, dir.path()).unwrap();
        let checked = check(dir.path());
        assert_eq!(checked.problems, Problems::default());
        assert!(checked.scenario == scenario, "seed {seed}");
        // A second time over the first, and without events.
        scenario.changes.clear();
        write(&scenario, dir.path()).unwrap();
        assert!(check(dir.path()).scenario == scenario, "seed {seed}");
    }
}

#[test]
fn each_mistake_names_file_line_column_value_and_way_out() {
    let machines = |row: &str| vec![(MACHINES, format!("{MACHINES_CSV}{row}\n"))];
    let jobs = |row: &str| vec![(JOBS, format!("{JOBS_CSV}{row}\n"))];
    let tasks = |row: &str| vec![(TASKS, format!("{TASKS_CSV}{row}\n"))];
    let events = |row: &str| vec![(EVENTS, format!("time_us,machine,event\n{row}\n"))];
    let table = [
        (
            machines("m 3,1,1,,"),
            "machines.csv, line 4, column 1 (machine): \"m 3\" is no name; write 1 to 128 letters",
        ),
        (machines("m1,1,1,,"), "machines.csv, line 4, column 1 (machine): \"m1\" is there twice; give each"),
        (
            machines("m3,1.5,1,,"),
            "machines.csv, line 4, column 2 (cpu_milli): \"1.5\" is not a whole number in range; write whole thousandths",
        ),
        (
            machines("m3,1,1,999,"),
            "column 4 (gpus): \"999\" is too many; write a whole number of devices, at most 64",
        ),
        (
            machines("m3,1,1,,zone"),
            "column 5 (attributes): \"zone\" has a part that is no attribute; write KEY=VALUE",
        ),
        (machines("m3,1"), "machines.csv, line 4: 2 fields, where the header has 5; add or remove commas"),
        (
            machines("m3,99999999999999999,1,,"),
            "column 2 (cpu_milli): \"99999999999999999\" is too much; write at most",
        ),
        (jobs("old,1,,,"), "jobs.csv, line 4, column 1 (job): \"old\" is there twice"),
        (
            jobs("j,-1,,,"),
            "jobs.csv, line 4, column 2 (submit_us): \"-1\" is not a whole number in range; write whole microseconds",
        ),
        (jobs("j,1,,400,"), "column 4 (priority): \"400\" is too high; write 0 to 399"),
        (jobs("j,1,,,yes"), "column 5 (gang): \"yes\" is neither 0 nor 1"),
        (jobs("j,1,,,"), "jobs.csv, line 4: \"j\" has no tasks; add a row to tasks.csv"),
        (
            tasks("x,1,1,1,,,,,"),
            "tasks.csv, line 5, column 1 (job): \"x\" is no job of jobs.csv; add the job there",
        ),
        (tasks("old,0,1,1,,,,,"), "column 2 (count): \"0\" is out of range; write how many equal tasks"),
        (
            tasks("old,1,1,1,1.5,,,,"),
            "column 5 (gpus): \"1.5\" is neither a share of one GPU nor a whole number",
        ),
        (
            tasks("old,1,1,1,,,zone,,"),
            "column 7 (constraints): \"zone\" is no list of constraints; it has no test; write one like",
        ),
        (tasks("old,1,1,1,,,,m9,"), "column 8 (machine): \"m9\" is no machine of machines.csv"),
        (tasks("new,1,1,1,,,,m1,499"), "column 9 (placed_us): \"499\" is before the job's submission"),
        (
            tasks("new,1,1,1,,,,,600"),
            "column 9 (placed_us): \"600\" is a time without a machine; name the machine",
        ),
        (
            events("5,m1,gone"),
            "machine_events.csv, line 2, column 3 (event): \"gone\" is no event; write down or up",
        ),
    ];
    for (tables, expected) in table {
        assert_told(&tables, expected);
    }
}

#[test]
fn columns_that_are_unknown_or_missing_are_told() {
    let table = [
        (
            vec![(JOBS, "job,when\nj,1\n".to_owned())],
            "jobs.csv, line 1, column 2: \"when\" is no column of this table; leave it out; the columns are job",
        ),
        (
            vec![(TASKS, "job,count,cpu_milli\n".to_owned())],
            "tasks.csv, line 1: the column memory_bytes is missing; add it: write whole bytes",
        ),
    ];
    for (tables, expected) in table {
        assert_told(&tables, expected);
    }
}

/// These tables, in place of the good ones, lead to this message.
fn assert_told(tables: &[(&str, String)], expected: &str) {
    let tables: Vec<(&str, &str)> = tables.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let told = problems(&tables);
    assert!(told.iter().any(|t| t.contains(expected)), "{told:#?}\nlack\n{expected}");
}

#[test]
fn all_mistakes_are_told_up_to_the_bound_and_all_are_counted() {
    let rows = "m 1,x,y,z,w\n".repeat(50);
    let dir = dir(&[(MACHINES, &format!("{MACHINES_CSV}{rows}"))]);
    let problems = check(dir.path()).problems;
    assert_eq!((problems.told.len(), problems.count), (crate::bounds::PROBLEMS_MAX, 250));
    assert_eq!(problems.told[4].column, Some(5));
    let missing = tempfile::tempdir().unwrap();
    let told = check(missing.path()).problems;
    assert_eq!(told.count, 3);
    assert!(told.told[0].to_string().contains("machines.csv: can't be opened: "), "{}", told.told[0]);
}

#[test]
fn packed_tables_are_read_and_replaced() {
    use std::io::Write;
    let dir = dir(&[]);
    let plain = check(dir.path()).scenario;
    let bytes = fs::read(dir.path().join(JOBS)).unwrap();
    fs::remove_file(dir.path().join(JOBS)).unwrap();
    let packed = dir.path().join(format!("{JOBS}.gz"));
    let mut out =
        flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    out.write_all(&bytes).unwrap();
    out.finish().unwrap();
    assert_eq!(check(dir.path()).scenario, plain);
    write(&plain, dir.path()).unwrap();
    assert!(!packed.exists() && check(dir.path()).scenario == plain);
}
