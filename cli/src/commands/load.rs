//! `ohm load`: loads a running cell, or one of its own, and says how much it bears.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use study::load::{self, Axis, Measured, Parties, Progress, Proposing, Settings, settings};
use tempfile::TempDir;
use transport::Role;
use transport_quic::pki::{Authority, Credentials};

use super::{load_report, shutdown};
use crate::bounds::LOAD_SWEEP_MAX;
use crate::connection::{address, pki_dir};
use crate::demo::DemoError;
use crate::demo::progress::Progress as Bar;
use crate::failure::{Ended, Failure};
use crate::local_cell::{LocalCell, LocalCellError, OPERATOR, SERVER};
use crate::show::say;
use crate::typed::connect::Format;
use crate::typed::load::LoadArgs;

/// What the names of everything the load makes begin with.
const PREFIX: &str = "load-";

/// What was asked for, checked.
pub(crate) struct Load {
    target: Target,
    /// The loads, each with its value on the axis of a sweep.
    loads: Vec<(Option<String>, Settings)>,
    axis: Option<Axis>,
    format: Format,
}

/// Which cell is loaded.
enum Target {
    /// A fresh one, in a temporary directory below this one.
    Own(PathBuf),
    /// A running one, with the directory of its authority.
    Running(std::net::SocketAddr, PathBuf),
}

impl Load {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing that can't be meant.
    pub(crate) fn check(args: LoadArgs) -> Result<Load, Failure> {
        let settings = settings_of(&args).map_err(Failure::Input)?;
        let (axis, loads) = match &args.sweep {
            None => (None, vec![(None, settings)]),
            Some(sweep) => {
                let (axis, loads) =
                    sweep_of(sweep, &settings).map_err(|e| Failure::Input(format!("--sweep: {e}")))?;
                (Some(axis), loads)
            }
        };
        let is_blind = |settings: &Settings| settings.proposing == Proposing::Blind;
        if !args.own && !loads.iter().all(|(_, settings)| is_blind(settings)) {
            // It would place the load's tasks on machines of others as well.
            return Err(Failure::Input(
                "--policy: a policy sees all machines of a cell; use --self".to_owned(),
            ));
        }
        let target = if args.own {
            Target::Own(args.dir.unwrap_or_else(std::env::temp_dir))
        } else {
            let pki = pki_dir(args.pki.as_deref())?;
            if !pki.join("ca.key").exists() {
                let problem = format!(
                    "{} holds no authority (ca.key); a load issues certificates of its own. \
                     `ohm load --self` needs none",
                    pki.display()
                );
                return Err(Failure::Input(format!("--pki: {problem}")));
            }
            Target::Running(address("--server", &args.server)?, pki)
        };
        Ok(Load { target, loads, axis, format: args.output.output })
    }
}

fn settings_of(args: &LoadArgs) -> Result<Settings, String> {
    let time = |flag: &str, text: &str| {
        humantime::parse_duration(text)
            .map_err(|e| format!("--{flag}: {text:?}: {e}; write 500ms, 10s or 2m"))
    };
    let settings = Settings {
        schedulers: args.schedulers,
        in_flight: args.in_flight,
        ops: args.ops,
        machines: args.machines,
        tasks: args.tasks,
        proposing: args.policy.parse().map_err(|e| format!("--policy: {e}"))?,
        rate: args.rate,
        skew: args.skew.parse().map_err(|e| format!("--skew: {e}"))?,
        detection: settings::detection(&args.detection)?,
        atomicity: settings::atomicity(&args.atomicity)?,
        hold: if args.hold == "never" { None } else { Some(time("hold", &args.hold)?) },
        copies: args.copies,
        warm_up: time("warm-up", &args.warm_up)?,
        duration: time("duration", &args.duration)?,
        seed: args.seed,
    };
    settings.check()?;
    Ok(settings)
}

type Loads = Vec<(Option<String>, Settings)>;

fn sweep_of(text: &str, settings: &Settings) -> Result<(Axis, Loads), String> {
    let (axis, values) =
        text.split_once('=').ok_or_else(|| format!("{text:?}: write AXIS=A,B,C, such as ops=1,10,100"))?;
    let axis: Axis = axis.parse()?;
    let values: Vec<&str> = values.split(',').collect();
    if values.len() > LOAD_SWEEP_MAX {
        return Err(format!("{} values; expected at most {LOAD_SWEEP_MAX}", values.len()));
    }
    let load = |value: &&str| Ok((Some((*value).to_owned()), settings.with(axis, value)?));
    Ok((axis, values.iter().map(load).collect::<Result<Loads, String>>()?))
}

/// Loads the cell, once for each value of a sweep.
///
/// # Errors
/// The cell could not be started or reached, or was lost on the way.
pub(crate) async fn run(load: Load) -> Result<Ended, Failure> {
    let mut found = Vec::new();
    for (value, settings) in &load.loads {
        if std::io::stderr().is_terminal()
            && let Some((axis, value)) = load.axis.zip(value.as_ref())
        {
            say(&format!("{} = {value}", axis.word()));
        }
        found.push((value.clone(), settings, one(&load.target, settings).await?));
    }
    let mut sound = true;
    for problem in found.iter().flat_map(|(_, _, measured)| measured.problems()) {
        sound = false;
        say(&format!("ohm: {problem}"));
    }
    match load.axis {
        None => {
            let (_, settings, measured) = &found[0];
            load_report::one(settings, measured, load.format)?;
        }
        Some(axis) => load_report::sweep(axis, &found, load.format)?,
    }
    Ok(if sound { Ended::Well } else { Ended::Unsound })
}

async fn one(target: &Target, settings: &Settings) -> Result<Measured, Failure> {
    match target {
        Target::Own(dir) => own(dir, settings).await,
        Target::Running(server, pki) => {
            let scratch = scratch(&std::env::temp_dir())?;
            let certificates = Certificates { authority: Authority::load(pki)?, dir: scratch.path() };
            let parties = certificates.parties(*server, settings, None)?;
            let measured = measure(settings, parties.clone()).await;
            if measured.is_err()
                && let Err(error) = load::stop_jobs(&parties).await
            {
                say(&format!("ohm: jobs of the load are left in the cell: {error}"));
            }
            measured
        }
    }
}

/// Loads a cell of its own, and stops and removes it, whatever happens.
async fn own(dir: &Path, settings: &Settings) -> Result<Measured, Failure> {
    let scratch = scratch(dir)?;
    let mut cell = LocalCell::create(std::env::current_exe()?, scratch.path(), "load")?;
    let stop = shutdown::asked(false)?;
    let measured = tokio::select! {
        measured = own_in(&mut cell, settings) => measured,
        () = stop => Err(DemoError::Interrupted.into()),
    };
    cell.processes.stop_all().await;
    measured
}

async fn own_in(cell: &mut LocalCell, settings: &Settings) -> Result<Measured, Failure> {
    let server = cell.start_server(([127, 0, 0, 1], 0).into(), &[]).await?;
    let pki = cell.pki();
    let certificates = Certificates { authority: Authority::load(&pki)?, dir: &pki };
    let process = cell.processes.pid(SERVER).map(|pid| (pid, cell.dir().join("server")));
    measure(settings, certificates.parties(server, settings, process)?).await
}

fn scratch(dir: &Path) -> Result<TempDir, Failure> {
    tempfile::Builder::new().prefix("ohm-load-").tempdir_in(dir).map_err(|e| Failure::write(dir, e))
}

/// Loads the cell and shows how far it is.
async fn measure(settings: &Settings, parties: Parties) -> Result<Measured, Failure> {
    let whole = (settings.warm_up + settings.duration).as_millis() as u64;
    // Whoever reads this with a program wants the result alone.
    let bar = std::io::stderr().is_terminal().then(|| Bar::new("load (ms)", whole));
    let show = |position, message| bar.iter().for_each(|bar| bar.at(position, String::clone(&message)));
    let mut tell = |progress| match progress {
        Progress::Registered(machines) => show(0, format!("{machines} machines")),
        Progress::Running(placed, elapsed) => {
            let rate = placed as f64 / elapsed.as_secs_f64().max(0.001);
            show(elapsed.as_millis() as u64, format!("{placed} placements, {rate:.0}/s"));
        }
        Progress::Limits => show(whole, "measuring the limits of this machine".to_owned()),
    };
    let stop = shutdown::asked(false)?;
    let measured = tokio::select! {
        measured = load::run(settings, &parties, &mut tell) => measured.map_err(Failure::from),
        () = stop => Err(DemoError::Interrupted.into()),
    };
    if let (Ok(measured), Some(bar)) = (&measured, bar) {
        bar.done(&format!("{} placements in {:.1} s", measured.counts.placed, measured.seconds));
    }
    measured
}

/// Issues the certificates of everybody who takes part.
struct Certificates<'a> {
    authority: Authority,
    dir: &'a Path,
}

impl Certificates<'_> {
    fn issue(&self, role: Role, name: &str) -> Result<Credentials, LocalCellError> {
        if !self.dir.join(format!("{role}-{name}.key")).exists() {
            self.authority.issue(role, name, self.dir)?;
        }
        Ok(Credentials::load(self.dir, role, name)?)
    }

    fn parties(
        &self,
        server: std::net::SocketAddr,
        settings: &Settings,
        process: Option<(u32, PathBuf)>,
    ) -> Result<Parties, LocalCellError> {
        let named = |number: u32| self.issue(Role::Scheduler, &format!("{PREFIX}{number}"));
        Ok(Parties {
            server,
            operator: self.issue(Role::Operator, OPERATOR)?,
            reader: self.issue(Role::Reader, PREFIX.trim_end_matches('-'))?,
            agent: self.issue(Role::Agent, &format!("{PREFIX}*"))?,
            prefix: PREFIX.to_owned(),
            schedulers: (0..settings.schedulers).map(named).collect::<Result<_, _>>()?,
            echo: self.issue(Role::Server, SERVER)?,
            process,
            instance: instance(),
        })
    }
}

/// A number that no other run has: the time, in nanoseconds.
pub(super) fn instance() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use cell_state::bounds::RESTARTS_MAX;
    use clap::Parser;

    use super::*;
    use crate::typed::{Cli, Command};

    fn check(args: &[&str]) -> Result<Load, String> {
        let typed = ["ohm", "load", "--self"].iter().chain(args);
        match Cli::try_parse_from(typed).map_err(|e| e.to_string())?.command {
            Command::Load(args) => Load::check(args.load).map_err(|e| e.told()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sweep_is_one_load_per_value() {
        let load = check(&["--sweep", "ops=1,10,100"]).unwrap();
        assert_eq!(load.loads.iter().map(|(_, s)| s.ops).collect::<Vec<_>>(), [1, 10, 100]);
        assert!(check(&["--sweep", "ops=1,x"]).is_err_and(|e| e.starts_with("--sweep: \"x\"")));
        assert!(
            check(&["--sweep", "colour=1"]).is_err_and(|e| e.starts_with("--sweep: \"colour\" is no axis"))
        );
        assert!(check(&["--sweep", "ops"]).is_err_and(|e| e.contains("write AXIS=A,B,C")));
    }

    #[test]
    fn mistakes_name_their_flag() {
        assert!(check(&["--skew", "zipf"]).is_err_and(|e| e.starts_with("--skew: \"zipf\" is no skew")));
        assert!(check(&["--hold", "soon"]).is_err_and(|e| e.starts_with("--hold: \"soon\"")));
        assert!(check(&["--hold", "1ms"]).is_err_and(|e| e.contains(&RESTARTS_MAX.to_string())));
        assert!(
            check(&["--policy", "best"]).is_err_and(|e| e.starts_with("--policy: \"best\" is no policy"))
        );
        assert!(check(&["--policy", "batch", "--rate", "9"]).is_err_and(|e| e.starts_with("--policy")));
        assert!(check(&["--schedulers", "0"]).is_err_and(|e| e.starts_with("--schedulers: 0")));
        assert!(check(&["--hold", "never"]).is_ok_and(|load| load.loads[0].1.hold.is_none()));
    }
}
