//! Progress on standard error: a bar where there is a terminal, a line per phase where there is none.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::show::say;

/// The progress of one phase.
pub(crate) struct Progress {
    bar: ProgressBar,
    title: String,
    started: Instant,
    on_terminal: bool,
}

impl Progress {
    /// A phase that is over at `total`.
    pub(crate) fn new(title: &str, total: u64) -> Progress {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = if on_terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let template = "{prefix} {bar:20} {pos}/{len} {wide_msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
        bar.set_prefix(title.to_owned());
        Progress { bar, title: title.to_owned(), started: Instant::now(), on_terminal }
    }

    /// Where it stands.
    pub(crate) fn at(&self, position: u64, message: String) {
        self.bar.set_position(position);
        self.bar.set_message(message);
    }

    /// Where it stands, of a total that is known only now.
    pub(crate) fn of(&self, position: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(position);
    }

    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The phase is over.
    pub(crate) fn done(self, message: &str) {
        self.bar.finish_and_clear();
        let mark = if self.on_terminal { "✓ " } else { "" };
        say(&format!("{mark}{}: {message} ({:.1} s)", self.title, self.elapsed().as_secs_f64()));
    }
}
