//! Certificates of strangers and of the wrong role: one clear refusal each, and nothing changes.

use cell_state::machine::MachineSpec;
use cell_state::transaction::Op;
use cell_state::{JobId, Resources, TaskId};
use cell_tests::probe::Probe;
use cell_tests::test_cell::{TestCell, connect};
use transport::message::Refusal;
use transport::{Request, Role};
use transport_quic::{Authority, CallError, Client, Credentials};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn strangers_are_not_let_in() {
    let cell = TestCell::start(&[]);
    let before = cell.json(&["status"])["seq"].clone();
    let strangers = tempfile::tempdir().unwrap();
    for (name, of) in [("another authority", "test"), ("another cell", "other")] {
        let folder = strangers.path().join(of);
        let authority = Authority::create(of, &folder).unwrap();
        authority.issue(Role::Operator, "mallory", &folder).unwrap();
        let credentials = Credentials::load(&folder, Role::Operator, "mallory").unwrap();
        let connected = runtime().block_on(Client::connect(cell.address(), &credentials));
        let Err(error) = connected else { panic!("{name} is let in") };
        assert!(!error.to_string().is_empty());
        // The same from the command line: one line that says why, and no hang.
        let pki = folder.display().to_string();
        let (code, told) = cell.refused(&["job", "list", "--pki", &pki]);
        assert!(code == 1 && told.lines().count() <= 3, "{told}");
        assert!(
            told.contains("authority") || told.contains("certificate") || told.contains("cell"),
            "{told}"
        );
    }
    // Their authority's certificate beside our party's pair, and our authority's beside theirs.
    let mixed = strangers.path().join("mixed");
    std::fs::create_dir(&mixed).unwrap();
    let ours = cell.pki();
    std::fs::copy(ours.join("ca.pem"), mixed.join("ca.pem")).unwrap();
    for end in ["pem", "key"] {
        let name = format!("operator-mallory.{end}");
        std::fs::copy(strangers.path().join("test").join(&name), mixed.join(&name)).unwrap();
    }
    let (code, told) = cell.refused(&["status", "--pki", &mixed.display().to_string()]);
    assert_eq!(code, 1, "{told}");
    assert_eq!(cell.json(&["status"])["seq"], before);
}

#[test]
fn a_role_may_do_what_its_row_of_the_table_says() {
    let cell = TestCell::start(&[]);
    cell.write("job.toml", &cell.run(&["job", "init"]));
    for (role, name) in [("reader", "eve"), ("user", "ann")] {
        cell.run(&["pki", "issue", role, name]);
    }
    let before = cell.json(&["status"])["seq"].clone();
    let forbidden: [&[&str]; 4] = [
        &["job", "run", "--detach", "job.toml", "--role", "reader"],
        &["quota", "set", "red", "batch", "--cpu", "1", "--role", "reader"],
        &["quota", "set", "red", "batch", "--cpu", "1", "--role", "user"],
        &["node", "drain", "--yes", "m1", "--role", "user"],
    ];
    for command in forbidden {
        let (code, told) = cell.refused(command);
        assert_eq!(code, 1, "{told}");
        // Draining a machine that isn't there may be refused for that reason first.
        assert!(told.contains("may not") || told.contains("m1"), "ohm {command:?}: {told}");
    }
    assert_eq!(cell.json(&["status"])["seq"], before);
    cell.run(&["job", "list", "--role", "reader"]);
    cell.run(&["job", "run", "--detach", "job.toml", "--role", "user"]);
}

#[test]
fn nobody_speaks_for_another() {
    let cell = TestCell::start(&[]);
    cell.write(
        "job.toml",
        &cell.run(&["job", "init", "theirs"]).replace("# scheduler = \"batch\"", "scheduler = \"batch\""),
    );
    cell.run(&["job", "run", "--detach", "job.toml"]);
    let agent = cell.issue(Role::Agent, "m1");
    let mallory = cell.issue(Role::Scheduler, "mallory");
    runtime().block_on(async {
        let client = connect(cell.address(), &agent).await;
        let spec = MachineSpec {
            name: "m2".into(),
            capacity: Resources::cpu_memory(1_000, 1_000),
            attributes: Default::default(),
            devices: Vec::new(),
            ports: (20_000, 20_100),
        };
        let refused = client.call(Request::RegisterMachine { spec, incarnation: 1 }).await;
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        let refused = client.call(Request::StopJob { name: "theirs".into() }).await;
        assert!(matches!(refused, Err(CallError::Refused(Refusal::NotPermitted { .. }))), "{refused:?}");

        // A scheduler's session is its own, and so are its jobs.
        let probe = Probe::open(cell.address(), mallory.clone(), 7).await;
        let client = connect(cell.address(), &mallory).await;
        let task = TaskId { job: JobId(0), group: 0, index: 0 };
        let txn = cell_state::transaction::Transaction {
            id: cell_state::TxnId { session: probe.session(), number: 1 },
            basis: cell_state::Seq(1),
            atomicity: cell_state::transaction::Atomicity::Incremental,
            detection: cell_state::transaction::Detection::Fit,
            ops: vec![Op::Stop { task, epoch: 0 }],
            assertions: Vec::new(),
        };
        let refused = client.call(Request::Commit(txn)).await;
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
    });
    assert_eq!(cell.json(&["job", "status", "theirs"])["tasks"]["pending"], 1);
    assert_eq!(cell.json(&["audit"])["sound"], true);
}
