//! Bytes as a source of choices, so that a fuzzer that changes bytes changes what happens. At their end every choice is
//! the first one.

/// The choices left.
pub(super) struct Draw<'a>(pub(super) &'a [u8]);

impl Draw<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below this one, which is not zero.
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// Small, and now and then as large as it gets.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => 1 << 53,
            253 => u64::from(u32::MAX),
            small => u64::from(small),
        }
    }

    pub(super) fn chance(&mut self, in_256: u8) -> bool {
        self.byte() < in_256
    }

    /// One of these.
    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_end_every_choice_is_the_first() {
        let mut draw = Draw(&[7, 255]);
        assert_eq!((draw.below(5), draw.number()), (2, u64::MAX));
        assert!(draw.is_over() && draw.of(&['a', 'b']) == 'a' && draw.number() == 0);
    }
}
