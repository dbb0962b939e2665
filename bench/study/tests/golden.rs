//! The public simulator's golden results, run again. Skipped, with a message, where they are not: in
//! `../shared/golden/omega-simulator` beside the workspace, or the directory `$OHM_GOLDEN` names.

use std::path::{Path, PathBuf};

use study::golden::{self, Golden};

fn golden() -> Option<Golden> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = std::env::var_os("OHM_GOLDEN").map_or_else(|| golden::beside(&workspace), PathBuf::from);
    if !dir.is_dir() {
        eprintln!("skipped: there are no golden results in {}", dir.display());
        return None;
    }
    Some(golden::read(&dir).expect("golden results can be read"))
}

#[test]
fn every_run_of_the_public_simulator_comes_out_the_same() {
    let Some(golden) = golden() else { return };
    assert!(golden.records.len() >= 21);
    for (checked, record) in golden.check_all(2, &|_| ()).iter().zip(&golden.records) {
        assert_eq!(checked.difference, None, "{}", record.title());
    }
}
