//! A cell with certificates in a directory of its own, and servers for it that answer as a test wants.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cell_state::{JobId, Seq};
use tempfile::TempDir;
use transport::message::{Refusal, Reply, Request};
use transport::{Identity, Role};
use transport_quic::{Authority, Client, Credentials, Listener, Session};

pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) struct Cell {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
}

impl Cell {
    pub(crate) fn new(name: &str) -> Cell {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::create(name, dir.path()).expect("a new authority");
        Cell { dir, authority }
    }

    pub(crate) fn credentials(&self, role: Role, name: &str) -> Credentials {
        self.authority.issue(role, name, self.dir.path()).expect("a new certificate");
        Credentials::load(self.dir.path(), role, name).expect("the certificate just issued")
    }

    pub(crate) fn identity(&self, role: Role, name: &str) -> Identity {
        Identity { cell: self.authority.cell().to_owned(), role, name: name.to_owned() }
    }

    pub(crate) fn listener(&self) -> Listener {
        Listener::bind(ANY_PORT, &self.credentials(Role::Server, "s1")).expect("a free port")
    }

    /// A server that answers every request of every session with what `answer` makes of it.
    pub(crate) fn serve(
        &self,
        answer: impl Fn(Request) -> Result<Reply, Refusal> + Clone + Send + 'static,
    ) -> SocketAddr {
        let listener = self.listener();
        let address = listener.local_addr();
        tokio::spawn(async move {
            while let Some(session) = listener.accept().await {
                tokio::spawn(answer_all(session, answer.clone()));
            }
        });
        address
    }

    pub(crate) async fn client(&self, server: SocketAddr, role: Role, name: &str) -> Client {
        Client::connect(server, &self.credentials(role, name)).await.expect("let in")
    }
}

pub(crate) async fn answer_all(session: Session, answer: impl Fn(Request) -> Result<Reply, Refusal>) {
    while let Some(incoming) = session.next_request().await {
        let (request, responder) = incoming.into_parts();
        responder.reply(answer(request));
    }
}

/// A request that carries a number, and a reply that carries it back.
pub(crate) fn numbered(n: u32) -> Request {
    Request::GetSpec { job: JobId(n), version: 1 }
}

/// Answers [`numbered`] requests with their number.
pub(crate) fn echo(request: Request) -> Result<Reply, Refusal> {
    match request {
        Request::GetSpec { job, .. } => {
            Ok(Reply::Audit { at: Seq(u64::from(job.0)), violations: Vec::new() })
        }
        _ => Ok(Reply::Noted),
    }
}

pub(crate) fn echoed(n: u32) -> Result<Reply, transport_quic::CallError> {
    Ok(Reply::Audit { at: Seq(u64::from(n)), violations: Vec::new() })
}

/// The client gets answers: the server, and this session, are alive.
pub(crate) async fn assert_served(client: &Client) {
    for n in [1, 2] {
        assert_eq!(soon(client.call(numbered(n))).await, echoed(n));
    }
}

/// What a future gives; a test that would wait for ever fails instead.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it never happened")
}

/// Whether a future that is polled once is not ready.
pub(crate) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}
