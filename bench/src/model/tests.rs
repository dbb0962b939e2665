//! Tests of scenarios made from models.

use super::*;

fn class(name: &str, mean_s: f64) -> ClassModel {
    ClassModel {
        name: name.to_owned(),
        priority: 150,
        interarrival_s: Distribution::Exponential { mean: mean_s },
        tasks: Distribution::Pareto { minimum: 1.0, alpha: 1.5, maximum: Some(500.0) },
        run_for_s: Some(Distribution::Lognormal { median: 60.0, sigma: 1.0 }),
        cpu: Distribution::Uniform { from: 0.1, to: 2.0 },
        memory_gib: Distribution::Quantiles(vec![(0.0, 0.1), (0.9, 2.0), (1.0, 16.0)]),
        disk_gib: None,
        gpus: Some(Distribution::Quantiles(vec![(0.0, 0.0), (0.5, 0.0), (1.0, 4.0)])),
        distinct: false,
        gang: true,
        constraints: vec!["zone in z0|z1".to_owned()],
    }
}

fn model() -> Model {
    let machine =
        |count, cpu| MachineModel { count, cpu, memory_gib: 64.0, disk_gib: 100.0, gpus: 2, net_mbit: 0 };
    Model {
        span_s: 3_600.0,
        machines: vec![machine(80, 16.0), machine(20, 64.0)],
        classes: vec![class("batch", 1.0), class("service", 10.0)],
    }
}

#[test]
fn a_model_makes_as_many_jobs_as_its_rates_say() {
    for seed in 0..10 {
        let scenario = model().scenario(seed).unwrap();
        let jobs = |name: &str| scenario.jobs.iter().filter(|j| j.class == name).count();
        // Poisson: five standard deviations.
        assert!(jobs("batch").abs_diff(3_600) < 300, "{}", jobs("batch"));
        assert!(jobs("service").abs_diff(360) < 95, "{}", jobs("service"));
        assert_eq!(scenario.machines.len(), 100);
        assert!(scenario.jobs.is_sorted_by_key(|j| j.submit_us));
        assert!(scenario.span_us() < 3_600_000_000);
    }
}

#[test]
fn the_seed_decides_everything_and_classes_do_not_disturb_each_other() {
    let whole = model().scenario(7).unwrap();
    assert_eq!(whole, model().scenario(7).unwrap());
    assert_ne!(whole, model().scenario(8).unwrap());
    let mut other = model();
    other.classes[0].interarrival_s = Distribution::Constant(100.0);
    let other = other.scenario(7).unwrap();
    let services = |s: &Scenario| {
        s.jobs
            .iter()
            .filter(|j| j.class == "service")
            .map(|j| (j.submit_us, j.tasks.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(services(&whole), services(&other));
}

#[test]
fn what_is_drawn_is_what_a_cell_accepts() {
    let workload = model().scenario(3).unwrap().workload(crate::Division::new("service", "batch", 1));
    let schema = cell_state::resources::Schema::default();
    for arrival in &workload.arrivals {
        cell_state::validate::job(&arrival.job, &schema).unwrap();
    }
    for machine in &workload.machines {
        cell_state::validate::machine(machine, &schema).unwrap();
    }
    assert!(workload.arrivals.iter().any(|a| a.job.groups[0].resources.get(Dimension::GPU) > 0));
}

#[test]
fn mistakes_name_their_field() {
    let told = |change: &dyn Fn(&mut Model)| {
        let mut model = model();
        change(&mut model);
        model.scenario(1).unwrap_err().to_string()
    };
    type Change = dyn Fn(&mut Model);
    let table: [(&Change, &str); 7] = [
        (&|m| m.span_s = 0.0, "span_s: 0 is not a positive number of seconds"),
        (&|m| m.machines[1].cpu = -1.0, "machines[1].cpu: -1 is not between"),
        (&|m| m.machines[0].count = u32::MAX, "machines: 42949"),
        (&|m| m.classes[1].name = "a b".into(), "classes[1].name: "),
        (&|m| m.classes[0].priority = 500, "classes[0].priority: 500 is no priority; 0 to 399 are"),
        (
            &|m| m.classes[1].interarrival_s = Distribution::Constant(0.0),
            "classes[1].interarrival_s: without time",
        ),
        (&|m| m.classes[0].constraints = vec!["x".into()], "classes[0].constraints: it has no test"),
    ];
    for (change, expected) in table {
        let error = told(change);
        assert!(error.starts_with(expected), "{error}\nlacks\n{expected}");
    }
}
