//! `ohm quota`: limits of teams, per priority band.

use cell_state::job::Band;
use cell_state::resources::Schema;
use cell_state::{Dimension, Resources};
use serde_json::json;

use super::agent::named_amounts;
use crate::connection::Connection;
use crate::failure::{Ended, Failure};
use crate::job_file::{Amount, amount};
use crate::show::{self, Column, Listing, json as as_json, text};
use crate::typed::reads::{QuotaClearArgs, QuotaCommand, QuotaListArgs, QuotaSetArgs};

pub(crate) async fn run(command: QuotaCommand) -> Result<Ended, Failure> {
    match command {
        QuotaCommand::Set(args) => set(args).await,
        QuotaCommand::Clear(args) => clear(args).await,
        QuotaCommand::List(args) => list(args).await,
    }
}

fn band(word: &str) -> Result<Band, Failure> {
    let found = Band::ALL.into_iter().find(|b| b.to_string() == word);
    found.ok_or_else(|| {
        Failure::Input(format!("{word:?} is no band; write free, batch, production or monitoring"))
    })
}

/// The amounts named by flags; the names of further resources are only known to the cell.
fn fixed_amounts(args: &QuotaSetArgs) -> Result<Resources, Failure> {
    let flags = [
        ("--cpu", Dimension::CPU, &args.cpu),
        ("--memory", Dimension::MEMORY, &args.memory),
        ("--disk", Dimension::DISK, &args.disk),
        ("--gpu", Dimension::GPU, &args.gpu),
        ("--net", Dimension::NET, &args.net),
    ];
    let mut limit = Resources::ZERO;
    for (flag, dimension, written) in flags {
        if let Some(written) = written {
            let value = amount(dimension, Amount::Text(written));
            limit =
                limit.with(dimension, value.map_err(|problem| Failure::Input(format!("{flag}: {problem}")))?);
        }
    }
    Ok(limit)
}

async fn set(args: QuotaSetArgs) -> Result<Ended, Failure> {
    let band = band(&args.band)?;
    let fixed = fixed_amounts(&args)?;
    let mut server = Connection::check(&args.connect)?.open().await?;
    let schema = server.status().await?.config.schema;
    let limit = named_amounts(fixed, &args.resource, &schema)?;
    server.set_quota(&args.team, band, Some(limit)).await?;
    show::print(&format!("{} {band}", args.team))?;
    show::say(&format!("team {}, band {band}: at most {}", args.team, text::resources(&limit, &schema)));
    Ok(Ended::Well)
}

async fn clear(args: QuotaClearArgs) -> Result<Ended, Failure> {
    let band = band(&args.band)?;
    let mut server = Connection::check(&args.connect)?.open().await?;
    server.set_quota(&args.team, band, None).await?;
    show::print(&format!("{} {band}", args.team))?;
    show::say(&format!("team {}, band {band}: no limit", args.team));
    Ok(Ended::Well)
}

const QUOTAS: [Column; 4] =
    [Column::text("TEAM"), Column::text("BAND"), Column::text("LIMIT"), Column::text("USED")];

async fn list(args: QuotaListArgs) -> Result<Ended, Failure> {
    let mut server = Connection::check(&args.connect)?.open().await?;
    let cell = server.copy().await?;
    let schema: &Schema = &cell.config().schema;
    let mut listing = Listing::new(&QUOTAS);
    for (team, band, limit) in cell.quotas().limits() {
        let used = cell.quotas().used(team, band);
        let cells = vec![
            team.into(),
            band.into(),
            text::resources(limit, schema).into(),
            text::resources(&used, schema).into(),
        ];
        let row = json!({
            "team": team,
            "band": band.to_string(),
            "limit": as_json::resources(limit, schema),
            "used": as_json::resources(&used, schema),
        });
        listing.push(format!("{team} {band}"), cells, row);
    }
    if listing.is_empty() {
        show::say("no quotas");
    }
    show::listing(&listing, args.output.output)?;
    Ok(Ended::Well)
}
