//! The built-in studies in a small size: each runs, its results read back, and threads change nothing.

use study::experiment::{self, BUILT_IN, Doing, Form, Results, Runs, Study, curves_parquet, rows_parquet};
use study::{plot, report};

fn run(study: &Study, runs: &mut Runs, threads: usize) -> Results {
    experiment::run(study, runs, &Doing { threads, done: &|_, _| (), own: None })
        .expect("a built-in study runs")
}

fn built_in(name: &str) -> (Study, &'static str) {
    let text = BUILT_IN.iter().find(|(n, _)| *n == name).expect("there is such a study").1;
    (Study::parse(name, text).expect("built-in studies are sound"), text)
}

#[test]
fn every_built_in_study_runs_and_is_the_same_on_any_number_of_threads() {
    for (name, text) in BUILT_IN {
        let study = Study::parse(name, text).unwrap();
        assert_eq!(study.name, name);
        let small = study.reduced();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.csv");
        let results = run(&small, &mut Runs::open(&path, false).unwrap(), 2);
        let alone = run(&small, &mut Runs::default(), 1);
        let csv = results.to_csv(&small);
        assert_eq!(csv, alone.to_csv(&small), "{name}");
        assert!(csv.lines().count() > 1 || !results.left_out.is_empty(), "{name}");
        // What was kept is what was measured, to the last bit.
        let again = run(&small, &mut Runs::open(&path, false).unwrap(), 1);
        assert_eq!(again.curves_csv(&small), results.curves_csv(&small), "{name}");
        assert_eq!(again.to_csv(&small), csv, "{name}");
        assert!(rows_parquet(&small, &results).unwrap().starts_with(b"PAR1"), "{name}");
        assert_eq!(curves_parquet(&small, &results).unwrap().is_some(), results.curves_csv(&small).is_some());
        let plots: Vec<String> = small.plot.iter().map(|p| plot::svg(&small, p, &results).unwrap()).collect();
        assert!(plots.iter().all(|p| p.starts_with("<svg")), "{name}");
        let page = report::html(&[report::Reported { study: &small, results: &results, plots: &plots }]);
        assert!(page.contains(&small.title), "{name}");
    }
}

#[test]
fn a_study_with_a_model_beside_it_runs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/studies/beyond-scale.toml");
    let text =
        std::fs::read_to_string(path).unwrap().replace("beyond-scale-model.toml", "beyond-scale-small.toml");
    let small = Study::parse(path, &text).unwrap().reduced();
    let results = run(&small, &mut Runs::default(), 2);
    let placed = results.at("ParSync, latency first", &[0.25], "batch", "placed_jobs").unwrap().0;
    assert!(placed > 0.5, "{placed}");
}

#[test]
fn a_plot_of_each_form_becomes_a_picture_with_text() {
    for (name, form) in [
        ("figure-2", Form::Bars),
        ("figure-3", Form::Curves),
        ("figure-10", Form::Surface),
        ("figure-8", Form::Lines),
    ] {
        let small = built_in(name).0.reduced();
        let results = run(&small, &mut Runs::default(), 2);
        let plotted = small.plot.iter().find(|plotted| plotted.form == form).unwrap();
        let svg = plot::svg(&small, plotted, &results).unwrap();
        let with_text = plot::png(&svg).unwrap();
        assert!(with_text.starts_with(b"\x89PNG"), "{name}");
        // The font is found, whatever the machine has: without the texts the picture is another.
        let mut bare = String::new();
        let mut rest = svg.as_str();
        while let Some(at) = rest.find("<text") {
            bare.push_str(&rest[..at]);
            rest = &rest[at..][rest[at..].find("</text>").unwrap() + 7..];
        }
        bare.push_str(rest);
        assert_ne!(plot::png(&bare).unwrap(), with_text, "{name}");
    }
}

#[test]
fn a_run_takes_up_what_was_run_before() {
    let study = built_in("figure-8").0.reduced();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.csv");
    run(&study, &mut Runs::open(&path, false).unwrap(), 1);
    // A result nobody could have computed shows that it was not computed again; the run that was cut off is.
    let kept = std::fs::read_to_string(&path).unwrap();
    let first = kept.lines().find(|line| line.contains(",batch,busy,")).unwrap();
    let changed = format!("{},7", first.rsplit_once(',').unwrap().0);
    let cut = kept.replacen(first, &changed, 1);
    std::fs::write(&path, &cut[..cut.len() - 20]).unwrap();
    let again = run(&study, &mut Runs::open(&path, false).unwrap(), 1);
    assert_eq!(again.runs[0].ran.value("batch", "busy"), Some(7.0));
    assert_eq!(again.runs.len(), 2);
    assert!(again.runs[1].ran.value("service", "given_up").is_some(), "run again, to its end");
    let fresh = run(&study, &mut Runs::open(&path, true).unwrap(), 1);
    assert_ne!(fresh.runs[0].ran.value("batch", "busy"), Some(7.0));
}

#[test]
fn mistakes_in_a_study_name_file_line_and_field() {
    let good = built_in("figure-8").1;
    let line_of = |text: &str, part: &str| text[..text.find(part).unwrap()].matches('\n').count() + 1;
    let table = [
        ("seeds = 3", "seeds = 0", "seeds: 0 is not between 1 and"),
        ("seeds = 3", "seed = 3", "unknown field `seed`"),
        ("hours = 6.0", "hour = 6.0", "hour"),
        ("hours = 6.0", "hours = -1.0", "hours: -1 is not between"),
        ("hours = 6.0", "hours = \"six\"", "hours: invalid type"),
        ("hours = 0.1", "hoars = 0.1", "hoars"),
        ("field = \"batch_rate\"", "field = \"batch_race\"", "batch_race"),
        (
            "[{ label = \"shared state\" }]",
            "[{ label = \"shared state\", set = { detection = \"fine\" } }]",
            "detection: \"fine\" is none of",
        ),
        (
            "metric = \"busy\", class = \"batch\", title",
            "metric = \"bussy\", class = \"batch\", title",
            "metric: \"bussy\" is none of",
        ),
        (
            "class = \"batch\", title",
            "class = \"bitch\", title",
            "class: \"bitch\" is none of batch, service",
        ),
        ("at = [8.0]", "at = [8.5]", "at: [8.5] is no point of the axes"),
        ("field = \"batch_rate\"", "field = \"policy\"", "policy: invalid type"),
        (
            "[{ label = \"shared state\" }]",
            "[{ label = \"shared state\" }, { label = \"shared state\" }]",
            "label: \"shared state\" is the label of two series",
        ),
        (
            "metric = \"busy\", class = \"batch\", title",
            "form = \"surface\", metric = \"busy\", class = \"batch\", title",
            "form: needs 2 axes",
        ),
    ];
    for (from, to, expected) in table {
        let bad = good.replacen(from, to, 1);
        let told = Study::parse("mine.toml", &bad).unwrap_err().to_string();
        let place = format!("mine.toml:{}: ", line_of(&bad, to));
        assert!(
            told.starts_with(&place) && told.contains(expected),
            "{to}: {told}, expected {place}{expected}"
        );
    }
}
