//! How the results of `ohm load` are shown: facts for one load, a table for a sweep, JSON for programs.

use serde_json::{Value, json};
use study::load::{Axis, Measured, Party, Proposing, Settings, Times};
use transport_quic::{Carried, Traffic};

use crate::failure::Failure;
use crate::show::table::facts;
use crate::show::{self, Cell, Column, Listing, Tone, text};
use crate::typed::connect::Format;

/// Shows one load.
///
/// # Errors
/// The result can't be written.
pub(super) fn one(settings: &Settings, measured: &Measured, format: Format) -> Result<(), Failure> {
    show::one(format, "load", &as_json(settings, measured), |_| as_text(settings, measured))
}

/// Shows the loads of a sweep, one row each.
///
/// # Errors
/// The result can't be written.
pub(super) fn sweep(
    axis: Axis,
    found: &[(Option<String>, &Settings, Measured)],
    format: Format,
) -> Result<(), Failure> {
    const COLUMNS: [Column; 11] = [
        Column::text("VALUE"),
        Column::number("PLACEMENTS/S"),
        Column::number("TRANSACTIONS/S"),
        Column::number("LIMIT"),
        Column::number("P50"),
        Column::number("P99"),
        Column::number("P99.9").wide(),
        Column::number("LAG P99"),
        Column::number("CPU/PLACEMENT"),
        Column::number("LOST"),
        Column::text("AUDIT"),
    ];
    let mut listing = Listing::new(&COLUMNS);
    for (value, settings, measured) in found {
        let value = value.clone().unwrap_or_default();
        let sound = measured.problems().is_empty();
        let audit = if sound { Cell::toned("clean", Tone::Good) } else { Cell::toned("broken", Tone::Bad) };
        let cells = vec![
            value.clone().into(),
            format!("{:.0}", measured.placements_per_s()).into(),
            format!("{:.0}", measured.transactions_per_s()).into(),
            percent(measured.limit_share(settings)).into(),
            micros(measured.latency.percentile(50.0)).into(),
            micros(measured.latency.percentile(99.0)).into(),
            micros(measured.latency.percentile(99.9)).into(),
            micros(measured.copy_lag.percentile(99.0)).into(),
            cpu(measured).map_or_else(|| "-".to_owned(), |us| format!("{us:.2} µs")).into(),
            percent(share(measured.counts.lost(), measured.counts.attempts)).into(),
            audit,
        ];
        let mut row = as_json(settings, measured);
        row["sweep"] = json!({"axis": axis.word(), "value": value});
        listing.push(value, cells, row);
    }
    show::listing(&listing, format)
}

fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=999_999 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / (whole as f64).max(1.0)
}

/// Microseconds of the server's processor time per placement.
fn cpu(measured: &Measured) -> Option<f64> {
    measured.server_cpu_us.map(|us| measured.per_placement(us))
}

fn three(times: &Times) -> String {
    let at = |percent| micros(times.percentile(percent));
    format!("{} p50, {} p99, {} p99.9", at(50.0), at(99.0), at(99.9))
}

fn load_line(s: &Settings) -> String {
    let hold = s.hold.map_or_else(|| "for ever".to_owned(), |hold| format!("for {hold:?}"));
    let of = format!("{} × {} transactions of {}", s.schedulers, s.in_flight, s.ops);
    let choice = match s.proposing {
        Proposing::Blind => s.skew.to_string(),
        Proposing::Policy(name) => format!("chosen by policy {name}"),
    };
    let rate = s.rate.map_or_else(String::new, |rate| format!(", at most {rate} placements/s"));
    format!("{of}, {} machines ({choice}), {} tasks held {hold}{rate}", s.machines, s.tasks)
}

type Lines = Vec<(&'static str, String)>;

fn cost_lines(m: &Measured, lines: &mut Lines) {
    if let Some(us) = cpu(m) {
        let each = |(name, us): (&String, &u64)| format!("{name} {:.2}", m.per_placement(*us));
        let threads: Vec<String> = m.server_cpu_us_by_thread.iter().map(each).collect();
        lines.push(("server", format!("{us:.2} CPU-µs per placement: {}", threads.join(", "))));
    }
    let stages = m.server_cpu_us_by_stage.iter().filter(|(_, us)| **us > 0);
    let stages: Vec<String> =
        stages.map(|(name, us)| format!("{name} {:.3}", m.per_placement(*us))).collect();
    lines.push(("stages", stages.join(", ")));
    let own = m.per_placement(m.own_cpu_us);
    let cores = m.own_cpu_us as f64 / 1e6 / m.seconds;
    lines.push(("generator", format!("{own:.2} CPU-µs per placement, {cores:.1} cores, copies included")));
    if let Some((transactions, others)) = m.log_bytes {
        let each = format!("{:.1} bytes per placement", m.per_placement(transactions));
        let others = format!("{:.1} of reports and the rest", m.per_placement(others));
        let disk = m.disk_bytes.map(|b| format!("; {:.1} written to disk in all", m.per_placement(b)));
        lines.push(("log", format!("{each}, {others}{}", disk.unwrap_or_default())));
    }
    let each = |(party, traffic): (&Party, &Traffic)| {
        let (out, back) = (m.per_placement(traffic.sent.bytes), m.per_placement(traffic.received.bytes));
        format!("{} {out:.1} out, {back:.1} back", party.word())
    };
    let wires: Vec<String> = m.traffic.iter().map(each).collect();
    lines.push(("wire", format!("bytes per placement: {}", wires.join("; "))));
}

fn limit_lines(s: &Settings, m: &Measured, lines: &mut Lines) {
    let echo = m.echo_placements_per_s(s);
    let frames = format!("{} + {} bytes there and back", m.echo.request_bytes, m.echo.reply_bytes);
    let share = percent(m.limit_share(s));
    lines.push(("limit", format!("{share} of what QUIC alone carries: {echo:.0}/s ({frames})")));
    if let (Some(limit), Some(disk)) = (m.disk_placements_per_s(), &m.disk) {
        let group = format!("{} groups/s of {}", disk.flushes_per_s as u64, text::bytes(disk.group_bytes));
        let took = micros(disk.flush.percentile(50.0));
        let share = percent(m.placements_per_s() / limit);
        lines.push(("disk", format!("{share} of what it flushes: {limit:.0}/s ({group}, {took} p50)")));
        let lag = m.copy_lag.percentile(99.0) as f64 / disk.flush.percentile(50.0).max(1) as f64;
        lines.push(("lag p99", format!("{lag:.1} times the flush")));
    }
    if let Some(limit) = m.latency_limit_us() {
        let times = m.latency.percentile(50.0) as f64 / limit.max(1) as f64;
        let parts = format!("flush + round trip, both alone: {}", micros(limit));
        lines.push(("latency p50", format!("{times:.1} times its limit ({parts})")));
    }
}

fn as_text(s: &Settings, m: &Measured) -> String {
    let counts = &m.counts;
    let attempts = format!(
        "{:.0}/s, {} lost, {} aborted with them",
        counts.attempts as f64 / m.seconds,
        percent(share(counts.lost(), counts.attempts)),
        percent(share(counts.aborted, counts.attempts))
    );
    let conflicts: Vec<String> = counts.conflicts.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
    let mut lines = vec![
        ("load", load_line(s)),
        ("placements", format!("{:.0}/s committed", m.placements_per_s())),
        ("attempts", attempts),
        ("conflicts", if conflicts.is_empty() { "none".to_owned() } else { conflicts.join(", ") }),
        ("transactions", format!("{:.0}/s", m.transactions_per_s())),
        ("latency", three(&m.latency)),
        ("copy lag", three(&m.copy_lag)),
    ];
    cost_lines(m, &mut lines);
    limit_lines(s, m, &mut lines);
    let copies = format!("{} hashes of copies compared", m.compared);
    let problems = m.problems().len();
    let audit = if problems == 0 { "clean".to_owned() } else { format!("{problems} problems, see above") };
    lines.push(("audit", format!("{audit} at seq {}; {copies}", m.audit.0)));
    if counts.starved + counts.busy > 0 {
        let told = format!("{} waits for a free task, {} for a busy server", counts.starved, counts.busy);
        lines.push(("waits", told));
    }
    facts(&lines.iter().map(|(label, value)| (*label, value.clone())).collect::<Vec<_>>())
}

fn times(times: &Times) -> Value {
    json!({
        "p50": times.percentile(50.0),
        "p99": times.percentile(99.0),
        "p999": times.percentile(99.9),
        "count": times.count(),
    })
}

fn as_json(s: &Settings, m: &Measured) -> Value {
    let counts = &m.counts;
    let lag = &m.copy_lag;
    let threads = m.server_cpu_us_by_thread.iter();
    let threads: serde_json::Map<String, Value> =
        threads.map(|(name, us)| (name.clone(), m.per_placement(*us).into())).collect();
    let stages = m.server_cpu_us_by_stage.iter();
    let stages: serde_json::Map<String, Value> =
        stages.map(|(name, us)| ((*name).to_owned(), m.per_placement(*us).into())).collect();
    let disk = m.disk.as_ref().map(|disk| {
        json!({
            "copy_lag_flushes": m.copy_lag.percentile(99.0) as f64 / disk.flush.percentile(50.0).max(1) as f64,
            "group_bytes": disk.group_bytes,
            "flushes_per_s": disk.flushes_per_s,
            "flush_us": times(&disk.flush),
            "placements_per_s": m.disk_placements_per_s(),
            "share": m.disk_placements_per_s().map(|limit| m.placements_per_s() / limit),
        })
    });
    let proposals = m.traffic.get(&Party::Schedulers).copied().unwrap_or_default();
    let wire: serde_json::Map<String, Value> =
        m.traffic.iter().map(|(party, traffic)| (party.word().to_owned(), wire_json(m, traffic))).collect();
    json!({
        "placements_per_s": m.placements_per_s(),
        "transactions_per_s": m.transactions_per_s(),
        "limit_share": m.limit_share(s),
        "latency_us": times(&m.latency),
        "copy_lag_us": times(lag),
        "server_cpu_us_per_placement": cpu(m),
        "conflicts": counts.conflicts,
        "attempts_per_s": counts.attempts as f64 / m.seconds,
        "measured": count_json(counts),
        "whole": count_json(&m.whole),
        "seconds": m.seconds,
        "server_cpu_us_per_placement_by_thread": threads,
        "server_cpu_us_per_placement_by_stage": stages,
        "generator_cpu_us_per_placement": m.per_placement(m.own_cpu_us),
        "log_bytes_per_placement": m.log_bytes.map(|(transactions, _)| m.per_placement(transactions)),
        "other_log_bytes_per_placement": m.log_bytes.map(|(_, others)| m.per_placement(others)),
        "disk_bytes_per_placement": m.disk_bytes.map(|bytes| m.per_placement(bytes)),
        "wire_bytes_per_placement": m.per_placement(proposals.bytes()),
        "wire": wire,
        "latency_limit_us": m.latency_limit_us(),
        "latency_limit_ratio": m.latency_limit_us().map(|us| m.latency.percentile(50.0) as f64 / us.max(1) as f64),
        "limits": {
            "echo": {
                "request_bytes": m.echo.request_bytes,
                "reply_bytes": m.echo.reply_bytes,
                "round_trip_us": times(&m.echo.round_trip),
                "round_trip_alone_us": times(&m.round_trip),
                "placements_per_s": m.echo_placements_per_s(s),
                "share": m.placements_per_s() / m.echo_placements_per_s(s).max(1.0),
            },
            "disk": disk,
        },
        "audit": {"at": m.audit.0.0, "sound": m.problems().is_empty(), "problems": m.problems()},
        "copies": {"compared": m.compared, "placed": m.copies_placed},
        "settings": settings_json(s),
    })
}

/// What a party's connections carried, per placement.
fn wire_json(m: &Measured, traffic: &Traffic) -> Value {
    let one = |carried: &Carried| {
        json!({
            "bytes": m.per_placement(carried.bytes),
            "datagrams": m.per_placement(carried.datagrams),
            "calls": m.per_placement(carried.calls),
        })
    };
    json!({"sent": one(&traffic.sent), "received": one(&traffic.received)})
}

fn count_json(counts: &study::load::Counts) -> Value {
    json!({
        "transactions": counts.transactions,
        "attempts": counts.attempts,
        "placed": counts.placed,
        "lost": counts.lost(),
        "aborted": counts.aborted,
        "divergences": counts.divergences,
        "busy": counts.busy,
        "starved": counts.starved,
    })
}

fn settings_json(s: &Settings) -> Value {
    json!({
        "schedulers": s.schedulers,
        "in_flight": s.in_flight,
        "ops": s.ops,
        "machines": s.machines,
        "tasks": s.tasks,
        "policy": s.proposing.word(),
        "rate": s.rate,
        "skew": s.skew.to_string(),
        "detection": text::detection(s.detection),
        "atomicity": text::atomicity(s.atomicity),
        "hold_us": s.hold.map(|hold| hold.as_micros() as u64),
        "copies": s.copies,
        "warm_up_us": s.warm_up.as_micros() as u64,
        "duration_us": s.duration.as_micros() as u64,
        "seed": s.seed,
    })
}
