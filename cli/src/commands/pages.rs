//! `ohm completions` and `ohm man`: made from the same description of the commands as `--help`.

use clap::CommandFactory;

use crate::failure::{Ended, Failure};
use crate::typed::{Cli, CompletionsArgs, ManArgs};

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Ended, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ohm", &mut script);
    crate::show::print(&String::from_utf8_lossy(&script))?;
    Ok(Ended::Well)
}

pub(crate) fn man(args: &ManArgs) -> Result<Ended, Failure> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        crate::show::print(&String::from_utf8_lossy(&page))?;
        return Ok(Ended::Well);
    };
    std::fs::create_dir_all(dir).map_err(|e| Failure::write(dir, e))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(|e| Failure::write(dir, e))?;
    Ok(Ended::Well)
}
