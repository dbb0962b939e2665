//! What a load is: how many proposers, how much each has under way, and what they propose.

use std::str::FromStr;
use std::time::Duration;

use cell_state::bounds::{RESTARTS_MAX, SESSION_OUTCOME_OPS_MAX, SESSION_OUTCOMES_MAX};
use cell_state::transaction::{Atomicity, Detection};
use schedulers::policy::BUILT_IN;

use super::skew::Skew;
use crate::bounds::{
    LOAD_COPIES_MAX, LOAD_MACHINES_MAX, LOAD_SCHEDULERS_MAX, LOAD_SECONDS_MAX, LOAD_TASKS_MAX,
};

/// Everything that makes one load differ from another.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Scheduler connections, each with a session of its own.
    pub schedulers: u32,
    /// Transactions each keeps unanswered.
    pub in_flight: u32,
    /// Placements in each transaction.
    pub ops: u32,
    /// Machines.
    pub machines: u32,
    /// Tasks of all jobs together, divided among the schedulers.
    pub tasks: u32,
    /// How proposals come about.
    pub proposing: Proposing,
    /// Placements proposed per second at most, by all schedulers together.
    pub rate: Option<u32>,
    /// How machines are chosen by those who propose blindly.
    pub skew: Skew,
    /// What counts as a conflict.
    pub detection: Detection,
    /// What happens to a transaction with one.
    pub atomicity: Atomicity,
    /// How long a task stays placed before its machine reports its end; `None` is for ever.
    pub hold: Option<Duration>,
    /// Connections that follow the whole log and keep a copy of the cell.
    pub copies: u32,
    /// How long the load runs before anything counts.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// Decides which machines are chosen.
    pub seed: u64,
}

/// How proposals come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proposing {
    /// Machines are drawn by chance, and nothing is looked at.
    Blind,
    /// A built-in policy of this name plans on a copy of the cell.
    Policy(&'static str),
}

impl Proposing {
    /// The word for proposing blindly.
    pub const BLIND: &'static str = "null";

    /// As in [`Settings`].
    pub fn word(self) -> &'static str {
        match self {
            Proposing::Blind => Proposing::BLIND,
            Proposing::Policy(name) => name,
        }
    }
}

impl FromStr for Proposing {
    type Err = String;

    fn from_str(word: &str) -> Result<Proposing, String> {
        if word == Proposing::BLIND {
            return Ok(Proposing::Blind);
        }
        let known = || format!("{}, {}", Proposing::BLIND, BUILT_IN.join(", "));
        let found = BUILT_IN.into_iter().find(|name| *name == word).map(Proposing::Policy);
        found.ok_or_else(|| format!("{word:?} is no policy; expected one of {}", known()))
    }
}

impl Settings {
    /// The placements per second of one scheduler at most.
    pub(super) fn rate_of_one(&self) -> Option<f64> {
        self.rate.map(|rate| f64::from(rate) / f64::from(self.schedulers))
    }

    /// Transactions under way at once.
    pub(super) fn under_way(&self) -> u64 {
        u64::from(self.schedulers) * u64::from(self.in_flight)
    }

    /// Checks that the settings can be meant.
    ///
    /// # Errors
    /// The flag that is wrong, and why.
    pub fn check(&self) -> Result<(), String> {
        let within = |flag: &str, value: u64, max: u64| {
            let fine = (1..=max).contains(&value);
            fine.then_some(()).ok_or_else(|| format!("--{flag}: {value}; expected 1 to {max}"))
        };
        within("schedulers", self.schedulers.into(), LOAD_SCHEDULERS_MAX.into())?;
        within("in-flight", self.in_flight.into(), SESSION_OUTCOMES_MAX as u64)?;
        within("machines", self.machines.into(), LOAD_MACHINES_MAX.into())?;
        within("tasks", self.tasks.into(), LOAD_TASKS_MAX.into())?;
        let most = SESSION_OUTCOME_OPS_MAX as u64 / u64::from(self.in_flight);
        within("ops", self.ops.into(), most)
            .map_err(|e| format!("{e} (with {} transactions in flight)", self.in_flight))?;
        if self.rate == Some(0) {
            return Err("--rate: 0; expected at least 1".to_owned());
        }
        if self.proposing != Proposing::Blind && (self.rate.is_some() || self.skew != Skew::Uniform) {
            return Err(
                "--policy: a policy has its own pace and its own choice; leave --rate and --skew".to_owned()
            );
        }
        if self.copies > LOAD_COPIES_MAX {
            return Err(format!("--copies: {}; expected at most {LOAD_COPIES_MAX}", self.copies));
        }
        if self.skew == Skew::Own && u64::from(self.machines) < self.under_way() {
            let (machines, needed) = (self.machines, self.under_way());
            return Err(format!(
                "--skew own: {machines} machines can't be divided among {needed} transactions under way; \
                 more --machines, or fewer --schedulers or --in-flight"
            ));
        }
        let needed = self.under_way() * u64::from(self.ops);
        if u64::from(self.tasks) < needed {
            let problem = "schedulers × transactions in flight × ops are under way at once";
            return Err(format!("--tasks: {}; {needed} are needed, for {problem}", self.tasks));
        }
        let whole = self.warm_up + self.duration;
        if self.duration.is_zero() || whole > Duration::from_secs(LOAD_SECONDS_MAX) {
            return Err(format!(
                "--duration: {:?} after a warm-up of {:?}; expected more than nothing and at most \
                 {LOAD_SECONDS_MAX} s together",
                self.duration, self.warm_up
            ));
        }
        match self.hold {
            Some(hold) if whole.as_secs_f64() > hold.as_secs_f64() * f64::from(RESTARTS_MAX) => Err(format!(
                "--hold: {hold:?} is too short for {whole:?}: a task is placed again at most {RESTARTS_MAX} times"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The same load with another value on one axis.
    ///
    /// # Errors
    /// The value can't be meant.
    pub fn with(&self, axis: Axis, value: &str) -> Result<Settings, String> {
        let mut other = self.clone();
        let number = || value.parse::<u32>().map_err(|_| format!("{value:?} is no number"));
        match axis {
            Axis::Schedulers => other.schedulers = number()?,
            Axis::InFlight => other.in_flight = number()?,
            Axis::Ops => other.ops = number()?,
            Axis::Machines => other.machines = number()?,
            Axis::Tasks => other.tasks = number()?,
            Axis::Copies => other.copies = number()?,
            Axis::Policy => other.proposing = value.parse()?,
            Axis::Rate => other.rate = Some(number()?),
            Axis::Skew => other.skew = value.parse()?,
            Axis::Detection => other.detection = detection(value)?,
            Axis::Atomicity => other.atomicity = atomicity(value)?,
        }
        other.check()?;
        Ok(other)
    }
}

/// The detection a word stands for.
///
/// # Errors
/// It stands for none.
pub fn detection(word: &str) -> Result<Detection, String> {
    match word {
        "fit" => Ok(Detection::Fit),
        "version" => Ok(Detection::Version),
        _ => Err(format!("{word:?} is no detection; expected fit or version")),
    }
}

/// The atomicity a word stands for.
///
/// # Errors
/// It stands for none.
pub fn atomicity(word: &str) -> Result<Atomicity, String> {
    match word {
        "incremental" => Ok(Atomicity::Incremental),
        "all-or-nothing" => Ok(Atomicity::AllOrNothing),
        _ => Err(format!("{word:?} is no atomicity; expected incremental or all-or-nothing")),
    }
}

/// What a sweep varies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// [`Settings::schedulers`].
    Schedulers,
    /// [`Settings::in_flight`].
    InFlight,
    /// [`Settings::ops`].
    Ops,
    /// [`Settings::machines`].
    Machines,
    /// [`Settings::tasks`].
    Tasks,
    /// [`Settings::copies`].
    Copies,
    /// [`Settings::proposing`].
    Policy,
    /// [`Settings::rate`].
    Rate,
    /// [`Settings::skew`].
    Skew,
    /// [`Settings::detection`].
    Detection,
    /// [`Settings::atomicity`].
    Atomicity,
}

impl Axis {
    /// All of them.
    pub const ALL: [Axis; 11] = [
        Axis::Schedulers,
        Axis::InFlight,
        Axis::Ops,
        Axis::Machines,
        Axis::Tasks,
        Axis::Copies,
        Axis::Policy,
        Axis::Rate,
        Axis::Skew,
        Axis::Detection,
        Axis::Atomicity,
    ];

    /// The flag that sets it.
    pub fn word(self) -> &'static str {
        match self {
            Axis::Schedulers => "schedulers",
            Axis::InFlight => "in-flight",
            Axis::Ops => "ops",
            Axis::Machines => "machines",
            Axis::Tasks => "tasks",
            Axis::Copies => "copies",
            Axis::Policy => "policy",
            Axis::Rate => "rate",
            Axis::Skew => "skew",
            Axis::Detection => "detection",
            Axis::Atomicity => "atomicity",
        }
    }
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(word: &str) -> Result<Axis, String> {
        let known = || Axis::ALL.map(Axis::word).join(", ");
        let found = Axis::ALL.into_iter().find(|axis| axis.word() == word);
        found.ok_or_else(|| format!("{word:?} is no axis; expected one of {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            schedulers: 4,
            in_flight: 16,
            ops: 10,
            machines: 1_000,
            tasks: 100_000,
            proposing: Proposing::Blind,
            rate: None,
            skew: Skew::Uniform,
            detection: Detection::Fit,
            atomicity: Atomicity::Incremental,
            hold: Some(Duration::from_secs(1)),
            copies: 1,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            seed: 1,
        }
    }

    #[test]
    fn every_axis_takes_a_value_and_refuses_what_can_not_be() {
        let good =
            ["2", "8", "100", "10", "200000", "0", "batch", "5", "zipf:1", "version", "all-or-nothing"];
        for (axis, value) in Axis::ALL.into_iter().zip(good) {
            assert_eq!(axis.word().parse(), Ok(axis));
            assert_ne!(settings().with(axis, value).unwrap(), settings(), "{axis:?}");
            assert!(settings().with(axis, "nonsense").is_err(), "{axis:?}");
        }
        assert!("colour".parse::<Axis>().is_err());
    }

    #[test]
    fn impossible_loads_are_named_by_their_flag() {
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        assert_eq!(settings().check(), Ok(()));
        assert!(wrong(|s| s.schedulers = 0).starts_with("--schedulers: 0"));
        assert!(wrong(|s| s.in_flight = 257).starts_with("--in-flight: 257"));
        assert!(wrong(|s| s.ops = 1_000).starts_with("--ops: 1000"));
        assert!(wrong(|s| s.tasks = 639).starts_with("--tasks: 639; 640 are needed"));
        assert!(wrong(|s| s.duration = Duration::ZERO).starts_with("--duration"));
        assert!(wrong(|s| s.hold = Some(Duration::from_millis(1))).starts_with("--hold"));
    }
}
