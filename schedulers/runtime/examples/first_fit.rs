//! A complete scheduler of its own: every task goes to the first machine with room, from a random one on.
//!
//! `cargo run -p scheduler-runtime --example first_fit -- 127.0.0.1:7447 ./pki first-fit` takes care of all jobs that say
//! `scheduler = "first-fit"`. The directory holds `ca.pem` and the pair `scheduler-first-fit.pem` and `.key`.

use std::error::Error;
use std::path::Path;

use cell_state::TaskId;
use scheduler_runtime::Config;
use schedulers::{Plan, Policy, Unfit};
use transport::Role;
use transport_quic::pki::Credentials;

struct FirstFit;

impl Policy for FirstFit {
    fn name(&self) -> &str {
        "first-fit"
    }

    fn plan(&mut self, plan: &mut Plan<'_>, tasks: &[TaskId]) {
        // Tasks of one group ask for the same: a machine that has no room for one has none for the next.
        for group in tasks.chunk_by(|a, b| a.group == b.group) {
            let mut machines = plan.machines();
            let mut machine = machines.next();
            let mut left = group.iter().peekable();
            while let (Some(task), Some(here)) = (left.peek(), machine) {
                match plan.place(**task, here.id) {
                    Ok(()) => drop(left.next()),
                    Err(Unfit::Conflict(_) | Unfit::Avoided) => machine = machines.next(),
                    Err(Unfit::Hopeless | Unfit::Full) => break,
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, pki, name] = args.as_slice() else {
        return Err("usage: first_fit SERVER-ADDRESS PKI-DIRECTORY NAME".into());
    };
    let credentials = Credentials::load(Path::new(pki), Role::Scheduler, name)?;
    let seed = u64::from(std::process::id());
    let config = Config::new(server.parse()?, credentials, seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let interrupted = async { drop(tokio::signal::ctrl_c().await) };
        let summary = scheduler_runtime::run(Box::new(FirstFit), config, interrupted).await?;
        println!("placed {} tasks, lost {} races", summary.stats.placed, summary.stats.conflicts_total());
        Ok(())
    })
}
