//! The little language of the commit tables: what a line of `tests/commit/*.txt` means.
//!
//! ```text
//! machine m0 cpu=4 rack=r1                     a machine; unknown keys are attributes
//! job a scheduler=s1 count=2 cpu=1 priority=100 a job of one group; `++` starts another group
//! session s1                                   scheduler s1 connects (`session x scheduler=s1` names it otherwise)
//! look s1                                      s1's copy is up to date: the basis of its next transactions
//! s1 place a.0 on m0 m1 preempting b.0         a transaction of one op
//! s1 begin all-or-nothing version              a transaction of many: ops and assertions follow, then `s1 commit`
//! s1 assert at-most a rack=r1 2
//! show m0                                      what the machine or the task is now
//! ```
//!
//! What follows ` | ` in a line is what must come of it.

use std::collections::BTreeMap;

use cell_state::admit::{self, Command};
use cell_state::audit::audit;
use cell_state::commit::{self, Judged};
use cell_state::event::{CellConfig, Event, Report, Seen};
use cell_state::job::{Band, JobSpec};
use cell_state::machine::{DEFAULT_PORTS, MachineSpec, MachineState};
use cell_state::resources::{Dimension, Overcommit, Schema};
use cell_state::task::Exit;
use cell_state::transaction::{Assertion, Atomicity, Detection, Op, Transaction};
use cell_state::verdict::Outcome;
use cell_state::{Cell, MachineId, Resources, Seq, SessionId, TaskId, Time, TxnId};

use crate::words;

/// A cell with the names a table gives to things.
pub(crate) struct Stage {
    pub(crate) cell: Cell,
    pub(crate) log: Vec<Event>,
    now: Time,
    sessions: BTreeMap<String, Author>,
    open: Option<Transaction>,
}

/// A scheduler process as a table sees it.
struct Author {
    session: SessionId,
    basis: Seq,
    sent: Vec<Transaction>,
}

/// What came of a line. The lines of a transaction get theirs when it is committed.
pub(crate) enum Came {
    Now(String),
    WithCommit,
    Committed { ops: Vec<String>, whole: String },
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let mut stage = Stage {
            cell: Cell::new(),
            log: Vec::new(),
            now: Time(1_000_000),
            sessions: BTreeMap::new(),
            open: None,
        };
        let config = CellConfig { name: "table".into(), ..CellConfig::default() };
        stage.admit(Command::Configure(config));
        stage
    }

    pub(crate) fn apply(&mut self, event: Event) {
        self.cell.apply(self.cell.seq().next(), &event);
        self.log.push(event);
        let violations: Vec<String> = audit(&self.cell).iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "audit at {}: {violations:?}", self.cell.seq());
    }

    fn admit(&mut self, command: Command) -> String {
        match admit::admit(&self.cell, self.now, command) {
            Err(rejection) => format!("rejected: {rejection}"),
            Ok(admitted) => {
                let unchanged = admitted.event.is_none();
                if let Some(event) = admitted.event {
                    self.apply(event);
                }
                words::answer(admitted.answer, unchanged)
            }
        }
    }

    /// Does what a line says.
    pub(crate) fn line(&mut self, line: &str) -> Came {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = &words[1..];
        Came::Now(match words[0] {
            "machine" => self.machine(rest),
            "job" => self.admit(Command::SubmitJob(job(rest))),
            "stop-job" => self.admit(Command::StopJob { name: rest[0].into() }),
            "forget" => {
                let jobs =
                    rest.iter().map(|name| self.cell.job_named(name).expect("a known job").id).collect();
                self.admit(Command::ForgetJobs { jobs })
            }
            "ready" => self.set_machine(rest[0], MachineState::Ready),
            "drain" => self.set_machine(rest[0], MachineState::Draining),
            "down" => self.set_machine(rest[0], MachineState::Down),
            "quota" => self.quota(rest),
            "overcommit" => self.overcommit(rest),
            "session" => self.session(rest),
            "end" => {
                let session = self.sessions[rest[0]].session;
                self.admit(Command::EndSession { session })
            }
            "look" => {
                for name in rest {
                    self.sessions.get_mut(*name).expect("a known session").basis = self.cell.seq();
                }
                format!("at {}", self.cell.seq())
            }
            "wait" => {
                self.now = self.now.plus(rest[0].parse().expect("microseconds"));
                "done".into()
            }
            "report" => self.report(rest),
            "show" => words::show(&self.cell, rest[0]),
            "resolve" => words::resolve(&self.cell, rest[0]),
            author => return self.act(author, rest),
        })
    }

    fn set_machine(&mut self, name: &str, state: MachineState) -> String {
        self.admit(Command::SetMachineState { machine: name.into(), state, grace_us: None })
    }

    fn machine(&mut self, words: &[&str]) -> String {
        let mut spec = MachineSpec {
            name: words[0].into(),
            capacity: Resources::ZERO,
            attributes: BTreeMap::new(),
            devices: Vec::new(),
            ports: DEFAULT_PORTS,
        };
        let mut incarnation = 1;
        for word in &words[1..] {
            let (key, value) = word.split_once('=').expect("key=value");
            match key {
                "devices" => {
                    let count: u64 = value.parse().expect("a number of devices");
                    spec.devices = (0..count).map(|i| format!("gpu{i}")).collect();
                    spec.capacity = spec.capacity.with(Dimension::GPU, count * 1000);
                }
                "ports" => {
                    let (first, last) = value.split_once('-').expect("first-last");
                    spec.ports = (first.parse().expect("a port"), last.parse().expect("a port"));
                }
                "incarnation" => incarnation = value.parse().expect("a number"),
                _ => match Schema::default().dimension(key) {
                    Some(d) => spec.capacity = spec.capacity.with(d, value.parse().expect("an amount")),
                    None => drop(spec.attributes.insert(key.into(), value.into())),
                },
            }
        }
        self.admit(Command::RegisterMachine { spec, incarnation })
    }

    fn quota(&mut self, words: &[&str]) -> String {
        let band = Band::ALL.into_iter().find(|b| b.to_string() == words[1]).expect("a band");
        let limit = if words[2] == "none" { None } else { Some(resources(&words[2..])) };
        self.admit(Command::SetQuota { team: words[0].into(), band, limit })
    }

    fn overcommit(&mut self, words: &[&str]) -> String {
        let mut overcommit = Overcommit::default();
        for word in words {
            let (key, value) = word.split_once('=').expect("dimension=percent");
            let dimension = Schema::default().dimension(key).expect("a dimension");
            overcommit.0[dimension.index()] = value.parse().expect("percent");
        }
        self.admit(Command::Configure(CellConfig { overcommit, ..self.cell.config().clone() }))
    }

    fn session(&mut self, words: &[&str]) -> String {
        let name = words[0].to_owned();
        let scheduler = words.iter().find_map(|w| w.strip_prefix("scheduler=")).unwrap_or(words[0]);
        let instance = name.bytes().fold(0u64, |sum, b| sum * 256 + u64::from(b));
        let came = self.admit(Command::OpenSession { scheduler: scheduler.into(), instance });
        if let Some(session) = self.cell.sessions().find(scheduler, instance) {
            let basis = self.cell.seq();
            self.sessions.entry(name).or_insert(Author { session: session.id, basis, sent: Vec::new() });
        }
        came
    }

    /// `report m0 a.0 started`, `report m0 a.0 code=1 epoch=2`: the next report of that machine.
    fn report(&mut self, words: &[&str]) -> String {
        let machine = self.cell.machine_named(words[0]).expect("a known machine");
        let task = task(&self.cell, words[1]);
        let mut epoch = self.cell.task(task).map_or(0, |t| t.epoch);
        let (mut first, mut incarnation) = (machine.reports_seen + 1, machine.incarnation);
        let mut seen = Seen::Started;
        for word in &words[2..] {
            match word.split_once('=') {
                Some(("epoch", n)) => epoch = n.parse().expect("an epoch"),
                Some(("number", n)) => first = n.parse().expect("a number"),
                Some(("incarnation", n)) => incarnation = n.parse().expect("a number"),
                Some(("code", n)) => seen = Seen::Ended(Exit::Code(n.parse().expect("an exit code"))),
                Some(("signal", n)) => seen = Seen::Ended(Exit::Signal(n.parse().expect("a signal"))),
                Some(_) | None => assert_eq!(*word, "started"),
            }
        }
        let reports = vec![Report { task, epoch, seen }];
        self.admit(Command::Report { machine: machine.id, incarnation, first, reports })
    }

    /// A line that starts with the name of a session.
    fn act(&mut self, name: &str, words: &[&str]) -> Came {
        match words[0] {
            "begin" => {
                let author =
                    self.sessions.get(name).unwrap_or_else(|| panic!("unknown word or session {name:?}"));
                let number = author.sent.last().map_or(0, |t| t.id.number) + 1;
                let has = |word| words.contains(&word);
                self.open = Some(Transaction {
                    id: TxnId { session: author.session, number },
                    basis: author.basis,
                    atomicity: if has("all-or-nothing") {
                        Atomicity::AllOrNothing
                    } else {
                        Atomicity::Incremental
                    },
                    detection: if has("version") { Detection::Version } else { Detection::Fit },
                    ops: Vec::new(),
                    assertions: Vec::new(),
                });
                Came::WithCommit
            }
            "assert" => {
                let assertion = assertion(&self.cell, &words[1..]);
                self.open.as_mut().expect("after begin").assertions.push(assertion);
                Came::WithCommit
            }
            "commit" => {
                let txn = self.open.take().expect("after begin");
                self.commit(name, txn)
            }
            "resend" => {
                let number: u64 = words[1].parse().expect("a transaction's number");
                let sent = &self.sessions[name].sent;
                let txn = sent.iter().find(|t| t.id.number == number).expect("sent before").clone();
                match self.commit(name, txn) {
                    Came::Committed { ops, whole } => Came::Now(format!("{whole}: {}", ops.join("; "))),
                    came => came,
                }
            }
            _ if self.open.is_some() => {
                let op = op(&self.cell, words);
                self.open.as_mut().expect("just seen").ops.push(op);
                Came::WithCommit
            }
            _ => {
                self.act(name, &["begin"]);
                self.act(name, words);
                match self.act(name, &["commit"]) {
                    Came::Committed { mut ops, whole } => Came::Now(ops.pop().unwrap_or(whole)),
                    came => came,
                }
            }
        }
    }

    fn commit(&mut self, name: &str, txn: Transaction) -> Came {
        let judged = commit::judge(&self.cell, self.now, &txn);
        let author = self.sessions.get_mut(name).expect("a known session");
        if !author.sent.iter().any(|t| t.id == txn.id) {
            author.sent.push(txn);
        }
        let words =
            |cell: &Cell, outcomes: &[Outcome]| outcomes.iter().map(|o| words::outcome(cell, o)).collect();
        match judged {
            Err(rejection) => Came::Committed { ops: Vec::new(), whole: format!("rejected: {rejection}") },
            Ok(Judged::Again { at, outcomes, failed_assertion }) => {
                let failed = failed_assertion.map(|c| words::conflict(&self.cell, &c));
                let whole = failed.map_or(format!("again, at {at}"), |c| format!("again, at {at}, {c}"));
                Came::Committed { ops: words(&self.cell, &outcomes), whole }
            }
            Ok(Judged::New(committed)) => {
                let ops = words(&self.cell, &committed.outcomes);
                let failed = committed.failed_assertion.as_ref().map(|c| words::conflict(&self.cell, c));
                self.apply(Event::Committed(committed));
                let whole = failed.unwrap_or_else(|| format!("at {}", self.cell.seq()));
                Came::Committed { ops, whole }
            }
        }
    }
}

/// `a.1` is the second task of job `a`; `a.1.0` the first of its second group.
pub(crate) fn task(cell: &Cell, word: &str) -> TaskId {
    let parts: Vec<&str> = word.split('.').collect();
    let job = cell.job_named(parts[0]).unwrap_or_else(|| panic!("no job for task {word}")).id;
    let number = |i: usize| parts[i].parse::<u32>().expect("a number after the job's name");
    match parts.len() {
        2 => TaskId { job, group: 0, index: number(1) },
        _ => TaskId { job, group: number(1) as u16, index: number(2) },
    }
}

fn machine(cell: &Cell, word: &str) -> MachineId {
    // A name nobody has stands for a machine that isn't in the cell.
    cell.machine_named(word).map_or(MachineId(999_999), |m| m.id)
}

fn resources(words: &[&str]) -> Resources {
    words.iter().fold(Resources::ZERO, |sum, word| {
        let (key, value) = word.split_once('=').expect("dimension=amount");
        let dimension = Schema::default().dimension(key).expect("a dimension");
        sum.with(dimension, value.parse().expect("an amount"))
    })
}

fn op(cell: &Cell, words: &[&str]) -> Op {
    let task = task(cell, words[1]);
    let given = words.iter().find_map(|w| w.strip_prefix("epoch="));
    let epoch = given.map_or(cell.task(task).map_or(0, |t| t.epoch), |n| n.parse().expect("an epoch"));
    match words[0] {
        "place" => {
            assert_eq!(words[2], "on");
            let (machines, preempt) = match words.iter().position(|w| *w == "preempting") {
                Some(at) => (&words[3..at], &words[at + 1..]),
                None => (&words[3..], &words[..0]),
            };
            Op::Place {
                task,
                machines: machines.iter().map(|m| machine(cell, m)).collect(),
                preempt: preempt.iter().map(|t| self::task(cell, t)).collect(),
            }
        }
        "evict" => Op::Evict { task, epoch },
        "stop" => Op::Stop { task, epoch },
        "resize" => {
            let amounts: Vec<&str> =
                words[2..].iter().copied().filter(|w| !w.starts_with("epoch=")).collect();
            Op::Resize { task, epoch, resources: resources(&amounts) }
        }
        other => panic!("unknown op {other:?}"),
    }
}

fn assertion(cell: &Cell, words: &[&str]) -> Assertion {
    match words[0] {
        "at-most" => {
            let (attribute, value) = words[2].split_once('=').expect("attribute=value");
            Assertion::AtMost {
                job: cell.job_named(words[1]).expect("a known job").id,
                attribute: attribute.into(),
                value: value.into(),
                max: words[3].parse().expect("a number"),
            }
        }
        "version" => Assertion::JobVersion {
            job: cell.job_named(words[1]).expect("a known job").id,
            version: words[2].parse().expect("a version"),
        },
        "unchanged" => Assertion::Unchanged { machine: machine(cell, words[1]) },
        other => panic!("unknown assertion {other:?}"),
    }
}

fn job(words: &[&str]) -> JobSpec {
    words::job(words)
}
