//! `ohm pki`: the certificates of a cell.

use transport::Role;
use transport_quic::pki::Authority;

use crate::connection::pki_dir;
use crate::failure::{Ended, Failure};
use crate::show;
use crate::typed::roles::{PkiCommand, PkiInitArgs, PkiIssueArgs};

/// The names of the two certificates that every cell needs first.
const FIRST: [(Role, &str); 2] = [(Role::Server, "server"), (Role::Operator, "admin")];

pub(crate) fn run(command: PkiCommand) -> Result<Ended, Failure> {
    match command {
        PkiCommand::Init(args) => init(&args),
        PkiCommand::Issue(args) => issue(&args),
    }
}

fn init(args: &PkiInitArgs) -> Result<Ended, Failure> {
    let dir = pki_dir(args.pki.as_deref())?;
    let authority = Authority::create(&args.cell, &dir)?;
    for (role, name) in FIRST {
        authority.issue(role, name, &dir)?;
        show::print(&format!("{role} {name}"))?;
    }
    show::say(&format!(
        "Made the authority of cell {:?} in {}, a server and an operator certificate.\n\
         Keep ca.key here, give each party its own pair and ca.pem; `ohm pki issue ROLE NAME` makes more.",
        args.cell,
        dir.display()
    ));
    Ok(Ended::Well)
}

fn issue(args: &PkiIssueArgs) -> Result<Ended, Failure> {
    let dir = pki_dir(args.pki.as_deref())?;
    let authority = Authority::load(&dir)?;
    let out = args.out.as_deref().unwrap_or(&dir);
    authority.issue(args.role, &args.name, out)?;
    let file = args.name.replace('*', "_");
    show::print(&out.join(format!("{}-{file}.pem", args.role)).display().to_string())?;
    show::say(&format!("Its holder is ohm://{}/{}/{}.", authority.cell(), args.role, args.name));
    Ok(Ended::Well)
}
