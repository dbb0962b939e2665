//! The scale of an axis: where a value lies, and which values are written beside it.

/// A linear or logarithmic axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

/// The least value a logarithmic axis shows.
const LEAST: f64 = 1e-6;

impl Scale {
    /// A linear axis that holds these values, from 0 if they are near it.
    pub(super) fn linear(values: impl Iterator<Item = f64>, min: Option<f64>, max: Option<f64>) -> Scale {
        let (least, most) = ends(values);
        let from = min.unwrap_or(if least >= 0.0 { 0.0 } else { least });
        let mut to = max.unwrap_or(if most > from { from + (most - from) * 1.06 } else { from + 1.0 });
        if to <= from {
            to = from + 1.0;
        }
        Scale { from, to, log: false }
    }

    /// A linear axis from the least to the largest of these values.
    pub(super) fn tight(values: impl Iterator<Item = f64>, max: Option<f64>) -> Scale {
        let (least, most) = ends(values);
        let room = ((most - least) * 0.03).max(1e-9);
        Scale { from: least - room, to: max.unwrap_or(most + room).max(least + 1e-9), log: false }
    }

    /// A logarithmic axis that holds those of the values that are above 0.
    pub(super) fn log(values: impl Iterator<Item = f64>, min: Option<f64>, max: Option<f64>) -> Scale {
        let (least, most) = ends(values.filter(|value| *value > 0.0));
        let (least, most) = (min.unwrap_or(least).max(LEAST), max.unwrap_or(most).max(LEAST));
        let most = if most > least { most } else { least * 10.0 };
        let room = (most / least).powf(0.03);
        let from = if min.is_some() { least } else { least / room };
        let to = if max.is_some() { most } else { most * room };
        Scale { from, to, log: true }
    }

    /// Where a value lies: 0 at the beginning of the axis, 1 at its end; values beyond lie at the ends.
    pub(super) fn part(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(LEAST) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        part.clamp(0.0, 1.0)
    }

    /// The values written beside it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.log { self.decades() } else { self.steps() }
    }

    fn steps(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / 6.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|s| s * unit).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }

    fn decades(&self) -> Vec<f64> {
        let (first, last) = (self.from.log10().ceil() as i32, self.to.log10().floor() as i32);
        let decades: Vec<f64> = (first..=last).map(|e| 10f64.powi(e)).collect();
        let every = decades.len().div_ceil(8).max(1);
        if decades.len() >= 3 {
            return decades.into_iter().step_by(every).collect();
        }
        let marks = (first - 1..=last).flat_map(|e| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(e)));
        marks.filter(|mark| (self.from..=self.to).contains(mark)).collect()
    }

    /// Lines of the grid between the ticks: those of a logarithmic axis.
    pub(super) fn between(&self) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        if !self.log || decades > 5.0 {
            return Vec::new();
        }
        let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        let marks = (first..=last).flat_map(|e| (2..10).map(move |m| f64::from(m) * 10f64.powi(e)));
        marks.filter(|mark| (self.from..=self.to).contains(mark)).collect()
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (least, most) = finite.fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(v), most.max(v)));
    if least > most { (0.0, 1.0) } else { (least, most) }
}

/// A value as it is written beside an axis.
pub(super) fn written(value: f64) -> String {
    let size = value.abs();
    if size >= 1e9 || (size > 0.0 && size < 1e-4) {
        return format!("{value:e}");
    }
    if size >= 10_000.0 && value.fract() == 0.0 {
        let digits = format!("{:.0}", size);
        let mut grouped = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return if value < 0.0 { format!("-{grouped}") } else { grouped };
    }
    // Steps are sums: what is beyond the sixth digit is not meant.
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        let linear = Scale::linear([0.0, 0.93].into_iter(), None, None);
        assert_eq!(
            linear.ticks().iter().map(|t| written(*t)).collect::<Vec<_>>(),
            ["0", "0.2", "0.4", "0.6", "0.8"]
        );
        let log = Scale::log([0.1, 100.0].into_iter(), None, None);
        assert_eq!(log.ticks().iter().map(|t| written(*t)).collect::<Vec<_>>(), ["0.1", "1", "10", "100"]);
        assert!((log.part(10f64.sqrt()) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::log([1.0, 32.0].into_iter(), None, None).ticks(), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(
            (written(40_000.0), written(12.5), written(0.00001)),
            ("40,000".into(), "12.5".into(), "1e-5".into())
        );
    }
}
