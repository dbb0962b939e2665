//! How the result is shown: one table for people, one object for programs.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::measured::{Measured, median};
use crate::{Args, Compared, Concurrency};

/// The table, two rows and the ratios for each kind of transaction.
pub(crate) fn table(versions: &(String, String), all: &[Compared]) -> String {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header([
        "ops",
        "",
        "in flight",
        "transactions/s",
        "ops/s",
        "p50 ms",
        "p99 ms",
        "CPU µs/op",
        "disk B/op",
        "lost",
    ]);
    for compared in all {
        let (etcd, ohm) = compared.medians();
        table.add_row(row(compared, "etcd", compared.etcd_at, &etcd));
        table.add_row(row(compared, "ohm", compared.ohm_at, &ohm));
        table.add_row(ratios(compared, &etcd, &ohm));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let (etcd, ohm) = versions;
    let pairs = all.iter().map(|c| c.pairs.len()).min().unwrap_or(0);
    format!("{etcd}; {ohm}; medians of {pairs} pairs\n\n{table}")
}

fn row(compared: &Compared, who: &str, at: Concurrency, m: &Measured) -> Vec<String> {
    vec![
        compared.ops.to_string(),
        who.to_owned(),
        at.to_string(),
        format!("{:.0}", m.transactions_per_s),
        format!("{:.0}", m.ops_per_s),
        format!("{:.2}", m.p50_us / 1e3),
        format!("{:.2}", m.p99_us / 1e3),
        format!("{:.1}", m.server_cpu_us_per_op),
        format!("{:.0}", m.disk_bytes_per_op),
        format!("{:.1} %", m.lost_share * 100.0),
    ]
}

/// Ohm's figure divided by etcd's; for transactions the median of the pairs' ratios and their range.
fn ratios(compared: &Compared, etcd: &Measured, ohm: &Measured) -> Vec<String> {
    let all = pair_ratios(compared);
    let (least, most) = range(&all);
    let of = |figure: fn(&Measured) -> f64| format!("{:.2}", figure(ohm) / figure(etcd));
    let each = format!("{:.1} ({least:.1}-{most:.1})", median(all));
    vec![
        compared.ops.to_string(),
        "ohm / etcd".to_owned(),
        String::new(),
        each.clone(),
        each,
        of(|m| m.p50_us),
        of(|m| m.p99_us),
        of(|m| m.server_cpu_us_per_op),
        of(|m| m.disk_bytes_per_op),
        String::new(),
    ]
}

fn pair_ratios(compared: &Compared) -> Vec<f64> {
    compared.pairs.iter().map(|(etcd, ohm)| ohm.transactions_per_s / etcd.transactions_per_s).collect()
}

fn range(figures: &[f64]) -> (f64, f64) {
    figures.iter().fold((f64::INFINITY, 0.0), |(least, most), f| (least.min(*f), most.max(*f)))
}

/// Everything that was found.
pub(crate) fn json(versions: &(String, String), args: &Args, all: &[Compared]) -> Value {
    let sweep = |tried: &[(Concurrency, f64)]| -> Vec<Value> {
        let step = |(at, rate): &(Concurrency, f64)| json!({"at": at, "transactions_per_s": rate});
        tried.iter().map(step).collect()
    };
    let one = |compared: &Compared| {
        let (etcd, ohm) = compared.medians();
        let ratios = pair_ratios(compared);
        let (least, most) = range(&ratios);
        let pairs: Vec<Value> =
            compared.pairs.iter().map(|(etcd, ohm)| json!({"etcd": etcd, "ohm": ohm})).collect();
        json!({
            "ops": compared.ops,
            "value_bytes": compared.value_bytes,
            "etcd": {"at": compared.etcd_at, "median": etcd, "sweep": sweep(&compared.etcd_sweep)},
            "ohm": {"at": compared.ohm_at, "median": ohm, "sweep": sweep(&compared.ohm_sweep)},
            "transactions_ratio": {"median": median(ratios), "least": least, "most": most},
            "pairs": pairs,
        })
    };
    json!({
        "etcd": versions.0,
        "ohm": versions.1,
        "machines": args.machines,
        "duration_s": args.duration,
        "compared": all.iter().map(one).collect::<Vec<_>>(),
    })
}
