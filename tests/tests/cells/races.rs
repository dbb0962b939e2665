//! Two schedulers race for the last slot: one wins, and the other is told machine, dimension, wanted, free and winner,
//! by the verdict as by the commands people use.

use cell_state::fit::Misfit;
use cell_state::verdict::{ConflictKind, Outcome};
use cell_state::{Dimension, JobId, MachineId, TaskId};
use cell_tests::probe::Probe;
use cell_tests::test_cell::{TestCell, wait_status};
use transport::Role;

fn job(name: &str, scheduler: &str, cpu: &str) -> String {
    format!(
        "name = \"{name}\"\nscheduler = \"{scheduler}\"\n[[groups]]\nname = \"main\"\n[groups.run]\n\
         command = \"/bin/sleep\"\nargs = [\"600\"]\n[groups.resources]\ncpu = {cpu}\nmemory = \"16 MiB\"\n"
    )
}

fn task(job: u32) -> TaskId {
    TaskId { job: JobId(job), group: 0, index: 0 }
}

#[test]
fn the_loser_of_a_race_is_told_what_where_how_much_and_who() {
    let mut cell = TestCell::start(&[]);
    cell.agent("m1", &["--cpu", "4", "--memory", "4 GiB"]);
    cell.wait_ready(1);
    cell.write("red.toml", &job("red-job", "red", "3"));
    cell.write("blue.toml", &job("blue-job", "blue", "2"));
    cell.run(&["job", "run", "--detach", "red.toml"]);
    cell.run(&["job", "run", "--detach", "blue.toml"]);

    let (red_says, blue_says) = (cell.issue(Role::Scheduler, "red"), cell.issue(Role::Scheduler, "blue"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (red, blue, lost) = runtime.block_on(async {
        let mut red = Probe::open(cell.address(), red_says.clone(), 1).await;
        let mut blue = Probe::open(cell.address(), blue_says, 2).await;
        // Both look at the same state, both see the room, both want it.
        let basis = wait_status(cell.address(), &red_says).await.seq;
        let won = red.place(task(0), MachineId(0), basis).await;
        assert!(matches!(won.outcomes[..], [Outcome::Placed(_)]), "{won:?}");
        let lost = blue.place(task(1), MachineId(0), basis).await;
        (red.session().0, blue.session().0, lost)
    });
    let [Outcome::Conflict(conflict)] = &lost.outcomes[..] else { panic!("{lost:?}") };
    assert_eq!(conflict.machine, Some(MachineId(0)));
    let short = Misfit::Resource { dimension: Dimension::CPU, wanted: 2_000, free: 1_000 };
    assert_eq!(conflict.kind, ConflictKind::Misfit(short));
    let winner = conflict.winner.as_ref().expect("a transaction won");
    assert_eq!((winner.scheduler.as_str(), winner.txn.session.0), ("red", red));
    assert!(!conflict.divergence && !conflict.spurious);

    // The side log is written beside the commit path, so it may be a moment behind.
    let shown = cell_tests::test_cell::wait_for("the attempt", || {
        let output = cell.ohm(&["txn", "show", &format!("{blue}-1"), "-o", "json"]);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    });
    let told = &shown["outcomes"][0];
    assert_eq!((&told["machine"], &told["dimension"]), (&"m1".into(), &"cpu".into()), "{told}");
    assert_eq!((&told["wanted"], &told["free"]), (&2_000.into(), &1_000.into()), "{told}");
    assert_eq!(
        (&told["winner_scheduler"], &told["winner_txn"]),
        (&"red".into(), &format!("{red}-1").into()),
        "{told}"
    );
    for words in [cell.run(&["txn", "show", &format!("{blue}-1")]), cell.run(&["job", "why", "blue-job"])] {
        for word in ["m1", "cpu", "red", &format!("{red}-1")] {
            assert!(words.contains(word), "no {word} in\n{words}");
        }
    }
    let why = cell.run(&["job", "why", "blue-job"]);
    assert!(["2", "1"].iter().all(|figure| why.contains(figure)), "{why}");
    let top = cell.json(&["conflicts", "top"]);
    assert_eq!((&top[0]["loser"], &top[0]["winner"]), (&"blue".into(), &"red".into()), "{top}");
    assert_eq!(cell.json(&["status"])["divergences"], 0);
}
