//! `ohm study`: a study is run, compared, and run on a real cell.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const STUDY: &str = r#"name = "small"
title = "A small cell"
seeds = 2
base = { engine = "cell", percent = 2, hours = 0.1, batch_schedulers = 2 }
series = [{ label = "fine" }, { label = "coarse", set = { detection = "version", batch_job_s = 5.0 } }]
axis = [{ field = "service_job_s", label = "service decision time, s per job", values = [1.0] }]
plot = [{ metric = "busy", class = "batch", title = "Busyness" }, { metric = "wait_s", class = "batch", title = "Wait" }]
check = [{ text = "Quick decisions leave time", series = "fine", class = "batch", metric = "busy", at = [1.0], max = 0.9 }]
"#;

fn ohm(dir: &Path, args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_ohm")).current_dir(dir).args(args).output();
    output.expect("the binary under test runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("-o json writes JSON")
}

fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("small.toml"), STUDY).expect("it takes files");
    dir
}

#[test]
fn a_study_leaves_tables_plots_and_a_page() {
    let dir = dir();
    let found = json(&ohm(dir.path(), &["study", "run", "small.toml", "-o", "json"]));
    assert_eq!(found[0]["holds"], true, "{found}");
    for file in ["small.csv", "small.parquet", "small.runs.csv", "small-1.svg", "small-2.png", "report.html"]
    {
        let size = std::fs::metadata(dir.path().join("studies").join(file)).map_or(0, |file| file.len());
        assert!(size > 100, "{file}: {size} bytes");
    }
    let page = std::fs::read_to_string(dir.path().join("studies/report.html")).unwrap();
    assert!(page.contains("Quick decisions leave time") && page.contains("as stated"));
}

#[test]
fn studies_are_listed_with_the_runs_they_take() {
    let found = json(&ohm(Path::new("."), &["study", "list", "-o", "json"]));
    let runs = |name: &str| {
        let study = found.as_array().unwrap().iter().find(|row| row["study"] == name);
        study.and_then(|row| row["runs"].as_u64())
    };
    assert_eq!(runs("figure-10"), Some(20));
    assert!(runs("beyond-scale").is_some());
}

#[test]
fn two_settings_are_compared_on_the_same_seeds() {
    let dir = dir();
    let args = ["study", "compare", "small.toml", "--seeds", "8", "-o", "json"];
    let found = json(&ohm(dir.path(), &args));
    let of = |class: &str, metric: &str| {
        let rows = found.as_array().unwrap();
        rows.iter().find(|row| row["class"] == class && row["metric"] == metric).unwrap().clone()
    };
    let busy = of("batch", "busy");
    // Decisions that take fifty times as long make a scheduler busier.
    assert!(busy["significant"].as_bool().unwrap() && busy["difference"].as_f64().unwrap() > 0.0, "{busy}");
    assert_eq!(busy["pairs"], 8);
    let same = of("batch", "jobs");
    assert!(!same["significant"].as_bool().unwrap(), "{same}");
    for (args, expected) in [
        (&["--first", "none"][..], "--first: \"none\" is no series of small; it has fine, coarse"),
        (&["--seeds", "1"], "--seeds: at least 2"),
    ] {
        let told = ohm(dir.path(), &[&["study", "compare", "small.toml"], args].concat());
        assert!(String::from_utf8_lossy(&told.stderr).contains(expected), "{told:?}");
    }
}

#[test]
fn a_study_runs_on_a_real_cell_beside_virtual_time() {
    let dir = dir();
    let one =
        STUDY.replace(r#", { label = "coarse", set = { detection = "version", batch_job_s = 5.0 } }"#, "");
    std::fs::write(dir.path().join("small.toml"), one).unwrap();
    let found = json(&ohm(dir.path(), &["study", "live", "small.toml", "--seconds", "3", "-o", "json"]));
    let rows = found.as_array().unwrap();
    assert_eq!(rows.len(), 6, "{found}");
    let busy = rows.iter().find(|row| row["class"] == "batch" && row["metric"] == "busy").unwrap();
    assert!(busy["live"].as_f64().unwrap() > 0.0 && busy["virtual"].as_f64().unwrap() > 0.0, "{busy}");
    let plot = std::fs::read_to_string(dir.path().join("studies/small-live-1.svg")).unwrap();
    assert!(plot.contains("fine, live"));
    let refused = STUDY.replace("engine = \"cell\", percent = 2", "engine = \"first-fit\"");
    std::fs::write(dir.path().join("small.toml"), refused).unwrap();
    let told = ohm(dir.path(), &["study", "live", "small.toml"]);
    assert!(!told.status.success());
}
