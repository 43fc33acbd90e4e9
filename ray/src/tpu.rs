//! TPUs as Google Kubernetes Engine offers them: kinds, how their chips are arranged, and how many a host has.
//!
//! A slice is as many hosts as its topology has chips, divided by the chips of a host. Which machines there are is in the
//! documentation of GKE, "TPU versions".

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How the chips of a slice are arranged: `4x4`, or `2x2x2`. Each side is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology(Vec<u32>);

/// Text that is no topology.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a topology: write two or three numbers, such as 4x4 or 2x2x2")]
pub struct ParseTopologyError(String);

/// A kind of TPU.
#[derive(Debug, PartialEq, Eq)]
pub struct Generation {
    /// What its nodes are labelled with.
    pub accelerator: &'static str,
    /// As Ray names it.
    pub name: &'static str,
    /// How many cores a chip has, which Ray counts slices in.
    pub cores_per_chip: u64,
    /// How many numbers its topologies have.
    pub sides: usize,
    /// How many chips a machine may have that is a slice by itself. A host among several always has [`CHIPS_OF_ONE_OF_SEVERAL`].
    pub chips_of_single_host: &'static [i64],
}

/// How many chips a host has in a slice of several hosts.
pub const CHIPS_OF_ONE_OF_SEVERAL: i64 = 4;

const GENERATIONS: [Generation; 6] = [
    Generation {
        accelerator: "tpu-v4-podslice",
        name: "v4",
        cores_per_chip: 2,
        sides: 3,
        chips_of_single_host: &[4],
    },
    Generation {
        accelerator: "tpu-v5-lite-device",
        name: "v5litepod",
        cores_per_chip: 1,
        sides: 2,
        chips_of_single_host: &[1, 4, 8],
    },
    Generation {
        accelerator: "tpu-v5-lite-podslice",
        name: "v5litepod",
        cores_per_chip: 1,
        sides: 2,
        chips_of_single_host: &[1, 4, 8],
    },
    Generation {
        accelerator: "tpu-v5p-slice",
        name: "v5p",
        cores_per_chip: 2,
        sides: 3,
        chips_of_single_host: &[1, 2, 4],
    },
    Generation {
        accelerator: "tpu-v6e-slice",
        name: "v6e",
        cores_per_chip: 1,
        sides: 2,
        chips_of_single_host: &[1, 4, 8],
    },
    Generation {
        accelerator: "tpu7x",
        name: "v7x",
        cores_per_chip: 2,
        sides: 3,
        chips_of_single_host: &[1, 4],
    },
];

impl Topology {
    /// How many chips a slice has.
    pub fn chips(&self) -> u64 {
        self.0
            .iter()
            .fold(1, |chips: u64, side| chips.saturating_mul(u64::from(*side)))
    }

    /// How many numbers it has.
    pub fn sides(&self) -> usize {
        self.0.len()
    }
}

impl FromStr for Topology {
    type Err = ParseTopologyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sides: Result<Vec<u32>, _> = text.split('x').map(str::parse).collect();
        match sides {
            Ok(sides) if (2..=3).contains(&sides.len()) && !sides.contains(&0) => Ok(Self(sides)),
            _ => Err(ParseTopologyError(text.to_owned())),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&sides.join("x"))
    }
}

impl Generation {
    /// The kind that nodes with this label have.
    pub fn of(accelerator: &str) -> Option<&'static Self> {
        GENERATIONS
            .iter()
            .find(|generation| generation.accelerator == accelerator)
    }
}

#[cfg(test)]
mod tests {
    use super::Topology;

    #[test]
    fn topologies() {
        for (text, chips) in [("2x2", 4), ("2x2x1", 4), ("16x16", 256), ("4x4x8", 128)] {
            let topology: Topology = text.parse().expect(text);
            assert_eq!((topology.chips(), topology.to_string()), (chips, text.to_owned()));
        }
        for text in ["", "4", "4x", "2x2x2x2", "0x4", "2X2", "-1x4", "2x2 "] {
            assert!(text.parse::<Topology>().is_err(), "{text}");
        }
        let huge: Topology = "4294967295x4294967295x4294967295".parse().expect("numbers");
        assert_eq!(huge.chips(), u64::MAX);
    }
}
