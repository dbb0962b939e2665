//! What a task lacked to be started, small enough for its record.

use serde::{Deserialize, Serialize};

/// Why an artifact could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ArtifactProblem {
    /// Its host can't be reached, or broke off.
    Unreachable,
    /// Its host answered with this HTTP status.
    Status(u16),
    /// There is no such file on the machine.
    NotFound,
    /// The operator of the machine doesn't offer that path.
    NotOffered,
    /// Its bytes are others than the job says.
    OtherBytes,
    /// It, or what it unpacks to, is larger than the machine's agent takes.
    TooLarge,
    /// It can't be unpacked: it is no such archive, or has entries that would leave their place.
    BadArchive,
    /// Another error of the operating system, by number.
    Os(u16),
}

/// Why a secret could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum SecretProblem {
    /// The machine has none of that name for the job's team.
    NotFound,
    /// It is larger than a secret may be.
    TooLarge,
    /// Another error of the operating system, by number.
    Os(u16),
}

/// The artifact or secret that a task lacked, by its position in the job's list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Lack {
    /// An artifact.
    Artifact(u8, ArtifactProblem),
    /// A secret.
    Secret(u8, SecretProblem),
}

impl Lack {
    /// As one number.
    pub(crate) fn to_bits(self) -> i32 {
        let (kind, index, detail) = match self {
            Lack::Artifact(index, problem) => match problem {
                ArtifactProblem::Unreachable => (0, index, 0),
                ArtifactProblem::Status(status) => (1, index, status),
                ArtifactProblem::NotFound => (2, index, 0),
                ArtifactProblem::NotOffered => (3, index, 0),
                ArtifactProblem::OtherBytes => (4, index, 0),
                ArtifactProblem::TooLarge => (5, index, 0),
                ArtifactProblem::BadArchive => (6, index, 0),
                ArtifactProblem::Os(error) => (7, index, error),
            },
            Lack::Secret(index, problem) => match problem {
                SecretProblem::NotFound => (64, index, 0),
                SecretProblem::TooLarge => (65, index, 0),
                SecretProblem::Os(error) => (66, index, error),
            },
        };
        i32::from_le_bytes([kind, index, detail.to_le_bytes()[0], detail.to_le_bytes()[1]])
    }

    /// From such a number.
    pub(crate) fn from_bits(bits: i32) -> Option<Lack> {
        let [kind, index, low, high] = bits.to_le_bytes();
        let detail = u16::from_le_bytes([low, high]);
        let lack = match kind {
            0 => Lack::Artifact(index, ArtifactProblem::Unreachable),
            1 => Lack::Artifact(index, ArtifactProblem::Status(detail)),
            2 => Lack::Artifact(index, ArtifactProblem::NotFound),
            3 => Lack::Artifact(index, ArtifactProblem::NotOffered),
            4 => Lack::Artifact(index, ArtifactProblem::OtherBytes),
            5 => Lack::Artifact(index, ArtifactProblem::TooLarge),
            6 => Lack::Artifact(index, ArtifactProblem::BadArchive),
            7 => Lack::Artifact(index, ArtifactProblem::Os(detail)),
            64 => Lack::Secret(index, SecretProblem::NotFound),
            65 => Lack::Secret(index, SecretProblem::TooLarge),
            66 => Lack::Secret(index, SecretProblem::Os(detail)),
            _ => return None,
        };
        // Only the one way of writing it.
        (lack.to_bits() == bits).then_some(lack)
    }
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lack::Artifact(index, problem) => {
                write!(f, "artifact {index}: ")?;
                match problem {
                    ArtifactProblem::Unreachable => f.write_str("its host can't be reached"),
                    ArtifactProblem::Status(status) => {
                        write!(f, "its host answered with HTTP status {status}")
                    }
                    ArtifactProblem::NotFound => f.write_str("no such file on the machine"),
                    ArtifactProblem::NotOffered => f.write_str("the machine doesn't offer that path"),
                    ArtifactProblem::OtherBytes => f.write_str("its bytes don't have that sha256"),
                    ArtifactProblem::TooLarge => f.write_str("larger than the agent takes"),
                    ArtifactProblem::BadArchive => f.write_str("it can't be unpacked"),
                    ArtifactProblem::Os(error) => write!(f, "error {error} of the operating system"),
                }
            }
            Lack::Secret(index, problem) => {
                write!(f, "secret {index}: ")?;
                match problem {
                    SecretProblem::NotFound => f.write_str("the machine has none of that name for the team"),
                    SecretProblem::TooLarge => f.write_str("larger than a secret may be"),
                    SecretProblem::Os(error) => write!(f, "error {error} of the operating system"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_reads_back_and_no_other_number_is_one() {
        let artifact = |problem| Lack::Artifact(31, problem);
        let all = [
            artifact(ArtifactProblem::Unreachable),
            artifact(ArtifactProblem::Status(404)),
            artifact(ArtifactProblem::NotFound),
            artifact(ArtifactProblem::NotOffered),
            artifact(ArtifactProblem::OtherBytes),
            artifact(ArtifactProblem::TooLarge),
            artifact(ArtifactProblem::BadArchive),
            artifact(ArtifactProblem::Os(28)),
            Lack::Secret(3, SecretProblem::NotFound),
            Lack::Secret(0, SecretProblem::TooLarge),
            Lack::Secret(0, SecretProblem::Os(13)),
        ];
        for lack in all {
            assert_eq!(Lack::from_bits(lack.to_bits()), Some(lack));
        }
        assert_eq!(Lack::from_bits(-1), None);
        assert_eq!(Lack::from_bits(1 << 16), None);
    }
}
