//! The commented example that `ohm job init` prints: every field once, with its default.

/// The example, for a job of this name.
pub(crate) fn template(name: &str) -> String {
    TEMPLATE.replace("NAME", name)
}

const TEMPLATE: &str = r#"# A job of the Ohm cell scheduler. Fields behind a # are optional and shown with their default.
# Every field is described in docs/job-file.md.

name = "NAME"                    # unique in the cell
kind = "batch"                   # "batch": runs until done; "service": runs until stopped
# priority = 100                 # 0-99 free, 100-199 batch, 200-299 production, 300-399 monitoring
# team = "default"               # whose quota it counts against
# scheduler = "batch"            # which scheduler places it; default: the same word as kind

[[groups]]                       # a group of equal tasks; a job may have several
name = "main"
count = 1                        # how many tasks
# distinct_machines = false      # true: each on a machine with no other task of the job
# constraints = []               # "zone = eu-1", "zone != eu-1", "kernel > 500", "kernel < 600",
#                                # "gpu_model exists", "rack in [r1, r2]", "name ~ ^web"
# stop_grace = "10s"             # between SIGTERM and SIGKILL

[groups.run]
# driver = "exec"                # "exec": a process; "simulated": none (with run_for, exit_code)
command = "/bin/sh"              # absolute, or looked up in the agent's PATH
args = ["-c", "echo hello from task $OHM_GROUP.$OHM_INDEX of $OHM_JOB on $OHM_MACHINE; sleep 1"]
# env = { GREETING = "hello" }
# directory = "/srv"             # default: a fresh directory of the task's own
# log_size = "10 MiB"            # stdout and stderr are rotated at this size …
# log_files = 5                  # … and this many files of each are kept

[groups.resources]               # what each task is promised
cpu = "100m"                     # millicores, or cores: 0.5, 2
memory = "128 MiB"
# disk = 0                       # "10 GiB"
# gpu = 0                        # 0.25 of one device, or whole devices
# net = 0                        # Mbit/s, or "2 Gbit/s"

# [groups.restart]
# on = "failure"                 # "always", "failure" or "never"; services: "always"
# attempts = 3                   # services: 1000
# delay = "1s"                   # doubles with each restart, up to 64 times

# [groups.spread]
# attribute = "rack"             # spread over the values of this machine attribute
# max_per_value = 0              # the most tasks with one value; 0: as even as possible

# [[groups.artifacts]]             # fetched and checked before each start; may be given several times
# source = "https://example.org/app.tar.gz" # or a path that the machine's operator offers
# sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
# destination = "app"            # in the working directory; default: its file name
# mode = "644"                   # of a file that isn't unpacked
# unpack = "no"                  # "tar", "tar.gz"

# [[groups.secrets]]              # a file in /run/secrets that the machine's operator keeps for the team
# name = "db-password"
# file = "db-password"           # default: its name

# [[groups.ports]]
# name = "http"                  # the task reads its number from OHM_PORT_HTTP
# number = 8080                  # default: any free port of the machine's range
"#;
