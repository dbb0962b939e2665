//! Idle subscribers and agents, in a process of their own so that their costs and the server's are apart.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use study::idle::{self, Kind};
use transport::Role;
use transport_quic::pki::Credentials;

use super::measured::Idle;
use super::process::{Watch, resident};
use crate::bounds::{SCALE_SETTLE, SCALE_WAIT};
use crate::commands::shutdown;
use crate::demo::progress::Progress;
use crate::failure::{Ended, Failure};
use crate::local_cell::{LocalCell, LocalCellError, SERVER};
use crate::typed::demo::{PeerKind, ScalePeersArgs};

impl PeerKind {
    fn word(self) -> &'static str {
        match self {
            PeerKind::Subscribers => "subscribers",
            PeerKind::Agents => "agents",
        }
    }

    /// The role and the name in their certificate.
    fn identity(self) -> (Role, &'static str) {
        match self {
            PeerKind::Subscribers => (Role::Reader, "idle"),
            PeerKind::Agents => (Role::Agent, "idle-*"),
        }
    }
}

/// Plays the peers until it is asked to stop, or one of them is lost.
///
/// # Errors
/// The server can't be reached, or loses one.
pub(crate) async fn run(args: ScalePeersArgs) -> Result<Ended, Failure> {
    let stop = shutdown::asked(true)?;
    let (role, _) = args.kind.identity();
    let credentials = Credentials::load(&args.pki, role, &args.name)?;
    let kind = match args.kind {
        PeerKind::Subscribers => Kind::Subscribers,
        PeerKind::Agents => Kind::Agents,
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let instance = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let stay = async {
        let mut peers = idle::connect(args.server, &credentials, kind, args.count, instance).await?;
        std::fs::write(&args.ready_file, "ready\n").map_err(|e| Failure::write(&args.ready_file, e))?;
        peers.lost().await?;
        Ok(Ended::Well)
    };
    tokio::select! {
        ended = stay => ended,
        () = stop => Ok(Ended::Well),
    }
}

/// Starts so many, looks at them for a while, and stops them.
///
/// # Errors
/// They can't be started, or are lost.
pub(super) async fn measure(
    cell: &mut LocalCell,
    kind: PeerKind,
    count: u32,
    watch: Duration,
) -> Result<Idle, Failure> {
    let mut idle = Idle { count, ..Idle::default() };
    if count == 0 {
        return Ok(idle);
    }
    let progress = Progress::new(kind.word(), count.into());
    let nobody = Watch::start(cell, SERVER);
    tokio::time::sleep(watch).await;
    idle.server_cpu_ms_per_s_before = nobody.done().cpu_ms_per_s;
    let before = resident(cell, SERVER);
    let name = format!("idle-{}", kind.word());
    let started = Instant::now();
    start(cell, kind, count, &name).await?;
    idle.connecting_seconds = started.elapsed().as_secs_f64();
    tokio::time::sleep(SCALE_SETTLE).await;
    let (server, peers) = (Watch::start(cell, SERVER), Watch::start(cell, &name));
    tokio::time::sleep(watch).await;
    (idle.server_cpu_ms_per_s, idle.peers_cpu_ms_per_s) =
        (server.done().cpu_ms_per_s, peers.done().cpu_ms_per_s);
    idle.server_bytes = resident(cell, SERVER).saturating_sub(before);
    idle.peers_bytes = resident(cell, &name);
    stop(cell, &name).await?;
    progress.done(&format!("{count} connected in {:.1} s", idle.connecting_seconds));
    Ok(idle)
}

/// Starts so many, and waits until all of them are connected.
pub(super) async fn start(
    cell: &mut LocalCell,
    kind: PeerKind,
    count: u32,
    name: &str,
) -> Result<(), Failure> {
    let (role, identity) = kind.identity();
    cell.issue(role, identity)?;
    let count = count.to_string();
    let args = ["scale-peers", kind.word(), &count, "--name", identity];
    Ok(cell.start_peer(name, &args, SCALE_WAIT).await?)
}

/// Stops them.
pub(super) async fn stop(cell: &mut LocalCell, name: &str) -> Result<(), Failure> {
    cell.processes.ask_to_stop(name).map_err(LocalCellError::from)?;
    cell.processes.wait(name).await.map_err(LocalCellError::from)?;
    Ok(())
}
