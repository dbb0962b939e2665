//! What is measured of each class of jobs: names, and where each comes from. Definitions: docs/contention-study.md.

use bench::virtual_cell::{ClassCounts, Daily, SIZES};
use serde::{Deserialize, Serialize};

/// Declares the metrics once: fields, names, columns of tables.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is measured of each class of jobs.
        #[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: f64,)*
        }

        impl Metrics {
            /// The names of what can be plotted, in the order of a table's columns.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// One of them by its name.
            pub fn get(&self, name: &str) -> Option<f64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

metrics! {
    /// The part of the time schedulers spent deciding.
    busy,
    /// Of this, what wasn't lost to conflicts.
    useful,
    /// Of this, what was.
    wasted,
    /// Transactions with a conflict per transaction without.
    conflict_fraction,
    /// Transactions with a conflict per transaction.
    conflicts_per_attempt,
    /// Seconds queued before the first decision, on average.
    wait_s,
    /// Half wait no longer.
    wait_s_p50,
    /// 90 percent wait no longer.
    wait_s_p90,
    /// 99 percent wait no longer.
    wait_s_p99,
    /// Seconds queued before all decisions, on average over jobs placed in full.
    wait_full_s,
    /// 90 percent wait no longer.
    wait_full_s_p90,
    /// Jobs that arrived.
    jobs,
    /// The part of them placed in full by the end.
    placed_jobs,
    /// Transactions without a conflict.
    won,
    /// Transactions with one.
    conflicted,
    /// Claims lost to conflicts.
    lost,
    /// Jobs given up.
    given_up,
    /// Tasks placed, again included.
    placed,
    /// Decisions that found no machine.
    fruitless,
    /// Conflicts of the coarse detection that the fine one would not have found.
    spurious,
    /// Placements that took a fallback.
    fell_back,
    /// Decisions that claimed machines at their beginning.
    escalated,
    /// Tasks that had to go for others.
    preempted,
    /// Tasks lost with their machines.
    failed,
    /// Seconds from arrival to the last task's placement, on average over jobs of one task.
    place_s_1,
    /// Of 2 to 10 tasks.
    place_s_10,
    /// Of 11 to 100 tasks.
    place_s_100,
    /// Of 101 to 1,000 tasks.
    place_s_1000,
    /// Of more tasks.
    place_s_more,
    /// Seconds that the job which waited longest to be placed in full has waited.
    oldest_s,
    /// Seconds between what a transaction was planned on and its verdict, on average.
    staleness_s,
    /// 90 percent are no older.
    staleness_s_p90,
    /// Jain's fairness over jobs, of the decisions they needed.
    fair_jobs,
    /// Jain's fairness over sizes of jobs, of the decisions they needed on average.
    fair_sizes,
    /// Jain's fairness over schedulers, of the part of their placements that won.
    fair_schedulers,
    /// The median absolute deviation of daily values, when they are what is told.
    busy_mad,
    /// See `busy_mad`.
    conflict_fraction_mad,
    /// See `busy_mad`.
    wait_s_mad,
}

const _: () = assert!(SIZES[0] == 1 && SIZES[1] == 10 && SIZES[2] == 100 && SIZES[3] == 1_000);

impl Metrics {
    /// What the paper's own simulator measures; of the others it knows nothing.
    pub const FIRST_FIT: [&'static str; 16] = [
        "busy",
        "useful",
        "wasted",
        "conflict_fraction",
        "conflicts_per_attempt",
        "wait_s",
        "wait_s_p50",
        "wait_s_p90",
        "wait_s_p99",
        "wait_full_s",
        "wait_full_s_p90",
        "placed_jobs",
        "jobs",
        "won",
        "conflicted",
        "lost",
    ];

    /// What a run of the production code measured. Of runs of two days and more, busyness, conflict fraction and wait
    /// are medians of daily values.
    pub(super) fn of_class(of: &ClassCounts, run_us: u64) -> Metrics {
        let daily = |which, over_all: f64| of.daily(which).unwrap_or((over_all, 0.0));
        let busy_over_all = of.busyness(run_us);
        let useful_over_all = of.busyness_without_conflicts(run_us);
        let [wait, wait_s_p50, wait_s_p90, wait_s_p99] = of.wait_s();
        let (busy, busy_mad) = daily(Daily::Busy, busy_over_all);
        let (conflict_fraction, conflict_fraction_mad) =
            daily(Daily::ConflictFraction, of.conflict_fraction());
        let (wait_s, wait_s_mad) = daily(Daily::WaitS, wait);
        let [place_s_1, place_s_10, place_s_100, place_s_1000, place_s_more] =
            std::array::from_fn(|size| of.place[size].mean_s());
        Metrics {
            busy,
            useful: daily(Daily::Useful, useful_over_all).0,
            wasted: daily(Daily::Wasted, busy_over_all - useful_over_all).0,
            conflict_fraction,
            conflicts_per_attempt: of.conflicts_per_attempt(),
            wait_s,
            wait_s_p50,
            wait_s_p90,
            wait_s_p99,
            wait_full_s: of.waits_full.mean_s(),
            wait_full_s_p90: of.waits_full.quantile_s(0.9),
            jobs: of.jobs as f64,
            placed_jobs: bench::figures::fraction(of.full, of.jobs),
            won: of.won as f64,
            conflicted: of.conflicted as f64,
            lost: of.lost as f64,
            given_up: of.given_up as f64,
            placed: of.placed as f64,
            fruitless: of.fruitless as f64,
            spurious: of.spurious as f64,
            fell_back: of.fell_back as f64,
            escalated: of.escalated as f64,
            preempted: of.preempted as f64,
            failed: of.failed as f64,
            place_s_1,
            place_s_10,
            place_s_100,
            place_s_1000,
            place_s_more,
            oldest_s: of.oldest_us as f64 / 1e6,
            staleness_s: of.staleness.mean_s(),
            staleness_s_p90: of.staleness.quantile_s(0.9),
            fair_jobs: of.fairness(),
            fair_sizes: of.fairness_of_sizes(),
            fair_schedulers: of.fairness_of_schedulers(),
            busy_mad,
            conflict_fraction_mad,
            wait_s_mad,
        }
    }
}
