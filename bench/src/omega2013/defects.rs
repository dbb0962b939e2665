//! Defects of the original simulator, by name. They are reproduced here so that its figures can be, and nowhere else.

/// Which defects of the original a run has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Defects {
    /// Claims undone by a lost all-or-nothing transaction leave the machine's sequence number bumped, so that they
    /// cost others conflicts over nothing.
    pub undone_claims_leave_marks: bool,
    /// All-or-nothing holds for what placement found machines for, not for the job: a part of a gang is committed.
    pub parts_pass_as_whole: bool,
    /// All schedulers draw the same numbers, as every generator has the same seed.
    pub equal_seeds: bool,
    /// One conflicting claim makes the whole decision wasted, also when all other tasks were placed.
    pub one_conflict_wastes_all: bool,
    /// Time spent on attempts that found no machine is neither useful nor wasted: the scheduler seems idle.
    pub fruitless_time_is_idle: bool,
    /// In two-level scheduling, free memory is never looked at: the cores left are compared with the smallest
    /// memory of an offer, and the memory left with the task's cores.
    pub memory_taken_for_cpus: bool,
    /// The first event past the end is still executed, and busyness divides by its time.
    pub runs_past_the_end: bool,
}

impl Defects {
    /// All of them: the `omega-2013` mode.
    pub const ALL: Defects = Defects::each(true);
    /// None of them: the `faithful` mode.
    pub const NONE: Defects = Defects::each(false);

    const fn each(present: bool) -> Defects {
        Defects {
            undone_claims_leave_marks: present,
            parts_pass_as_whole: present,
            equal_seeds: present,
            one_conflict_wastes_all: present,
            fruitless_time_is_idle: present,
            memory_taken_for_cpus: present,
            runs_past_the_end: present,
        }
    }

    /// The names of all, in the order of [`Defects::without`].
    pub const NAMES: [&'static str; 7] = [
        "undone-claims-leave-marks",
        "parts-pass-as-whole",
        "equal-seeds",
        "one-conflict-wastes-all",
        "fruitless-time-is-idle",
        "memory-taken-for-cpus",
        "runs-past-the-end",
    ];

    /// The same without the defect of this name, if there is one.
    #[must_use]
    pub fn without(mut self, name: &str) -> Option<Defects> {
        let all = [
            &mut self.undone_claims_leave_marks,
            &mut self.parts_pass_as_whole,
            &mut self.equal_seeds,
            &mut self.one_conflict_wastes_all,
            &mut self.fruitless_time_is_idle,
            &mut self.memory_taken_for_cpus,
            &mut self.runs_past_the_end,
        ];
        *all.into_iter().zip(Defects::NAMES).find(|(_, n)| *n == name)?.0 = false;
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_each_of_them_none_is_left() {
        let left = Defects::NAMES.iter().fold(Defects::ALL, |left, name| left.without(name).unwrap());
        assert_eq!(left, Defects::NONE);
        assert_eq!(Defects::ALL.without("speed"), None);
    }
}
