//! Tests of the workload that records make.

use super::*;

fn task(job: u64, index: u32, priority: u8, cpu: u64) -> TraceTask {
    TraceTask { job, index, priority, size: [cpu, 0, 0], distinct: false }
}

fn running(job: u64, index: u32, priority: u8, cpu: u64) -> Running {
    Running { task: task(job, index, priority, cpu), machine: 1 }
}

fn names(jobs: &[JobSpec]) -> Vec<(&str, u64, usize)> {
    jobs.iter().map(|j| (j.name.as_str(), workload::tasks(j), j.groups.len())).collect()
}

#[test]
fn jobs_are_split_by_priority_and_grouped_by_size() {
    let trace = Trace {
        machines: vec![TraceMachine {
            id: 5,
            platform: "P0".into(),
            capacity: Resources::cpu_memory(10, 10),
        }],
        running: vec![
            running(7, 0, 9, 4),
            running(7, 1, 9, 5),
            running(7, 2, 9, 4),
            running(7, 3, 0, 4),
            running(8, 0, 11, 1),
        ],
        arriving: Vec::new(),
        changes: Vec::new(),
    };
    let workload = trace.workload(1, Division::new("service", "batch", 2));
    assert_eq!(names(&workload.initial), [("t0-8-11", 1, 1), ("t0-7-9", 3, 2), ("t0-7-0", 1, 1)]);
    let schedulers: Vec<_> = workload.initial.iter().map(|j| j.scheduler.as_str()).collect();
    assert_eq!(schedulers, ["service", "service", "batch-0"]);
    assert_eq!(workload.machines[0].name, "c-5");
    assert_eq!(workload.initial_tasks(), 5);
}

#[test]
fn arrivals_keep_their_time_and_tasks_far_apart_are_jobs_of_their_own() {
    let arriving = |index, submit_us, ran: Option<u64>| Arriving {
        task: task(3, index, 2, 1),
        submit_us: START_US + submit_us,
        schedule_us: Some(START_US + submit_us + 10),
        machine: Some(1),
        end: ran.map(|us| (START_US + submit_us + 10 + us, End::Failed)),
    };
    let trace = Trace {
        machines: Vec::new(),
        running: Vec::new(),
        arriving: vec![
            arriving(0, 5, Some(1_000)),
            arriving(1, 6, Some(1_001)),
            arriving(2, 9, None),
            arriving(3, 5_000_000, None),
        ],
        changes: Vec::new(),
    };
    let workload = trace.workload(1, Division::new("service", "batch", 1));
    let found: Vec<_> =
        workload.arrivals.iter().map(|a| (a.at_us, a.job.name.as_str(), a.job.groups.len())).collect();
    // 1,000 and 1,001 microseconds are one group: both round to 960.
    assert_eq!(found, [(5, "a0-3-2", 2), (5_000_000, "a1-3-2", 1)]);
    let runs: Vec<_> = workload.arrivals[0].job.groups.iter().map(|g| (g.count, g.run.clone())).collect();
    let simulated = |run_for_us, exit_code| cell_state::job::Run::Simulated { run_for_us, exit_code };
    assert_eq!(runs, [(1, simulated(None, 0)), (2, simulated(Some(960), 1))]);
}

#[test]
fn durations_are_rounded_by_less_than_an_eighth() {
    for us in [0, 1, 7, 8, 9, 1_000, 123_456, 4_472_392_000, u64::MAX / 2] {
        let to = rounded(us);
        assert!(to <= us && us - to <= us / 8, "{us} became {to}");
    }
}

#[test]
fn a_job_with_too_many_kinds_of_tasks_becomes_several() {
    let mut parts = Parts::default();
    for i in 0..1_000u32 {
        parts.add(&task(1, i, 0, u64::from(i % 3)), Some(u64::from(i)), 0);
    }
    let jobs = parts.jobs("j", 0);
    assert_eq!(jobs.iter().map(workload::tasks).sum::<u64>(), 1_000);
    assert_eq!(names(&jobs)[..2], [("j", 64, 64), ("j-part1", 64, 64)]);
}
