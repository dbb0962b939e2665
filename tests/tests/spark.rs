//! The Spark cluster of docs/examples, run for real where pyspark is there: `OHM_SPARK` names its directory, or it is at
//! `/opt/spark/pyspark`. It takes a minute and a gigabyte of memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use cell_tests::binary;
use cell_tests::source::root;
use cell_tests::test_cell::{TestCell, text};

/// Where pyspark is.
fn spark() -> Option<PathBuf> {
    let named = std::env::var_os("OHM_SPARK").map(PathBuf::from);
    let place = named.unwrap_or_else(|| PathBuf::from("/opt/spark/pyspark"));
    let runs = |program: &str, flag: &str| Command::new(program).arg(flag).output().is_ok();
    (place.join("bin/spark-submit").exists() && runs("java", "-version") && runs("/usr/bin/python3", "-V"))
        .then_some(place)
}

#[test]
fn a_spark_cluster_counts_words_on_the_cell() {
    let Some(spark) = spark() else {
        eprintln!("skipped: no pyspark at $OHM_SPARK or /opt/spark/pyspark, no java, or no /usr/bin/python3");
        return;
    };
    let example = root().join("docs/examples/spark");
    let mut cell = TestCell::start(&[]);
    for policy in ["batch", "service"] {
        cell.scheduler(policy, policy, policy, 1);
    }
    for (machine, ports) in [("m1", "20000-25999"), ("m2", "26000-31999")] {
        cell.agent(machine, &["--cpu", "4", "--memory", "6 GiB", "--ports", ports]);
    }
    cell.wait_ready(2);
    let mut run = Command::new(example.join("run"));
    run.envs(cell.environment()).env("OHM", binary::ohm()).env("SPARK", &spark);
    let output = run.output().expect("bash runs it");
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complaints}");

    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let words = std::fs::read_to_string(example.join("words.txt")).expect("it is part of the example");
    words.split_whitespace().for_each(|word| *counts.entry(word).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
    for (word, count) in &counts[..5] {
        assert!(said.contains(&format!("counted {word} {count}\n")), "{word} {count}: {said}");
    }
    assert!(said.contains("executors 2\n"), "{said}");
}
