//! The progress of a study: a bar with the time that is left, or a line now and then where there is no terminal.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::show::say;

/// How often a line is written where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// The progress of one study.
pub(super) struct Progress {
    bar: ProgressBar,
    name: String,
    started: Instant,
    told: Mutex<Instant>,
    on_terminal: bool,
}

impl Progress {
    /// A study that begins.
    pub(super) fn new(name: &str) -> Progress {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = if on_terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "{prefix} {bar:30} {pos}/{len} runs, {elapsed} so far, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        let now = Instant::now();
        Progress { bar, name: name.to_owned(), started: now, told: Mutex::new(now), on_terminal }
    }

    /// So many runs are done.
    pub(super) fn of(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        let mut told = self.told.lock().expect("telling doesn't panic");
        if self.on_terminal || told.elapsed() < TELL_EVERY || done >= total {
            return;
        }
        *told = Instant::now();
        let each = self.started.elapsed().as_secs_f64() / done as f64;
        say(&format!(
            "{}: {done} of {total} runs, about {:.0} s left",
            self.name,
            each * (total - done) as f64
        ));
    }

    /// The study is over.
    pub(super) fn done(self, runs: usize) {
        self.bar.finish_and_clear();
        let mark = if self.on_terminal { "✓ " } else { "" };
        say(&format!("{mark}{}: {runs} runs ({:.1} s)", self.name, self.started.elapsed().as_secs_f64()));
    }
}
