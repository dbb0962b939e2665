//! Ten times more scheduler sessions than a cell takes: those over the bound are refused in clear words, those within
//! it and the load go on, and once the crowd is gone there is room again.

use std::net::SocketAddr;

use cell_state::admit::{Answer, RejectionCode};
use cell_state::bounds::SESSIONS_MAX;
use tokio::task::JoinSet;
use transport::message::Refusal;
use transport::{Reply, Request, Role};
use transport_quic::{CallError, Client, Credentials};

use super::field::Field;
use super::{Plan, Summary};
use crate::test_cell::{connect, wait_for};

/// Sessions that are asked for.
const WANTED: usize = 10 * SESSIONS_MAX;

/// Connections: a few more than it takes to reach the bound with what each may open.
const CONNECTIONS: usize = 280;

/// Sessions that one connection may open, as `ohm` has it.
const PER_CONNECTION: usize = 16;

/// Connections made at a time.
const AT_ONCE: usize = 32;

#[derive(Clone, Copy, Default)]
struct Told {
    opened: usize,
    full: usize,
    busy: usize,
}

pub(super) fn run(plan: Plan) -> Summary {
    let field = Field::start(&plan, &["--down-after", "60s"]);
    let crowd = field.cell.issue(Role::Scheduler, "crowd");
    let address = field.cell.address();
    let (clients, told) = field.runtime.block_on(come(address, &crowd));
    assert!(told.opened <= SESSIONS_MAX, "{} sessions were opened", told.opened);
    assert!(told.full > 0 && told.opened > SESSIONS_MAX / 2, "the bound was not met: {}", told.opened);
    // Those who were there before are served as before.
    field.goes_on();
    for client in clients {
        client.close("enough");
    }
    // Sessions end a while after their connections; then somebody new gets in.
    let late = field.cell.issue(Role::Scheduler, "late");
    wait_for("room for one more", || {
        field.runtime.block_on(async {
            let client = connect(address, &late).await;
            client.call(Request::OpenSession { instance: 7 }).await.is_ok().then_some(())
        })
    });
    field.goes_on();
    let counted = [
        ("sessions asked for", WANTED),
        ("opened", told.opened),
        ("refused at a bound", told.full),
        ("busy", told.busy),
    ];
    field.prove(counted.map(|(what, count)| (what, count as u64)).to_vec())
}

/// The crowd comes, and everybody in it asks for more than there is.
async fn come(address: SocketAddr, credentials: &Credentials) -> (Vec<Client>, Told) {
    let mut under_way = JoinSet::new();
    let (mut clients, mut told) = (Vec::new(), Told::default());
    for number in 0..CONNECTIONS {
        if under_way.len() >= AT_ONCE {
            gather(under_way.join_next().await, &mut clients, &mut told);
        }
        let credentials = credentials.clone();
        under_way.spawn(async move {
            let client = connect(address, &credentials).await;
            let told = ask(&client, number).await;
            (client, told)
        });
    }
    while let Some(come) = under_way.join_next().await {
        gather(Some(come), &mut clients, &mut told);
    }
    (clients, told)
}

type Came = Option<Result<(Client, Told), tokio::task::JoinError>>;

fn gather(came: Came, clients: &mut Vec<Client>, told: &mut Told) {
    let Some(came) = came else { return };
    let (client, theirs) = came.expect("nobody in the crowd panics");
    clients.push(client);
    told.opened += theirs.opened;
    told.full += theirs.full;
    told.busy += theirs.busy;
}

/// All requests at once, so that the bound is met while others are under way.
async fn ask(client: &Client, number: usize) -> Told {
    let mut under_way = JoinSet::new();
    let each = WANTED.div_ceil(CONNECTIONS);
    for instance in (number * each..(number + 1) * each).take_while(|instance| *instance < WANTED) {
        let client = client.clone();
        under_way.spawn(async move { client.call(Request::OpenSession { instance: instance as u64 }).await });
    }
    let mut told = Told::default();
    while let Some(answer) = under_way.join_next().await {
        match answer.expect("a call doesn't panic") {
            Ok(Reply::Done { answer: Answer::Session { .. }, .. }) => told.opened += 1,
            Ok(other) => panic!("a session is answered by {other:?}"),
            Err(CallError::Refused(Refusal::Rejected(rejection))) => {
                assert_eq!(rejection.code, RejectionCode::Full, "{rejection}");
                told.full += 1;
            }
            Err(CallError::Refused(Refusal::Busy)) => told.busy += 1,
            Err(error) => panic!("a session over the bound: {error}"),
        }
    }
    assert!(told.opened <= PER_CONNECTION, "one connection opened {} sessions", told.opened);
    told
}
