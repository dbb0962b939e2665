//! Priorities: Google's twelve of 2011 on the cell's four bands.
//!
//! Google's description of the trace calls 0 and 1 "free" and 9 to 11 "production", of which the highest is
//! "monitoring" (its editions differ on the number; the three jobs with priority 11 behave like it: all their tasks
//! are on different machines). The rest in between is batch work.

use cell_state::job::Band;

/// The cell's priority for each of Google's, in order.
const PRIORITIES: [u16; 12] = [25, 75, 110, 120, 130, 140, 150, 160, 170, 225, 275, 350];

/// The highest of Google's priorities.
pub const GOOGLE_MAX: u8 = 11;

/// The cell's priority for one of Google's; `None` above 11.
pub fn of_google(priority: u8) -> Option<u16> {
    PRIORITIES.get(usize::from(priority)).copied()
}

/// Whether a band holds work that people wait for.
pub fn is_production(band: Band) -> bool {
    match band {
        Band::Free | Band::Batch => false,
        Band::Production | Band::Monitoring => true,
    }
}

/// Whether a job may push another off its machine: only from a higher band, never within one. Otherwise production
/// jobs would evict each other in chains.
pub fn preempts(newcomer: u16, victim: u16) -> bool {
    Band::of(newcomer) > Band::of(victim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_priority_is_in_its_band_and_their_order_is_kept() {
        let bands = [
            (0..=1, Band::Free),
            (2..=8, Band::Batch),
            (9..=10, Band::Production),
            (11..=11, Band::Monitoring),
        ];
        for (google, band) in bands {
            assert!(google.clone().all(|g| of_google(g).map(Band::of) == Some(band)), "{google:?}");
        }
        assert!(PRIORITIES.is_sorted());
        assert_eq!(of_google(GOOGLE_MAX + 1), None);
    }

    #[test]
    fn only_a_higher_band_preempts() {
        for (newcomer, victim, expected) in
            [(250, 150, true), (299, 200, false), (150, 250, false), (100, 99, true), (350, 299, true)]
        {
            assert_eq!(preempts(newcomer, victim), expected, "{newcomer} {victim}");
        }
    }
}
