//! Studies of the production code: every architecture is the same on any number of threads, workloads are found beside
//! the study's file, and what means nothing is refused.

use std::path::Path;

use study::experiment::{self, Doing, Results, Runs, Study};

const ARCHITECTURES: [&str; 8] = [
    "omega",
    "mono-single",
    "mono-multi",
    "partitions",
    "mesos",
    "parsync-latency",
    "parsync-quality",
    "parsync-adaptive",
];

/// A study of these settings, one series for each.
fn study(path: &Path, base: &str, series: &[String]) -> Result<Study, String> {
    let series: Vec<String> =
        series.iter().map(|set| format!("{{ label = {set:?}, set = {{ {set} }} }}")).collect();
    let text = format!(
        "name = \"s\"\ntitle = \"t\"\nseeds = 2\nbase = {{ engine = \"cell\", {base} }}\nseries = [{}]\n\
         axis = [{{ field = \"service_job_s\", label = \"x\", values = [0.1, 5.0] }}]\n\
         plot = [{{ metric = \"fair_jobs\", class = \"batch\", title = \"t\" }}]\n",
        series.join(", ")
    );
    Study::parse(&path.display().to_string(), &text).map_err(|error| error.to_string())
}

fn run(study: &Study, threads: usize) -> Results {
    let doing = Doing { threads, done: &|_, _| (), own: None };
    experiment::run(study, &mut Runs::default(), &doing).expect("the study can be run")
}

fn csv(study: &Study, threads: usize) -> String {
    run(study, threads).to_csv(study)
}

#[test]
fn every_architecture_is_the_same_on_any_number_of_threads() {
    let mut series = ARCHITECTURES.map(|a| format!("architecture = {a:?}")).to_vec();
    series.push("policy = \"service\", staleness_s = 2.0, preempt = true".to_owned());
    let study =
        study(Path::new("s.toml"), "percent = 2, hours = 0.1, batch_schedulers = 2", &series).unwrap();
    let alone = csv(&study, 1);
    assert_eq!(alone, csv(&study, 3));
    assert_eq!(alone.lines().count(), 1 + series.len() * 2 * 2 * 2);
}

fn write_tables(dir: &Path) {
    let machines = (0..8).map(|n| format!("m{n},16000,68719476736\n")).collect::<String>();
    let jobs = (0..40).map(|n| format!("j{n},{},{},150\n", n * 1_000_000, ["web", "vm"][n % 2]));
    let tasks = (0..40).map(|n| format!("j{n},3,1000,1073741824,20000000\n"));
    let files = [
        ("machines.csv", format!("machine,cpu_milli,memory_bytes\n{machines}")),
        ("jobs.csv", format!("job,submit_us,class,priority\n{}", jobs.collect::<String>())),
        ("tasks.csv", format!("job,count,cpu_milli,memory_bytes,run_for_us\n{}", tasks.collect::<String>())),
    ];
    for (name, text) in files {
        std::fs::write(dir.join(name), text).expect("a temporary directory takes files");
    }
}

#[test]
fn a_workload_beside_the_study_is_run_with_its_classes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    write_tables(&dir.path().join("mine"));
    let path = dir.path().join("mine.toml");
    let series = [
        "rates = { vm = 1.0 }",
        "rates = { vm = 3.0 }",
        "batch_rate = 2.0, atomicities = { vm = \"gang\" }",
        "detections = { web = \"version\" }, fill = 0.5, mtbf_s = 30.0, mttr_s = 5.0",
    ]
    .map(str::to_owned);
    let mine = study(&path, "workload = \"mine\", hours = 0.05, promise_percent = 100", &series).unwrap();
    let results = run(&mine, 2);
    let value = |series: &str, metric: &str| results.at(series, &[0.1], "batch", metric).unwrap().0;
    // Half of the 40 jobs are of the class `vm`.
    let jobs = [0, 1, 2].map(|i| value(&series[i], "jobs"));
    assert_eq!(jobs, [40.0, 80.0, 80.0]);
    assert!((0..3).all(|i| value(&series[i], "placed_jobs") > 0.95));
    assert!(value(&series[3], "failed") > 0.0);
    assert_eq!(csv(&mine, 1), results.to_csv(&mine));
    // What was run on other tables is not taken for a result on these.
    let tasks = dir.path().join("mine/tasks.csv");
    let other = std::fs::read_to_string(&tasks).unwrap().replace("j7,3,", "j7,4,");
    std::fs::write(tasks, other).unwrap();
    let again = study(&path, "workload = \"mine\", hours = 0.05, promise_percent = 100", &series).unwrap();
    let again = run(&again, 1);
    assert!(again.runs.iter().zip(&results.runs).all(|(a, b)| a.config != b.config));
}

#[test]
fn a_model_is_drawn_for_each_seed() {
    let dir = tempfile::tempdir().unwrap();
    let model = "span_s = 60\n[[machines]]\ncount = 10\ncpu = 16\nmemory_gib = 64\n[[classes]]\nname = \"service\"\n\
                 priority = 250\ninterarrival_s = { exponential = { mean = 2 } }\ntasks = { constant = 2 }\n\
                 cpu = { constant = 0.5 }\nmemory_gib = { constant = 1 }\n";
    std::fs::write(dir.path().join("m.toml"), model).unwrap();
    let series = ["staleness_s = 1.0".to_owned()];
    let study = study(&dir.path().join("s.toml"), "workload = \"m.toml\", hours = 0.02", &series).unwrap();
    let results = run(&study, 1);
    let found = results.values("staleness_s = 1.0", &[0.1], "service", "jobs");
    let jobs = |seed| found.iter().find(|(s, _)| *s == seed).unwrap().1;
    assert!(jobs(0) > 10.0 && jobs(0) != jobs(1), "{} {}", jobs(0), jobs(1));
}

#[test]
fn what_means_nothing_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let table = [
        ("machines = 5", "machines: it means something only with engine = \"first-fit\""),
        ("fill = 0.5", "fill: it means something only with a workload"),
        ("architecture = \"mesos\", staleness_s = 1.0", "staleness_s: it means something only with"),
        ("architecture = \"mono-multi\", escalate_after = 2", "escalate_after: it means something only with"),
        (
            "policy = \"choices\", fallbacks = 2",
            "fallbacks: it means something only with policy = \"batch\" or",
        ),
        ("policy = \"service\", sample = 2", "sample: it means something only with policy = \"batch\" or"),
        ("gap_s = 2.0", "gap_s: it means something only with architecture = \"parsync-"),
        ("in_flight = 0", "in_flight: 0 is not between 1 and"),
        ("policy = \"best\"", "policy: \"best\" is none of batch, choices, service"),
        ("workload = \"nowhere\"", "workload: there is no"),
        ("workload = \".\", rates = { queue = 2.0 }", "rates: . has no class \"queue\"; it has vm, web"),
        ("workload = \".\", percent = 10", "percent: it is of the synthetic cell C"),
        ("workload = \".\", atomicities = { vm = \"all\" }", "atomicities: \"all\" is none of"),
    ];
    for (set, expected) in table {
        let told = study(&dir.path().join("s.toml"), "hours = 0.01", &[set.to_owned()]).unwrap_err();
        assert!(told.contains(expected), "{set}: {told}");
    }
    let first_fit = study(&dir.path().join("s.toml"), "hours = 1.0", &["engine = \"first-fit\"".to_owned()]);
    assert!(first_fit.unwrap_err().contains("metric: fair_jobs is measured only with engine = \"cell\""));
    // Tables that are wrong are told as `ohm study check` tells them.
    std::fs::write(dir.path().join("jobs.csv"), "job,submit_us,class,priority\nj0,0,web,400\n").unwrap();
    let told = study(&dir.path().join("s.toml"), "workload = \".\"", &["fill = 0.1".to_owned()]).unwrap_err();
    assert!(told.contains("jobs.csv") && told.contains("400"), "{told}");
}

#[test]
fn googles_trace_runs_as_it_is() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let traces =
        std::env::var_os("OHM_TRACES").map_or_else(|| workspace.join("../shared/traces"), Into::into);
    let trace = traces.join("google2011_cell_c");
    if !trace.is_dir() {
        eprintln!("skipped: there is no trace in {}; docs/demo.md says where to get it", trace.display());
        return;
    }
    let base = format!("workload = {:?}, hours = 0.3, promise_percent = 200", trace.display().to_string());
    let study = study(Path::new("s.toml"), &base, &["staleness_s = 1.0".to_owned()]).unwrap();
    let ran = study.points().unwrap()[0].settings.run(0, None).unwrap();
    let of = |class: &str, metric: &str| ran.value(class, metric).unwrap();
    assert!(of("batch", "jobs") > 50.0 && of("batch", "placed_jobs") > 0.9, "{ran:?}");
    assert!(of("service", "jobs") > 0.0, "{ran:?}");
}
