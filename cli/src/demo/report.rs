//! What a demo showed: tables for people, one object for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use bench::figures::{Percentiles, conflict_fraction};
use serde::Serialize;
use serde_json::json;

use super::big::{Big, Phase};
use super::checks::Checks;
use super::real::Real;
use crate::failure::Failure;
use crate::show::table::facts;
use crate::show::{Cell, Column, Listing, colours, print, text};
use crate::typed::connect::Format;

/// Everything a run showed.
#[derive(Serialize)]
pub(super) struct Report {
    /// What chance was seeded with.
    pub(super) seed: u64,
    /// The first part, unless it was left out.
    pub(super) real: Option<Real>,
    /// The second part, unless it was left out.
    pub(super) big: Option<Big>,
}

impl Report {
    /// Prints it.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub(super) fn print(&self, checks: &Checks, took: Duration, format: Format) -> Result<(), Failure> {
        let passed = checks.all_passed();
        match format {
            Format::Json => {
                let seconds = took.as_secs_f64();
                let whole =
                    json!({"passed": passed, "seconds": seconds, "report": self, "checks": checks.json()});
                print(&serde_json::to_string_pretty(&whole).expect("a report serializes"))
            }
            Format::Name => print(if passed { "passed" } else { "failed" }),
            Format::Table | Format::Wide => {
                let mut sections = Vec::new();
                sections.extend(self.real.iter().map(real));
                sections.extend(self.big.iter().flat_map(big));
                sections.push(titled("CHECKS", &checks.listing()));
                let verdict = if passed { "Every check passed" } else { "CHECKS FAILED" };
                sections.push(format!("{verdict}, after {:.0} s.", took.as_secs_f64()));
                print(&sections.join("\n\n"))
            }
        }
    }
}

fn titled(title: &str, listing: &Listing) -> String {
    format!("{title}\n{}", indented(&listing.table(false, colours())))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// `a 3, b 4`.
fn counted(counts: &BTreeMap<String, u32>) -> String {
    counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

fn real(real: &Real) -> String {
    let lines = [
        ("tasks", format!("{} of {} with the right result", real.right, real.tasks)),
        ("read", text::bytes(real.bytes)),
        ("commands", counted(&real.commands)),
        ("machines", counted(&real.machines)),
        (
            "time",
            format!("{:.1} s, {:.0} tasks/s", real.seconds, real.tasks as f64 / real.seconds.max(0.001)),
        ),
    ];
    format!("REAL TASKS\n{}", indented(&facts(&lines)))
}

fn big(big: &Big) -> Vec<String> {
    let lines = [
        ("load", big.load.clone()),
        ("machines", format!("{} simulated, over-commit cpu 150 %, memory 125 %", big.machines)),
        ("tasks", format!("{} running, {} ended, {} without a place", big.running, big.ended, pending(big))),
        ("log", format!("{} entries", big.entries)),
    ];
    let mut sections = vec![
        format!("BIG CELL\n{}", indented(&facts(&lines))),
        titled("PHASES", &phases(&big.phases)),
        titled("SCHEDULERS, OVER BOTH PHASES", &schedulers(big)),
        titled("CONFLICTS BY KIND AND PAIR", &conflicts(&big.phases)),
        titled("WAIT FOR THE FIRST PLACE", &waits(&big.phases)),
        titled("ALLOCATION AT THE END, IN PERCENT OF CAPACITY", &allocation(big)),
    ];
    if !big.unplaced.is_empty() {
        sections.push(titled("WITHOUT A PLACE", &unplaced(big)));
        sections.push(indented(&format!("for example: {}", big.unplaced[0].example)));
    }
    sections
}

fn pending(big: &Big) -> u32 {
    big.unplaced.iter().map(|u| u.tasks).sum()
}

fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

fn listing(columns: &'static [Column], rows: impl IntoIterator<Item = Vec<Cell>>) -> Listing {
    let mut listing = Listing::new(columns);
    for cells in rows {
        listing.push("", cells, serde_json::Value::Null);
    }
    listing
}

fn phases(phases: &[Phase]) -> Listing {
    const COLUMNS: [Column; 11] = [
        Column::text("PHASE"),
        Column::number("JOBS"),
        Column::number("TASKS"),
        Column::number("PLACED"),
        Column::number("STARTED"),
        Column::number("ENDED"),
        Column::number("PREEMPTED"),
        Column::number("CONFLICTS"),
        Column::number("SECONDS"),
        Column::number("PLACED/S"),
        Column::number("BUSIEST"),
    ];
    let row = |phase: &Phase| {
        let figures = &phase.figures;
        vec![
            Cell::from(&phase.name),
            phase.jobs.into(),
            phase.tasks.into(),
            figures.placed.into(),
            figures.started.into(),
            (figures.ended_well + figures.ended_badly).into(),
            figures.preempted.into(),
            figures.conflicts.into(),
            format!("{:.1}", phase.seconds).into(),
            format!("{:.0}", phase.placements_per_second).into(),
            figures.busiest_second.into(),
        ]
    };
    listing(&COLUMNS, phases.iter().map(row))
}

fn schedulers(big: &Big) -> Listing {
    const COLUMNS: [Column; 8] = [
        Column::text("SCHEDULER"),
        Column::text("POLICY"),
        Column::number("TXNS"),
        Column::number("ACCEPTED"),
        Column::number("CONFLICTS"),
        Column::number("CONFLICT %"),
        Column::number("BUSY %"),
        Column::number("MEMORY"),
    ];
    let rows = big.schedulers.iter().map(|s| {
        vec![
            Cell::from(&s.name),
            Cell::from(&s.policy),
            s.transactions.into(),
            s.accepted.into(),
            s.conflicts.into(),
            format!("{:.2}", 100.0 * s.conflict_fraction).into(),
            percent(s.busyness).into(),
            text::bytes(s.memory_bytes).into(),
        ]
    });
    listing(&COLUMNS, rows)
}

fn conflicts(phases: &[Phase]) -> Listing {
    const COLUMNS: [Column; 6] = [
        Column::text("PHASE"),
        Column::text("LOST BY"),
        Column::text("WON BY"),
        Column::text("KIND"),
        Column::number("CONFLICTS"),
        Column::number("% OF OPS"),
    ];
    let rows = phases.iter().flat_map(|phase| {
        phase.figures.pairs.iter().map(|pair| {
            let accepted = phase.figures.schedulers.get(&pair.loser).map_or(0, |s| s.accepted);
            let winner = if pair.winner.is_empty() { "no scheduler" } else { &pair.winner };
            vec![
                Cell::from(&phase.name),
                Cell::from(&pair.loser),
                winner.into(),
                Cell::from(&pair.kind),
                pair.count.into(),
                format!("{:.2}", 100.0 * conflict_fraction(accepted, pair.count)).into(),
            ]
        })
    });
    listing(&COLUMNS, rows)
}

fn waits(phases: &[Phase]) -> Listing {
    const COLUMNS: [Column; 7] = [
        Column::text("PHASE"),
        Column::text("BAND"),
        Column::number("TASKS"),
        Column::number("P50 MS"),
        Column::number("P95 MS"),
        Column::number("P99 MS"),
        Column::number("MAX MS"),
    ];
    let ms = |us: u64| Cell::from(format!("{:.1}", us as f64 / 1_000.0));
    let row = |phase: &Phase, band: &str, p: &Percentiles| {
        vec![
            Cell::from(&phase.name),
            band.into(),
            p.count.into(),
            ms(p.p50_us),
            ms(p.p95_us),
            ms(p.p99_us),
            ms(p.max_us),
        ]
    };
    let rows =
        phases.iter().flat_map(|phase| phase.figures.waits.iter().map(move |(band, p)| row(phase, band, p)));
    listing(&COLUMNS, rows)
}

fn allocation(big: &Big) -> Listing {
    const COLUMNS: [Column; 7] = [
        Column::text("RESOURCE"),
        Column::number("LIMIT"),
        Column::number("PROMISED"),
        Column::number("FREE BAND"),
        Column::number("BATCH"),
        Column::number("PRODUCTION"),
        Column::number("MONITORING"),
    ];
    let rows = big.allocation.iter().map(|line| {
        let band = |name: &str| Cell::from(percent(line.bands.get(name).copied().unwrap_or(0.0)));
        let mut cells =
            vec![Cell::from(&line.dimension), percent(line.limit).into(), percent(line.used).into()];
        cells.extend(["free", "batch", "production", "monitoring"].map(band));
        cells
    });
    listing(&COLUMNS, rows)
}

fn unplaced(big: &Big) -> Listing {
    const COLUMNS: [Column; 3] = [Column::number("TASKS"), Column::number("JOBS"), Column::text("WHY")];
    listing(&COLUMNS, big.unplaced.iter().map(|u| vec![u.tasks.into(), u.jobs.into(), Cell::from(&u.reason)]))
}
