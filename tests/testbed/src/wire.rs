//! What the process inside the namespaces says to the one outside: lines of JSON over the Unix socket that is its standard input.
//!
//! Inside there is no network, so everything that has to be downloaded is asked for here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::program::Program;

/// Something that only the process outside can do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Want {
    /// The executables of a Go module.
    Program(Program),
    /// A Python environment with this version of Ray.
    Ray(String),
    /// A TCP port on the machine's own loopback that leads to this Unix socket.
    Publish(PathBuf),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub id: u64,
    pub want: Want,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub id: u64,
    pub step: Step,
}

/// Any number of `Progress`, then one of the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    Progress(String),
    Done(Paths),
    Published(u16),
    Failed(String),
}

/// What was made: name -> place.
pub(crate) type Paths = BTreeMap<String, PathBuf>;
