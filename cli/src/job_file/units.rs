//! Human units turned into the cell's integers, exactly: no floating point on the way.

use cell_state::Dimension;
use cell_state::bounds::AMOUNT_MAX;

/// An amount as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Amount<'a> {
    /// A bare number.
    Number(&'a str),
    /// A text, with a unit or without.
    Text(&'a str),
}

/// Units of bytes, and how many bytes each is.
const BYTE_UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Units of time, and how many microseconds each is.
const TIME_UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// The longest duration: a year. A longer one is more likely a slip than a wish.
const DURATION_US_MAX: u64 = 366 * 86_400_000_000;

impl Amount<'_> {
    fn text(&self) -> &str {
        match self {
            Amount::Number(text) | Amount::Text(text) => text,
        }
    }

    fn shown(&self) -> String {
        match self {
            Amount::Number(number) => (*number).to_owned(),
            Amount::Text(text) => format!("{text:?}"),
        }
    }
}

/// Why a number is no amount.
enum Unfit {
    NoNumber,
    Negative,
    TooFine,
    TooLarge,
}

/// The amount of one of the cell's resources.
///
/// # Errors
/// What is wrong, with the way out.
pub(crate) fn amount(dimension: Dimension, written: Amount<'_>) -> Result<u64, String> {
    match dimension {
        Dimension::CPU => millis(written, "cpu", "cores (0.5 or 2) or millicores (\"500m\")"),
        Dimension::GPU => millis(written, "gpu", "devices (0.25 or 2) or thousandths (\"250m\")"),
        Dimension::MEMORY => bytes(written),
        Dimension::DISK => bytes(written),
        Dimension::NET => megabits(written),
        Dimension(_) => {
            let way_out = "a whole number";
            scaled(written.text(), 1).map_err(|unfit| complaint(&unfit, written, way_out, "1"))
        }
    }
}

/// Thousandths: `0.5`, `2`, `"500m"`.
pub(crate) fn millis(written: Amount<'_>, what: &str, way_out: &str) -> Result<u64, String> {
    let (digits, factor) = match (written, written.text().trim().strip_suffix('m')) {
        (Amount::Text(_), Some(digits)) => (digits, 1),
        (Amount::Text(text) | Amount::Number(text), _) => (text, 1_000),
    };
    scaled(digits.trim(), factor)
        .map_err(|unfit| complaint(&unfit, written, &format!("{what} in {way_out}"), "a thousandth"))
}

/// Bytes: `1048576`, `"512 MiB"`, `"1.5GB"`.
pub(crate) fn bytes(written: Amount<'_>) -> Result<u64, String> {
    let way_out = "bytes, or a text such as \"512 MiB\" or \"2 GB\"";
    let text = match written {
        Amount::Number(number) => {
            return scaled(number, 1).map_err(|unfit| complaint(&unfit, written, way_out, "a byte"));
        }
        Amount::Text(text) => text,
    };
    let (digits, unit) = split_unit(text);
    let factor = match BYTE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(unknown_byte_unit(text, digits, unit, way_out)),
    };
    // A fraction of a unit need not be whole bytes ("7.8 GiB"): the rest of a byte is dropped.
    scaled_down(digits, factor).map_err(|unfit| complaint(&unfit, written, way_out, "a byte"))
}

fn unknown_byte_unit(text: &str, digits: &str, unit: &str, way_out: &str) -> String {
    let first = unit.chars().next().filter(|c| "kKmMgGtT".contains(*c)).map(|c| c.to_ascii_uppercase());
    match first {
        Some(letter) if !digits.is_empty() => {
            format!(
                "{text:?} has the unit {unit:?}; write \"{digits} {letter}iB\" (1024) or \"{digits} {letter}B\" (1000)"
            )
        }
        Some(_) | None => format!("{text:?} is not an amount; write {way_out}"),
    }
}

/// Bandwidth: `100`, `"100 Mbit/s"`, `"2 Gbit/s"`.
fn megabits(written: Amount<'_>) -> Result<u64, String> {
    let way_out = "Mbit/s as a number, or a text such as \"2 Gbit/s\"";
    let (digits, factor) = match written {
        Amount::Number(number) => (number, 1),
        Amount::Text(text) => match split_unit(text) {
            (digits, "Mbit/s" | "") => (digits, 1),
            (digits, "Gbit/s") => (digits, 1_000),
            (_, _) => return Err(format!("{text:?} is not an amount; write {way_out}")),
        },
    };
    scaled(digits, factor).map_err(|unfit| complaint(&unfit, written, way_out, "1 Mbit/s"))
}

/// Microseconds of a duration: `"10s"`, `"1m 30s"`, `"500ms"`.
///
/// # Errors
/// What is wrong, with the way out.
pub(crate) fn duration_us(written: Amount<'_>) -> Result<u64, String> {
    let way_out = "a text with units (us, ms, s, m, h, d), such as \"10s\" or \"1m 30s\"";
    let wrong = || format!("{} is not a duration; write {way_out}", written.shown());
    let Amount::Text(text) = written else {
        return Err(format!("{} has no unit; write {way_out}", written.shown()));
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (digits, after) = rest.split_at(digits_end);
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = scaled(digits, *factor).map_err(|unfit| match unfit {
            Unfit::TooFine => format!("{text:?} is finer than a microsecond"),
            Unfit::TooLarge => too_long(text),
            Unfit::NoNumber | Unfit::Negative => wrong(),
        })?;
        sum = sum.saturating_add(part);
        rest = next.trim_start();
    }
    if sum > DURATION_US_MAX { Err(too_long(text)) } else { Ok(sum) }
}

fn too_long(text: &str) -> String {
    format!("{text:?} is too long; at most \"366d\"")
}

fn complaint(unfit: &Unfit, written: Amount<'_>, way_out: &str, finest: &str) -> String {
    let shown = written.shown();
    match unfit {
        Unfit::NoNumber => format!("{shown} is not an amount; write {way_out}"),
        Unfit::Negative => format!("{shown} is negative; write {way_out}"),
        Unfit::TooFine => format!("{shown} is finer than {finest}, the smallest amount"),
        Unfit::TooLarge => format!("{shown} is too much; at most {AMOUNT_MAX} of the smallest unit"),
    }
}

/// Splits `512 MiB` into `512` and `MiB`.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits.trim(), unit.trim())
}

/// A decimal number times a factor, which must come out whole.
fn scaled(digits: &str, factor: u64) -> Result<u64, Unfit> {
    match product(digits, factor)? {
        (whole, true) => Ok(whole),
        (_, false) => Err(Unfit::TooFine),
    }
}

/// A decimal number times a factor, rounded down when the factor is larger than one.
fn scaled_down(digits: &str, factor: u64) -> Result<u64, Unfit> {
    match product(digits, factor)? {
        (whole, exact) if exact || factor > 1 => Ok(whole),
        (_, _) => Err(Unfit::TooFine),
    }
}

/// A decimal number times a factor, rounded down, and whether nothing was lost.
fn product(digits: &str, factor: u64) -> Result<(u64, bool), Unfit> {
    if let Some(rest) = digits.strip_prefix('-') {
        return Err(if rest.parse::<f64>().is_ok() { Unfit::Negative } else { Unfit::NoNumber });
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if digits.is_empty() || digits == "." || !all_digits(whole) || !all_digits(fraction) {
        return Err(Unfit::NoNumber);
    }
    if whole.len() + fraction.len() > 30 {
        return Err(if fraction.len() > 12 { Unfit::TooFine } else { Unfit::TooLarge });
    }
    let mantissa: u128 = format!("0{whole}{fraction}").parse().map_err(|_| Unfit::NoNumber)?;
    let scale = 10u128.pow(fraction.len() as u32);
    let product = mantissa.checked_mul(u128::from(factor)).ok_or(Unfit::TooLarge)?;
    match u64::try_from(product / scale) {
        Ok(amount) if amount <= AMOUNT_MAX => Ok((amount, product.is_multiple_of(scale))),
        Ok(_) | Err(_) => Err(Unfit::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_come_out_exact() {
        let table = [
            (Dimension::CPU, Amount::Number("0.5"), 500),
            (Dimension::CPU, Amount::Number("2"), 2_000),
            (Dimension::CPU, Amount::Text("250m"), 250),
            (Dimension::CPU, Amount::Text("1.5"), 1_500),
            (Dimension::MEMORY, Amount::Number("4096"), 4_096),
            (Dimension::MEMORY, Amount::Text("512 MiB"), 512 << 20),
            (Dimension::MEMORY, Amount::Text("1.5GiB"), 3 << 29),
            (Dimension::MEMORY, Amount::Text("2 GB"), 2_000_000_000),
            (Dimension::DISK, Amount::Text("0.1 kB"), 100),
            (Dimension::MEMORY, Amount::Text("7.8 GiB"), 8_375_186_227),
            (Dimension::GPU, Amount::Number("0.25"), 250),
            (Dimension::NET, Amount::Text("2.5 Gbit/s"), 2_500),
            (Dimension::NET, Amount::Number("100"), 100),
            (Dimension(5), Amount::Number("7"), 7),
        ];
        for (dimension, written, expected) in table {
            assert_eq!(amount(dimension, written), Ok(expected), "{written:?}");
        }
    }

    #[test]
    fn durations_add_up() {
        for (text, expected) in
            [("10s", 10_000_000), ("1m 30s", 90_000_000), ("1m30s", 90_000_000), ("0.5ms", 500)]
        {
            assert_eq!(duration_us(Amount::Text(text)), Ok(expected), "{text}");
        }
        for odd in ["", "s", "10", "10 parsecs", "1.2.3s", "-5s", "0.1us", "400d", "99999999999999999999d"] {
            assert!(duration_us(Amount::Text(odd)).is_err(), "{odd}");
        }
    }
}
