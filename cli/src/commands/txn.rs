//! `ohm txn` and `ohm conflicts`: what schedulers tried, and what they lost to whom.

use cell_state::resources::Schema;
use cell_state::{SessionId, TxnId};
use transport::view::Attempt;

use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::show::table::facts;
use crate::show::{self, json, rows, text};
use crate::typed::reads::{ConflictsCommand, ConflictsTopArgs, TxnCommand, TxnListArgs, TxnShowArgs};

pub(crate) async fn run(command: TxnCommand) -> Result<Ended, Failure> {
    match command {
        TxnCommand::List(args) => list(args).await,
        TxnCommand::Show(args) => show_one(args).await,
    }
}

async fn list(args: TxnListArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let job = match &args.job {
        Some(name) => Some(server.job(None, name, 0, 0).await?.1.row.id),
        None => None,
    };
    let attempts = server.attempts(args.limit, args.scheduler, job, args.conflicts).await?;
    let schema = server.status().await?.config.schema;
    let listing = rows::attempts(&attempts, &schema, text::now());
    if listing.is_empty() {
        show::say("no transactions");
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}

/// The id that a text names: `SESSION-NUMBER`.
fn txn_id(text: &str) -> Result<TxnId, Failure> {
    let parse = || {
        let (session, number) = text.split_once('-')?;
        Some(TxnId { session: SessionId(session.parse().ok()?), number: number.parse().ok()? })
    };
    parse().ok_or_else(|| {
        Failure::Input(format!(
            "{text:?} is no transaction; write SESSION-NUMBER as `ohm txn list` shows it, such as 3-17"
        ))
    })
}

async fn show_one(args: TxnShowArgs) -> Result<Ended, Failure> {
    let id = txn_id(&args.txn)?;
    let mut server = Connection::check(&args.connect)?.open().await?;
    let attempt = server.attempt(id).await?;
    let schema = server.status().await?.config.schema;
    let json = json::attempt(&attempt, &schema);
    show::one(args.output.output, &id.to_string(), &json, |wide| describe(&attempt, &schema, wide))?;
    Ok(Ended::Well)
}

fn describe(attempt: &Attempt, schema: &Schema, wide: bool) -> String {
    let stale = attempt.at.0.saturating_sub(attempt.basis.0 + 1);
    let mut pairs = vec![
        ("Transaction", attempt.txn.to_string()),
        ("Scheduler", attempt.scheduler.clone()),
        ("Committed", format!("at seq {}, {}", attempt.at, text::ago(attempt.time, text::now()))),
        ("Basis", format!("seq {}, {stale} entries before", attempt.basis)),
        ("Atomicity", text::atomicity(attempt.atomicity).to_owned()),
        ("Detection", text::detection(attempt.detection).to_owned()),
    ];
    if let Some(failed) = &attempt.failed_assertion {
        let problem = text::obstacle(&failed.kind, schema);
        pairs.push(("Assertion", format!("failed: {problem}; {}", text::circumstances(failed))));
    }
    let ops = rows::outcomes(attempt, schema).table(wide, show::colours());
    format!("{}\n\n{ops}", facts(&pairs))
}

pub(crate) async fn conflicts(command: ConflictsCommand) -> Result<Ended, Failure> {
    let ConflictsCommand::Top(ConflictsTopArgs { output, connect }) = command;
    let mut server = Connection::check(&connect)?.open().await?;
    let mut counts = server.conflicts().await?;
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cmp(b)));
    let listing = rows::conflicts(&counts);
    if listing.is_empty() {
        show::say("no conflicts since the server started");
    }
    show::listing(&listing, output.output)?;
    Ok(Ended::Well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let id = TxnId { session: SessionId(3), number: 17 };
        assert_eq!(txn_id(&id.to_string()).unwrap(), id);
        for odd in ["", "3", "3-", "-17", "3-x", "3-17-1"] {
            assert!(txn_id(odd).is_err(), "{odd}");
        }
    }
}
