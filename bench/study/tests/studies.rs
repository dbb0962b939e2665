//! The built-in studies in a small size: each runs, its results read back, and threads change nothing.

use study::experiment::{self, BUILT_IN, Results, Study};
use study::{plot, report};

#[test]
fn every_built_in_study_runs_and_is_the_same_on_any_number_of_threads() {
    for (name, text) in BUILT_IN {
        let study = Study::parse(name, text).unwrap();
        assert_eq!(study.name, name);
        let small = study.reduced();
        let nothing = Results::default();
        let results = experiment::run(&small, &nothing, 2, &|_, _| ()).unwrap();
        assert_eq!(results.rows.len(), 2 * small.cases().unwrap().len(), "{name}");
        let alone = experiment::run(&small, &nothing, 1, &|_, _| ()).unwrap();
        let csv = results.to_csv(&small);
        assert_eq!(csv, alone.to_csv(&small), "{name}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.csv");
        std::fs::write(&path, &csv).unwrap();
        assert_eq!(Results::read(&path, &small).unwrap(), results, "{name}");
        let plots: Vec<String> = small.plot.iter().map(|p| plot::svg(&small, p, &results).unwrap()).collect();
        assert!(plots.iter().all(|p| p.starts_with("<svg")), "{name}");
        let page = report::html(&[report::Reported { study: &small, results: &results, plots: &plots }]);
        assert!(page.contains(&small.title), "{name}");
    }
}

#[test]
fn a_run_takes_up_what_was_run_before() {
    let study = Study::parse("figure-8", BUILT_IN[1].1).unwrap().reduced();
    let mut known = experiment::run(&study, &Results::default(), 1, &|_, _| ()).unwrap();
    // A result nobody could have computed shows that it was not computed again.
    known.rows[0].metrics.busy = 7.0;
    assert_eq!(experiment::run(&study, &known, 1, &|_, _| ()).unwrap(), known);
}

#[test]
fn mistakes_in_a_study_name_file_and_field() {
    let good = BUILT_IN[1].1;
    let table = [
        ("seeds = 3", "seeds = 0", "seeds: 0 is not between 1 and"),
        ("seeds = 3", "seed = 3", "seed"),
        ("hours = 6.0", "hour = 6.0", "hour"),
        ("hours = 6.0", "hours = -1.0", "hours: -1 is not between"),
        ("field = \"batch_rate\"", "field = \"batch_race\"", "batch_race"),
        (
            "metric = \"busy\", class = \"batch\", title",
            "metric = \"bussy\", class = \"batch\", title",
            "bussy",
        ),
        ("class = \"batch\", title", "class = \"bitch\", title", "neither batch nor service"),
    ];
    for (from, to, expected) in table {
        let told = Study::parse("mine.toml", &good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(told.starts_with("mine.toml: ") && told.contains(expected), "{to}: {told}");
    }
}
