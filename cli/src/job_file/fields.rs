//! The one table of all fields of a job file: what is accepted, and what docs/job-file.md and `ohm job init` say.

use cell_state::bounds;
use cell_state::job::isolation::PIDS_DEFAULT;

/// One field. A `{word}` in `takes` or `default` stands for one of the cell's bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// The table it belongs in, as its path is written; empty is the whole file.
    pub(super) table: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What it takes, with the unit.
    pub(super) takes: &'static str,
    /// Its default, or `required`.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) about: &'static str,
}

const fn field(
    table: &'static str,
    name: &'static str,
    takes: &'static str,
    default: &'static str,
    about: &'static str,
) -> Field {
    Field { table, name, takes, default, about }
}

/// Every field, in the order in which the documentation shows them.
#[rustfmt::skip]
const FIELDS: &[Field] = &[
    field("", "name", "text, 1 to {name} bytes", "required",
        "The job's name, unique in the cell. Submitting the name again makes a new version of the job."),
    field("", "kind", "`batch` or `service`", "`batch`",
        "`batch` runs until it is done, `service` until it is stopped. Decides the defaults of `priority`, `scheduler` and `restart`."),
    field("", "priority", "whole number, 0 to {priority}", "100 for batch, 200 for service",
        "Bands: 0-99 free, 100-199 batch, 200-299 production, 300-399 monitoring. Higher ones may preempt lower ones."),
    field("", "team", "text, 1 to {name} bytes", "`default`",
        "The team whose quota the job counts against."),
    field("", "scheduler", "text, 1 to {name} bytes", "same as `kind`",
        "The name of the scheduler that places the job's tasks; no other one will."),
    field("", "groups", "list of tables, 1 to {groups}", "required",
        "Groups of equal tasks: one `[[groups]]` table each. A later version may change and append groups, never remove or rename one."),

    field("groups[]", "name", "text, 1 to {name} bytes", "`main` when there is one group, else required",
        "The group's name, unique in the job."),
    field("groups[]", "count", "whole number, 0 to {tasks}", "1",
        "How many tasks the group has."),
    field("groups[]", "distinct_machines", "`true` or `false`", "`false`",
        "Whether each task must be on a machine with no other task of the job."),
    field("groups[]", "constraints", "list of texts, at most {constraints}", "none",
        "Conditions on the machine, all of which must hold; see Constraints."),
    field("groups[]", "stop_grace", "duration", "`10s`",
        "The time between the polite stop signal and the kill (SIGKILL)."),
    field("groups[]", "stop_signal", "`SIGTERM`, `SIGINT`, `SIGHUP`, `SIGQUIT`, `SIGUSR1` or `SIGUSR2`", "`SIGTERM`",
        "The polite stop signal, which goes to the task's process group. `exec` only, as all of these: `max_run`, `stop_after`, `lost_after`, `local_restart`, `health`, `pre_start`, `post_stop`."),
    field("groups[]", "max_run", "duration", "no limit",
        "How long the task may run, local restarts included. Then it is stopped, which counts as a failure whatever it exits with."),
    field("groups[]", "stop_after", "duration", "never",
        "How long the task goes on while the server answers its agent nothing. If this and `stop_grace` together are less than the server's `--down-after`, it never runs beside its replacement."),
    field("groups[]", "lost_after", "duration, or `never`", "the server's `--down-after`",
        "How long the server may hear nothing of the task's machine before the task is placed elsewhere; more than `--down-after`. A machine that is back before keeps the task. `never`: the task waits for its machine. A task that was asked to stop is given up with its machine."),
    field("groups[]", "local_restart", "table", "none",
        "Restarts on the same machine, before the end is reported and `restart` decides about another placement."),
    field("groups[]", "health", "table", "none",
        "How it is found out whether the task does its work; one that doesn't is stopped, which counts as a failure."),
    field("groups[]", "pre_start", "table", "none",
        "A command that runs before the task, as the task. If it fails, the task is not started and ends as the hook did."),
    field("groups[]", "post_stop", "table", "none",
        "A command that runs once nothing of the task is left, however it ended. When the task was asked to stop, it has what is left of `stop_grace`."),
    field("groups[]", "resources", "table", "the defaults of its fields",
        "What each task is promised."),
    field("groups[]", "spread", "table", "no spreading",
        "Spread the job over the values of a machine attribute."),
    field("groups[]", "ports", "list of tables, at most {ports}", "none",
        "Ports each task needs: one `[[groups.ports]]` table each."),
    field("groups[]", "restart", "table", "the defaults of its fields",
        "What follows the end of a task."),
    field("groups[]", "artifacts", "list of tables, at most {artifacts}", "none",
        "Files that are fetched and checked before each start: one `[[groups.artifacts]]` table each."),
    field("groups[]", "secrets", "list of tables, at most {secrets}", "none",
        "Files in memory that the machine's operator keeps for the job's team: one `[[groups.secrets]]` table each."),
    field("groups[]", "run", "table", "required",
        "What a task does."),
    field("groups[]", "isolation", "table", "the defaults of its fields",
        "How a task is kept apart from others, and within which bounds; see [isolation.md](isolation.md)."),

    field("groups[].resources", "cpu", "cores (`0.5`, `2`) or millicores (`\"500m\"`)", "`\"100m\"`",
        "Processor time."),
    field("groups[].resources", "memory", "bytes, or a text with a unit (`\"512 MiB\"`)", "`\"128 MiB\"`",
        "Memory."),
    field("groups[].resources", "disk", "bytes, or a text with a unit (`\"10 GiB\"`)", "0",
        "Disk space."),
    field("groups[].resources", "gpu", "devices (`1`, `0.25`) or thousandths (`\"250m\"`)", "0",
        "GPUs: a fraction of one device, or whole devices."),
    field("groups[].resources", "net", "Mbit/s, or a text with a unit (`\"2 Gbit/s\"`)", "0",
        "Network bandwidth."),

    field("groups[].spread", "attribute", "text, 1 to {attribute} bytes", "required",
        "The machine attribute that names the failure domain (`rack`, `zone`, …)."),
    field("groups[].spread", "max_per_value", "whole number", "0",
        "The most tasks of the job on machines with one value of it; 0 is as even as possible, without a limit."),

    field("groups[].ports[]", "name", "text, 1 to {name} bytes", "required",
        "The label: the task finds the number in its environment as `OHM_PORT_<NAME>`."),
    field("groups[].ports[]", "number", "whole number, 1 to 65535", "any free port of the machine's range",
        "A fixed port."),

    field("groups[].restart", "on", "`always`, `failure` or `never`", "`failure` for batch, `always` for service",
        "Which ends of a task are followed by another start. A failure is a non-zero exit code, a signal, or no start at all."),
    field("groups[].restart", "attempts", "whole number, 0 to {restarts}", "3 for batch, {restarts} for service",
        "How many restarts before the task counts as failed."),
    field("groups[].restart", "delay", "duration", "`1s`",
        "The time before the first restart; it doubles with each one, up to 64 times."),

    field("groups[].artifacts[]", "source", "absolute path, `http://…` or `https://…`", "required",
        "Where it is. A path is one of the machine's that its operator offers to tasks (`ohm agent --artifacts`)."),
    field("groups[].artifacts[]", "sha256", "64 hexadecimal digits", "required for `http` and `https`, else unchecked",
        "What its bytes must hash to."),
    field("groups[].artifacts[]", "destination", "relative path", "its file name; the working directory for archives",
        "Where it goes in the task's working directory: the file, or the directory that an archive is unpacked in."),
    field("groups[].artifacts[]", "mode", "octal text, `\"000\"` to `\"777\"`", "`\"644\"`",
        "The file's permissions. What is unpacked has those in the archive."),
    field("groups[].artifacts[]", "unpack", "`no`, `tar` or `tar.gz`", "`no`",
        "Whether it is an archive that is unpacked."),

    field("groups[].secrets[]", "name", "text, 1 to {name} bytes", "required",
        "What the operator calls it (`ohm agent --secrets`). The job says its name and never its value."),
    field("groups[].secrets[]", "file", "text, 1 to {name} bytes", "same as `name`",
        "What the task's file is called: `/run/secrets/FILE`, which only the task's user may read."),

    field("groups[].run", "driver", "`exec`, `oci` or `simulated`", "`exec`",
        "`exec` starts a process on the machine, `oci` one in a container (see [oci.md](oci.md)), `simulated` only pretends to (for studies and load tests)."),
    field("groups[].run", "rootfs", "path of a directory", "required for `oci`, unless there is a `bundle`",
        "`oci` only: the container's root file system. A relative path is below the task's own directory."),
    field("groups[].run", "bundle", "path of a directory", "none",
        "`oci` only, instead of `rootfs`: an OCI bundle, whose `config.json` says what to run as whom."),
    field("groups[].run", "command", "text", "required, unless a `bundle` says it",
        "The program: an absolute path, one relative to the working directory (`./app`), or a name looked up in `PATH` (the agent's, or the container's). See Templates."),
    field("groups[].run", "args", "list of texts, at most {args}", "none",
        "Its arguments. No shell reads them. See Templates."),
    field("groups[].run", "env", "table of texts, at most {args}", "none",
        "Its environment, on top of the `OHM_*` variables and the agent's `PATH`. See Templates."),
    field("groups[].run", "directory", "absolute path", "a fresh directory of the task's own",
        "Its working directory."),
    field("groups[].run", "log_size", "bytes, or a text with a unit", "`\"10 MiB\"`",
        "The size at which each of stdout and stderr is rotated."),
    field("groups[].run", "log_files", "whole number, 1 to 1000", "5",
        "How many files of each are kept, the current one included."),
    field("groups[].run", "log_age", "duration", "no age is too old",
        "The age at which a file of them is followed by the next, even if it isn't full."),
    field("groups[].run", "run_for", "duration", "runs until stopped",
        "`simulated` only: how long the task pretends to run."),
    field("groups[].run", "exit_code", "whole number, -2147483648 to 2147483647", "0",
        "`simulated` only: the exit code it then pretends."),

    field("groups[].isolation", "level", "`standard` or `none`", "`standard`",
        "`standard`: all that the machine can enforce. `none`: the machine's own files, processes, names and system calls; user and bounds remain."),
    field("groups[].isolation", "cpu_limit", "cores or millicores, at least `resources.cpu`", "none: a share in proportion to `resources.cpu`",
        "The most processor time the task gets, even when the machine is idle."),
    field("groups[].isolation", "memory_limit", "bytes, or a text with a unit, at least `resources.memory`", "`resources.memory`",
        "The memory beyond which the task is killed; its exit says so."),
    field("groups[].isolation", "pids", "whole number, 1 to {pids}", "{pids_default}",
        "The most processes and threads it may have at a time."),
    field("groups[].isolation", "io_weight", "whole number, 1 to 1000", "none",
        "Its weight against others when the disk is busy; 100 is the kernel's default."),
    field("groups[].isolation", "user", "a name, or `UID:GID`", "the agent's `--task-user`",
        "Who it runs as. `root` needs an agent with `--allow-privileged`."),
    field("groups[].isolation", "filesystem", "`private` or `host`", "`private` where the machine can",
        "`private`: the machine's files read-only, `/tmp`, `/dev` and `/run` of its own, and nothing of the agent or other tasks."),
    field("groups[].isolation", "processes", "`private` or `host`", "`private` where the machine can",
        "`private`: it sees and signals its own processes only."),
    field("groups[].isolation", "ipc", "`private` or `host`", "`private` where the machine can",
        "Shared memory, semaphores and message queues."),
    field("groups[].isolation", "hostname", "`private` or `host`", "`private` where the machine can",
        "`private`: its host name is the task's own, such as `web-main-0`."),
    field("groups[].isolation", "system_calls", "`filtered` or `all`", "`filtered` where the machine can",
        "`filtered`: what changes the machine (mounts, modules, clocks, namespaces, tracing of the kernel, …) fails."),
    field("groups[].isolation", "capabilities", "list of names", "none",
        "Capabilities it keeps, such as `net_bind_service`. Needs an agent with `--allow-privileged`."),
    field("groups[].isolation", "writable", "list of absolute paths, at most {writable}", "none",
        "Paths of the machine that stay writable in a private filesystem, as far as its user may."),
    field("groups[].isolation", "limits", "table", "the agent's own",
        "Limits of the kernel for each process."),

    field("groups[].isolation.limits", "open_files", "whole number", "the agent's own", "Files open at a time."),
    field("groups[].isolation.limits", "core_size", "bytes, or a text with a unit", "the agent's own", "Bytes of a core file."),
    field("groups[].isolation.limits", "file_size", "bytes, or a text with a unit", "the agent's own", "Bytes of a file it writes."),
    field("groups[].isolation.limits", "locked_memory", "bytes, or a text with a unit", "the agent's own", "Bytes of memory that is never paged out."),
    field("groups[].isolation.limits", "stack_size", "bytes, or a text with a unit", "the agent's own", "Bytes of a stack."),
    field("groups[].isolation.limits", "address_space", "bytes, or a text with a unit", "the agent's own", "Bytes of addresses. With less than 1.5 GiB nothing starts: whoever becomes the task needs that many."),

    field("groups[].health", "command", "text", "one of `command`, `tcp`, `http` is required",
        "A program that runs as the task does, in its directory; exit code 0 is healthy."),
    field("groups[].health", "args", "list of texts, at most {args}", "none",
        "Its arguments."),
    field("groups[].health", "tcp", "the name of a port of the group", "none",
        "Healthy when a connection to the port on the machine itself (127.0.0.1) is accepted."),
    field("groups[].health", "http", "the name of a port of the group", "none",
        "Healthy when a GET of `path` on that port is answered with a status from 200 to 399."),
    field("groups[].health", "path", "text", "`/`",
        "The path for `http`."),
    field("groups[].health", "every", "duration", "`10s`",
        "The time between two checks."),
    field("groups[].health", "timeout", "duration", "`5s`",
        "The time after which a check has failed."),
    field("groups[].health", "failures", "whole number, 1 to 1000", "3",
        "Failures in a row after which the task is stopped."),
    field("groups[].health", "start_grace", "duration", "`10s`",
        "The time from each start in which failures do not count."),

    field("groups[].local_restart", "on", "`failure` or `always`", "`failure`",
        "Which ends are followed by another start on the same machine."),
    field("groups[].local_restart", "attempts", "whole number, 0 to {restarts}", "3",
        "How many, before the end is reported."),
    field("groups[].local_restart", "delay", "duration", "`1s`",
        "The time before the first one; it doubles with each, up to 64 times."),

    field("groups[].pre_start", "command", "text", "required", "The program."),
    field("groups[].pre_start", "args", "list of texts, at most {args}", "none", "Its arguments."),
    field("groups[].pre_start", "timeout", "duration", "`1m`", "The time after which it is stopped, and has failed."),

    field("groups[].post_stop", "command", "text", "required", "The program."),
    field("groups[].post_stop", "args", "list of texts, at most {args}", "none", "Its arguments."),
    field("groups[].post_stop", "timeout", "duration", "`1m`", "The time after which it is stopped."),
];

/// Every field of a file of machine shapes.
#[rustfmt::skip]
const SHAPE_FIELDS: &[Field] = &[
    field("shapes file", "shapes", "list of tables", "required", "Shapes of machines: one `[[shapes]]` table each."),
    field("shapes[]", "count", "whole number, 1 to 1000000", "required", "How many machines have this shape."),
    field("shapes[]", "cpu", "cores", "required", "Processor time."),
    field("shapes[]", "memory", "bytes, or a text with a unit", "required", "Memory."),
    field("shapes[]", "disk", "bytes, or a text with a unit", "0", "Disk space."),
    field("shapes[]", "gpu", "devices", "0", "Whole GPUs."),
    field("shapes[]", "net", "Mbit/s, or a text with a unit", "0", "Network bandwidth."),
    field("shapes[]", "attributes", "table of texts", "none", "Attributes of the machines."),
];

fn all() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().chain(SHAPE_FIELDS)
}

/// The names of the fields of a table.
pub(super) fn known(table: &str) -> impl Iterator<Item = &'static str> {
    all().filter(move |f| f.table == table).map(|f| f.name)
}

/// Another table that has a field of this name.
pub(super) fn elsewhere(table: &str, name: &str) -> Option<&'static str> {
    FIELDS.iter().find(|f| f.table != table && f.name == name).map(|f| f.table)
}

/// All fields as Markdown, one table of fields per table of the file: the reference part of docs/job-file.md.
pub(crate) fn reference() -> String {
    let mut out = String::new();
    let mut table = None;
    for field in FIELDS {
        if table != Some(field.table) {
            let title = if field.table.is_empty() {
                "The top of the file".to_owned()
            } else {
                format!("`{}`", header(field.table))
            };
            if table.is_some() {
                out.push('\n');
            }
            out.push_str(&format!(
                "### {title}\n\n| field | takes | default | meaning |\n|---|---|---|---|\n"
            ));
            table = Some(field.table);
        }
        let Field { name, takes, default, about, .. } = field;
        out.push_str(&format!("| `{name}` | {takes} | {default} | {about} |\n"));
    }
    with_bounds(out)
}

/// Fills in the bounds of the cell, which are defined elsewhere.
fn with_bounds(text: String) -> String {
    let bounds: [(&str, u64); 14] = [
        ("{name}", bounds::NAME_BYTES_MAX as u64),
        ("{attribute}", bounds::ATTRIBUTE_BYTES_MAX as u64),
        ("{priority}", bounds::PRIORITY_MAX.into()),
        ("{groups}", bounds::JOB_GROUPS_MAX as u64),
        ("{tasks}", bounds::GROUP_TASKS_MAX.into()),
        ("{constraints}", bounds::CONSTRAINTS_MAX as u64),
        ("{ports}", bounds::PORTS_MAX as u64),
        ("{args}", bounds::ARGS_MAX as u64),
        ("{artifacts}", bounds::ARTIFACTS_MAX as u64),
        ("{secrets}", bounds::SECRETS_MAX as u64),
        ("{restarts}", bounds::RESTARTS_MAX.into()),
        ("{pids}", bounds::TASK_PIDS_MAX.into()),
        ("{pids_default}", PIDS_DEFAULT.into()),
        ("{writable}", bounds::WRITABLE_PATHS_MAX as u64),
    ];
    bounds.iter().fold(text, |text, (token, bound)| text.replace(token, &bound.to_string()))
}

/// How a table is begun in TOML.
pub(super) fn header(table: &str) -> String {
    match table.strip_suffix("[]") {
        Some(list) => format!("[[{}]]", list.replace("[]", "")),
        None => format!("[{}]", table.replace("[]", "")),
    }
}
