//! Units: Google's normalised amounts become millicores and bytes, exactly and in integers only.
//!
//! The trace gives each amount as a fraction of the largest machine, rounded to four digits. Here the largest machine
//! has 64 cores, 256 GiB of memory and 4 TiB of disk, all powers of two, so that amounts which were fractions with a
//! power of two below (0.01562 was 1/64) become whole numbers again (1,000 millicores). Each amount is
//! multiplied as an integer and rounded half up to a whole millicore or byte; no floating point is involved.

use cell_state::{Dimension, Resources};

use crate::bounds::{AMOUNT_DIGITS_MAX, AMOUNT_PLACES_MAX};

/// Millicores of a machine with a normalised cpu of 1.
pub const CPU_ONE: u64 = 64_000;

/// Bytes of a machine with a normalised memory of 1.
pub const MEMORY_ONE: u64 = 256 << 30;

/// Bytes of a normalised disk space of 1. The trace names no disk capacities: every machine gets this much, of
/// which no machine's tasks use more than a fiftieth.
pub const DISK_ONE: u64 = 4 << 40;

/// A text that is no amount.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number.
    #[error("{0:?} is not a number; expected one like 0.0625 or 3.815e-06")]
    Form(String),
    /// Below zero.
    #[error("{0:?} is negative")]
    Negative(String),
    /// Too many digits, or too large or small an exponent.
    #[error("{0:?} has more than {AMOUNT_DIGITS_MAX} digits or {AMOUNT_PLACES_MAX} decimal places")]
    Digits(String),
}

/// The amount of a resource of which 1.0 is `one` units.
///
/// # Errors
/// The text is no decimal number, is negative, or has more digits than the bound.
pub fn amount(text: &str, one: u64) -> Result<u64, AmountError> {
    let form = || AmountError::Form(text.to_owned());
    let digits = || AmountError::Digits(text.to_owned());
    if text.starts_with('-') {
        return Err(AmountError::Negative(text.to_owned()));
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().map_err(|_| form())?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa = format!("{whole}{fraction}");
    if whole.is_empty() || !mantissa.bytes().all(|b| b.is_ascii_digit()) {
        return Err(form());
    }
    if mantissa.len() > AMOUNT_DIGITS_MAX {
        return Err(digits());
    }
    let mantissa: u64 = mantissa.parse().map_err(|_| digits())?;
    let places = i64::from(fraction.len() as u32) - i64::from(exponent);
    // A positive exponent never occurs, for nothing is larger than the largest machine.
    let places = u32::try_from(places).ok().filter(|p| *p <= AMOUNT_PLACES_MAX).ok_or_else(digits)?;
    let below = 10u128.pow(places);
    let scaled = (u128::from(mantissa) * u128::from(one) + below / 2) / below;
    u64::try_from(scaled).map_err(|_| digits())
}

/// Resources of which cpu and memory are given as in the trace, without disk.
///
/// # Errors
/// As for [`amount`].
pub fn machine_capacity(cpu: &str, memory: &str) -> Result<Resources, AmountError> {
    let capacity = Resources::cpu_memory(amount(cpu, CPU_ONE)?, amount(memory, MEMORY_ONE)?);
    Ok(capacity.with(Dimension::DISK, DISK_ONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_rounded_half_up() {
        let table = [
            ("0.5", CPU_ONE, 32_000),
            ("1.0", CPU_ONE, 64_000),
            ("1", CPU_ONE, 64_000),
            ("0", CPU_ONE, 0),
            ("0.0", CPU_ONE, 0),
            ("0.01562", CPU_ONE, 1_000),
            ("0.0001221", CPU_ONE, 8),
            ("6.25e-02", CPU_ONE, 4_000),
            ("0.0000078125", CPU_ONE, 1),
            ("0.0000078124", CPU_ONE, 0),
            ("0.5", MEMORY_ONE, 128 << 30),
            ("0.2493", MEMORY_ONE, 68_527_062_201),
            ("3.815e-06", DISK_ONE, 16_778_547),
        ];
        for (text, one, expected) in table {
            assert_eq!(amount(text, one), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", ".5", "a", "0.5x", "1e", "1ee2", "0..5", " 1", "NaN", "inf", "0x10", "+1"] {
            assert_eq!(amount(text, CPU_ONE), Err(AmountError::Form(text.to_owned())), "{text:?}");
        }
        assert!(matches!(amount("-0.5", CPU_ONE), Err(AmountError::Negative(_))));
        for text in ["0.00000000000000000001", "1e-19", "1e5", "1e-99999999", "123456789012345678901"] {
            assert!(matches!(amount(text, CPU_ONE), Err(AmountError::Digits(_))), "{text:?}");
        }
    }
}
