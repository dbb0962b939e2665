//! A process that was killed for want of memory, in the 39 bits that a task's record has room for.

use serde::{Deserialize, Serialize};

/// Bits of a process number: the kernel gives out none above this.
const PID_BITS: u32 = 22;

/// Bits of the peak's leading digits; the rest of its 17 bits say how far they are shifted.
const DIGIT_BITS: u32 = 11;

/// Which process was killed, and how much memory the task had used by then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MemoryKill {
    pid: u32,
    peak: u32,
}

impl MemoryKill {
    /// A kill. The peak is kept to about three digits; process 0 stands for one that nobody knows.
    pub fn new(pid: u32, peak_bytes: u64) -> MemoryKill {
        let kilobytes = peak_bytes >> 10;
        let shift = (u64::BITS - kilobytes.leading_zeros()).saturating_sub(DIGIT_BITS);
        let digits = (kilobytes >> shift) as u32;
        MemoryKill { pid: pid & ((1 << PID_BITS) - 1), peak: (shift << DIGIT_BITS) | digits }
    }

    /// The process; 0 when nobody knows.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// The most memory the task had used, in bytes.
    pub fn peak_bytes(self) -> u64 {
        let digits = u64::from(self.peak & ((1 << DIGIT_BITS) - 1));
        digits.checked_shl((self.peak >> DIGIT_BITS) + 10).unwrap_or(u64::MAX)
    }

    /// As 7 and 32 bits.
    pub(super) fn to_bits(self) -> (u8, u32) {
        let low = PID_BITS.abs_diff(u32::BITS);
        ((self.peak >> low) as u8 & 0x7f, (self.peak << PID_BITS) | self.pid)
    }

    pub(super) fn from_bits(high: u8, low: u32) -> MemoryKill {
        let kept = PID_BITS.abs_diff(u32::BITS);
        MemoryKill {
            pid: low & ((1 << PID_BITS) - 1),
            peak: (u32::from(high & 0x7f) << kept) | (low >> PID_BITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_told_to_three_digits() {
        for (pid, bytes) in [(0, 0), (1, 4 << 10), (77, 64 << 20), (4_194_303, 3 << 40), (9, u64::MAX >> 1)] {
            let kill = MemoryKill::new(pid, bytes);
            assert_eq!(kill.pid(), pid);
            assert!(
                kill.peak_bytes() <= bytes && bytes - kill.peak_bytes() <= (bytes >> 10).max(1 << 10),
                "{bytes}"
            );
            let (high, low) = kill.to_bits();
            assert_eq!(MemoryKill::from_bits(high, low), kill);
        }
    }
}
