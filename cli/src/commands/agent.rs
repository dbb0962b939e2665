//! `ohm agent`: offer this machine to the cell, or play many machines.

mod given;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_host::{AgentConfig, GivenSettings, IsolationSettings, Machines};
use cell_state::bounds::MACHINES_MAX;
use cell_state::endpoint::ADDRESS_ATTRIBUTE;
use cell_state::machine::MachineSpec;
use cell_state::resources::Schema;
use cell_state::{Dimension, Resources, validate};
use transport::{Reply, Request, Role};
use transport_quic::Client;
use transport_quic::pki::Credentials;

use super::{logging, shutdown};
use crate::bounds::USAGE_EVERY_MIN;
use crate::connection::{address, pki_dir};
use crate::failure::{Ended, Failure, told};
use crate::job_file::{self, Amount, Document, Shape, Syntax, amount};
use crate::stray_tasks;
use crate::typed::connect::LogArgs;
use crate::typed::roles::AgentArgs;

/// What a simulated machine has when nothing is said: a common server.
const SIMULATED: Resources = Resources([32_000, 128 << 30, 1 << 40, 0, 10_000, 0, 0, 0]);

/// Simulated machines per rack, and racks per zone.
const RACK_MACHINES: u32 = 40;
const ZONE_RACKS: u32 = 25;

/// An agent to run, checked.
pub(crate) struct Agent {
    server: SocketAddr,
    credentials: Credentials,
    data: PathBuf,
    machines: Machines,
    isolation: IsolationSettings,
    given: GivenSettings,
    /// Amounts of resources whose names only the cell knows.
    further: Vec<String>,
    stop_with_stdin: bool,
    usage_every: Option<Duration>,
    simulated_usage: Option<u32>,
    dns: Option<SocketAddr>,
    log: LogArgs,
}

impl Agent {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: AgentArgs) -> Result<Agent, Failure> {
        let pki = pki_dir(args.connect.pki.as_deref())?;
        let server = address("--server", &args.connect.server)?;
        let (name, machines) = match args.simulate {
            None if args.shapes.is_some() => {
                return Err(Failure::Input("--shapes: only with --simulate N".to_owned()));
            }
            None => {
                let name = args.name.clone().unwrap_or_else(host_name);
                let mut spec = real(&args, name.clone())?;
                if let Some(address) = args.address.or_else(|| own_address(server)) {
                    spec.attributes.entry(ADDRESS_ATTRIBUTE.to_owned()).or_insert(address.to_string());
                }
                (name, Machines::Real(spec))
            }
            Some(count) => {
                let name = args.name.clone().unwrap_or_else(|| format!("{}*", args.prefix));
                let specs = simulated(&args, count)?;
                (name, Machines::Simulated { prefix: args.prefix.clone(), specs })
            }
        };
        let isolation = isolation(&args)?;
        let given = given::given(&args)?;
        let credentials = Credentials::load(&pki, Role::Agent, &name)?;
        // Shims and tasks have working directories of their own.
        let data = std::path::absolute(&args.data).map_err(|e| Failure::read(&args.data, e))?;
        let (further, stop_with_stdin) = (args.resource, args.connect.stop_with_stdin);
        Ok(Agent {
            server,
            credentials,
            data,
            machines,
            isolation,
            given,
            further,
            stop_with_stdin,
            usage_every: usage_every(&args.usage_every)?,
            simulated_usage: args.usage,
            dns: args.dns,
            log: args.log,
        })
    }
}

/// The address of this machine from which the server is reached. Nothing is sent to find out.
fn own_address(server: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// How often to sample; `None` is never.
fn usage_every(written: &str) -> Result<Option<Duration>, Failure> {
    if written == "never" {
        return Ok(None);
    }
    let wrong = |problem: String| {
        Failure::Input(format!("--usage-every: {written:?} {problem}; write 5s, 1m, or never"))
    };
    let every =
        humantime::parse_duration(written).map_err(|error| wrong(format!("is no duration ({error})")))?;
    match every < USAGE_EVERY_MIN {
        true => Err(wrong(format!("is less than {}", humantime::format_duration(USAGE_EVERY_MIN)))),
        false => Ok(Some(every)),
    }
}

/// Runs the agent until it is asked to stop.
///
/// # Errors
/// It can't start.
pub(crate) fn run(agent: Agent) -> Result<Ended, Failure> {
    logging::start(&agent.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, orphaned) = shutdown::asked_or_orphaned(agent.stop_with_stdin)?;
        let mut machines = agent.machines;
        if !agent.further.is_empty() {
            let schema = schema(agent.server, &agent.credentials).await?;
            let specs = match &mut machines {
                Machines::Real(spec) => std::slice::from_mut(spec),
                Machines::Simulated { specs, .. } => specs.as_mut_slice(),
            };
            for spec in specs {
                spec.capacity = named_amounts(spec.capacity, &agent.further, &schema)?;
            }
        }
        let data = agent.data.clone();
        let mut config = AgentConfig::new(agent.server, agent.credentials, agent.data, machines);
        config.isolation = agent.isolation;
        config.given = agent.given;
        config.dns = agent.dns;
        (config.usage_every, config.simulated_usage) = (agent.usage_every, agent.simulated_usage);
        agent_host::run(config, stop).await?;
        if orphaned.load(Ordering::Acquire) {
            // The cell was for trying, and whoever tried it was killed: nobody will ever come back for the tasks.
            stray_tasks::kill(&data).await;
        }
        Ok(Ended::Well)
    })
}

/// The names of the cell's resources.
async fn schema(server: SocketAddr, credentials: &Credentials) -> Result<Schema, Failure> {
    let unreachable = |reason: String| Failure::Unreachable { server: server.to_string(), reason };
    let client = Client::connect(server, credentials).await.map_err(|e| unreachable(told(&e)))?;
    let status = match client.call(Request::Status).await? {
        Reply::Status(status) => status,
        _ => return Err(Failure::Answer("a status")),
    };
    client.close("the names of resources are known");
    Ok(status.config.schema)
}

/// What this machine has.
pub(crate) struct ThisMachine {
    pub(crate) cpu_milli: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
}

/// Looks at this machine; `dir` is on the disk whose free space counts.
pub(crate) fn this_machine(dir: &Path) -> ThisMachine {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kilobytes: u64 = total.and_then(|digits| digits.trim().parse().ok()).unwrap_or(0);
    // The data directory may not exist yet: then the nearest one above it says.
    let free = dir
        .ancestors()
        .find_map(|d| rustix::fs::statvfs(if d.as_os_str().is_empty() { Path::new(".") } else { d }).ok());
    ThisMachine {
        cpu_milli: cores * 1_000,
        memory_bytes: kilobytes << 10,
        disk_bytes: free.map_or(0, |f| f.f_bavail.saturating_mul(f.f_frsize)),
    }
}

fn isolation(args: &AgentArgs) -> Result<IsolationSettings, Failure> {
    let by_default = match args.isolation.as_str() {
        "standard" => true,
        "none" => false,
        other => {
            return Err(Failure::Input(format!(
                "--isolation: {other:?} is no level; write standard or none"
            )));
        }
    };
    let cgroup = PathBuf::from(args.cgroup.trim_matches('/'));
    if args.cgroup.split('/').any(|part| part == "..") {
        return Err(Failure::Input(format!(
            "--cgroup: {:?} leads out of the hierarchy; remove \"..\"",
            args.cgroup
        )));
    }
    let (task_user, allow_privileged) = (args.task_user.clone(), args.allow_privileged);
    Ok(IsolationSettings { by_default, task_user, allow_privileged, cgroup })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What this machine says of itself without being told.
fn own_attributes() -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    BTreeMap::from([
        ("os".to_owned(), std::env::consts::OS.to_owned()),
        ("arch".to_owned(), std::env::consts::ARCH.to_owned()),
        // As one number, so that constraints can compare: 6.12 is 612.
        ("kernel".to_owned(), (major * 100 + minor.min(99)).to_string()),
    ])
}

fn real(args: &AgentArgs, name: String) -> Result<MachineSpec, Failure> {
    let own = this_machine(&args.data);
    let whole = Resources::cpu_memory(own.cpu_milli, own.memory_bytes).with(Dimension::DISK, own.disk_bytes);
    let capacity = capacity(args, whole)?;
    let mut attributes = own_attributes();
    attributes.extend(given_attributes(args)?);
    machine(name, capacity, attributes, args)
}

/// The machines one process plays.
fn simulated(args: &AgentArgs, count: u32) -> Result<Vec<MachineSpec>, Failure> {
    if count == 0 || count as usize > MACHINES_MAX {
        return Err(Failure::Input(format!("--simulate: {count} machines; write 1 to {MACHINES_MAX}")));
    }
    let shapes = match &args.shapes {
        Some(path) => read_shapes(path)?,
        None => vec![Shape { count, capacity: capacity(args, SIMULATED)?, attributes: BTreeMap::new() }],
    };
    let given = given_attributes(args)?;
    let mut specs = Vec::with_capacity(count as usize);
    for (i, shape) in deal(&shapes, count).into_iter().enumerate() {
        let i = i as u32;
        let mut attributes = BTreeMap::from([
            ("rack".to_owned(), format!("r{}", i / RACK_MACHINES)),
            ("zone".to_owned(), format!("z{}", i / (RACK_MACHINES * ZONE_RACKS))),
        ]);
        attributes.extend(shapes[shape].attributes.clone());
        attributes.extend(given.clone());
        specs.push(machine(format!("{}{i}", args.prefix), shapes[shape].capacity, attributes, args)?);
    }
    Ok(specs)
}

fn read_shapes(path: &PathBuf) -> Result<Vec<Shape>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::read(path, e))?;
    let name = path.display().to_string();
    let document = Document::parse(&text, Syntax::of(&name, &text)).and_then(|d| job_file::shapes(&d));
    document.map_err(|error| Failure::JobFile { file: name, error })
}

/// Which shape each of `count` machines has: in the shapes' proportions, mixed, so that no rack is of one shape only.
fn deal(shapes: &[Shape], count: u32) -> Vec<usize> {
    let whole: u64 = shapes.iter().map(|s| u64::from(s.count)).sum();
    let mut given = vec![0u64; shapes.len()];
    (1..=u64::from(count))
        .map(|i| {
            // The shape that is furthest behind its share of the first `i` machines.
            let behind = |s: &usize| {
                let due = u128::from(shapes[*s].count) * u128::from(i);
                due as i128 - (u128::from(given[*s]) * u128::from(whole)) as i128
            };
            let next = (0..shapes.len()).max_by_key(|s| (behind(s), usize::MAX - s)).unwrap_or(0);
            given[next] += 1;
            next
        })
        .collect()
}

/// The capacity that flags ask for, and `otherwise` where they don't.
fn capacity(args: &AgentArgs, otherwise: Resources) -> Result<Resources, Failure> {
    let flags = [
        ("--cpu", Dimension::CPU, &args.cpu),
        ("--memory", Dimension::MEMORY, &args.memory),
        ("--disk", Dimension::DISK, &args.disk),
    ];
    let mut capacity = otherwise;
    for (flag, dimension, written) in flags {
        let Some(written) = written else { continue };
        let value = amount(dimension, Amount::Text(written));
        let value = value.map_err(|problem| Failure::Input(format!("{flag}: {problem}")))?;
        capacity = capacity.with(dimension, value);
    }
    if let Some(net) = args.net {
        capacity = capacity.with(Dimension::NET, net);
    }
    Ok(capacity.with(Dimension::GPU, 1_000 * args.gpu.len() as u64))
}

fn machine(
    name: String,
    capacity: Resources,
    attributes: BTreeMap<String, String>,
    args: &AgentArgs,
) -> Result<MachineSpec, Failure> {
    let devices = match capacity.get(Dimension::GPU) / 1_000 {
        n if n as usize == args.gpu.len() => args.gpu.clone(),
        n => (0..n).map(|i| format!("gpu{i}")).collect(),
    };
    let spec = MachineSpec { name, capacity, attributes, devices, ports: ports(&args.ports)? };
    validate::machine(&spec, &Schema::default())
        .map_err(|rejection| Failure::Input(rejection.to_string()))?;
    Ok(spec)
}

fn given_attributes(args: &AgentArgs) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |written: &String| {
        let (key, value) = written.split_once('=').ok_or_else(|| {
            Failure::Input(format!("--attribute: {written:?} is no KEY=VALUE, such as rack=r1"))
        })?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    args.attribute.iter().map(pair).collect()
}

fn ports(written: &str) -> Result<(u16, u16), Failure> {
    let parse = || {
        let (first, last) = written.split_once('-')?;
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first > 0 && first <= last).then_some((first, last))
    };
    parse().ok_or_else(|| {
        Failure::Input(format!("--ports: {written:?} is no range; write FIRST-LAST, such as 20000-31999"))
    })
}

/// Adds `NAME=AMOUNT` flags to amounts.
///
/// # Errors
/// A name that the schema doesn't have, or an amount that is none.
pub(crate) fn named_amounts(
    mut amounts: Resources,
    flags: &[String],
    schema: &Schema,
) -> Result<Resources, Failure> {
    for written in flags {
        let wrong = |problem: String| Failure::Input(format!("--resource: {written:?} {problem}"));
        let (name, value) =
            written.split_once('=').ok_or_else(|| wrong("is no NAME=AMOUNT, such as fpga=2".to_owned()))?;
        let dimension = schema.dimension(name.trim()).ok_or_else(|| {
            let known: Vec<String> = schema.named().map(|d| schema.name(d)).collect();
            wrong(format!("names no resource of this cell; it has {}", known.join(", ")))
        })?;
        let value = amount(dimension, Amount::Text(value.trim()))
            .map_err(|problem| wrong(format!("is wrong: {problem}")))?;
        amounts = amounts.with(dimension, value);
    }
    Ok(amounts)
}
