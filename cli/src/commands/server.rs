//! `ohm server run` and `ohm server verify`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cell_server::ServerConfig;
use cell_state::event::CellConfig;
use cell_state::resources::{Overcommit, Schema};
use cell_state::validate;
use transport::Role;
use transport_quic::pki::Credentials;

use super::{logging, shutdown};
use crate::connection::{address, pki_dir};
use crate::failure::{Ended, Failure, told};
use crate::job_file::{Amount, bytes, duration_us};
use crate::show;
use crate::typed::connect::LogArgs;
use crate::typed::roles::{ServerRunArgs, ServerVerifyArgs};

/// A server to run, checked.
pub(crate) struct Server {
    config: ServerConfig,
    ready_file: Option<PathBuf>,
    stop_with_stdin: bool,
    log: LogArgs,
}

impl Server {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: ServerRunArgs) -> Result<Server, Failure> {
        let pki = pki_dir(args.pki.as_deref())?;
        let listen = address("--listen", &args.listen)?;
        let credentials = Credentials::load(&pki, Role::Server, &args.name)?;
        let cell = settings(&args, &credentials.identity().cell)?;
        let data = args
            .data
            .ok_or_else(|| Failure::Input("--data: missing; give --data DIR or OHM_DATA".to_owned()))?;
        let mut config = ServerConfig::new(data, listen, credentials);
        config.cell = cell;
        config.down_after = duration("--down-after", &args.down_after)?;
        config.checkpoint_every = duration("--checkpoint-every", &args.checkpoint_every)?;
        config.retain_jobs = duration("--retain-jobs", &args.retain_jobs)?;
        config.retain_log_bytes = bytes(Amount::Text(&args.retain_log))
            .map_err(|problem| Failure::Input(format!("--retain-log: {problem}")))?;
        Ok(Server {
            config,
            ready_file: args.ready_file,
            stop_with_stdin: args.stop_with_stdin,
            log: args.log,
        })
    }
}

/// A duration flag.
///
/// # Errors
/// It is no duration.
pub(crate) fn duration(flag: &str, text: &str) -> Result<Duration, Failure> {
    let micros = duration_us(Amount::Text(text));
    micros.map(Duration::from_micros).map_err(|problem| Failure::Input(format!("{flag}: {problem}")))
}

/// The settings of the cell that flags ask for; without any, those in the data directory stay.
fn settings(args: &ServerRunArgs, cell: &str) -> Result<Option<CellConfig>, Failure> {
    if args.overcommit.is_empty() && args.resource.is_empty() {
        return Ok(None);
    }
    let schema = Schema { custom: args.resource.clone() };
    let mut overcommit = Overcommit::default();
    for written in &args.overcommit {
        let wrong = |problem: String| Failure::Input(format!("--overcommit: {written:?} {problem}"));
        let (name, percent) = written
            .split_once('=')
            .ok_or_else(|| wrong("is no RESOURCE=PERCENT, such as cpu=150".to_owned()))?;
        let known = || schema.named().map(|d| schema.name(d)).collect::<Vec<_>>().join(", ");
        let dimension = schema
            .dimension(name.trim())
            .ok_or_else(|| wrong(format!("names no resource of this cell; it has {}", known())))?;
        let percent = percent.trim().trim_end_matches('%').parse();
        overcommit.0[dimension.index()] =
            percent.map_err(|_| wrong("has no whole number of percent".to_owned()))?;
    }
    let config = CellConfig { name: cell.to_owned(), schema, overcommit };
    validate::config(&config)
        .map_err(|rejection| Failure::Input(format!("the cell's settings: {rejection}")))?;
    Ok(Some(config))
}

/// Runs the server until it is asked to stop.
///
/// # Errors
/// It can't start, or its log failed.
pub(crate) fn run(server: Server) -> Result<Ended, Failure> {
    logging::start(&server.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = shutdown::asked(server.stop_with_stdin)?;
        let ready_file = server.ready_file;
        cell_server::run(server.config, stop, move |address| announce(address, ready_file.as_deref()))
            .await?;
        Ok(Ended::Well)
    })
}

/// Says where the server listens: on standard output and, whole or not at all, in the ready file.
fn announce(address: SocketAddr, ready_file: Option<&Path>) {
    let mut out = std::io::stdout().lock();
    // A parent that closed our output isn't listening, and the server is wanted all the same.
    writeln!(out, "listening on {address}").and_then(|()| out.flush()).ok();
    let Some(path) = ready_file else { return };
    let draft = path.with_extension("draft");
    let written = std::fs::write(&draft, format!("{address}\n")).and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = written {
        tracing::error!(path = %path.display(), error = told(&error), "can't write the ready file");
    }
}

pub(crate) fn verify(args: &ServerVerifyArgs) -> Result<Ended, Failure> {
    let report = cell_server::verify(&args.dir)?;
    show::print(&report.to_string())?;
    Ok(if report.is_sound() { Ended::Well } else { Ended::Unsound })
}
