//! Questions before something that hurts.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Asks, unless `yes` was given. Without a terminal nobody could answer, so `--yes` is required.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Input(format!("{question} Standard input is no terminal: confirm with --yes")));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::Input("nothing was changed".to_owned()))
}
