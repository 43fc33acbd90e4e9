//! What scaling policies said of a group at the last look, signal by signal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::journal::Look;
use crate::signals::GroupTold;

/// What one policy wanted of a group, and what decided.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyStory {
    policy: String,
    replicas: u64,
    desired_replicas: u64,
    limited_by: String,
    signals: Vec<SignalStory>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignalStory {
    name: String,
    role: String,
    /// The number, where one was measured.
    value: Option<f64>,
    age_seconds: Option<f64>,
    /// How many replicas it stands for, where it does.
    replicas: Option<u64>,
    /// Why nothing is known, where nothing is.
    problem: Option<String>,
}

/// What the policies of a group said.
pub(super) fn policies(look: &Look, group: &str) -> Vec<PolicyStory> {
    let told = look.policies.iter().filter(|told| told.status.name == group);
    told.map(story).collect()
}

fn story(told: &GroupTold) -> PolicyStory {
    let signals = told.status.signals.iter().zip(&told.heard);
    let signals = signals.map(|(signal, heard)| SignalStory {
        name: signal.name.clone(),
        role: heard.role.name().to_owned(),
        value: heard.value,
        age_seconds: heard.age.map(|age| age.as_secs_f64()),
        replicas: signal.replicas,
        problem: signal.problem.clone(),
    });
    PolicyStory {
        policy: told.policy.1.clone(),
        replicas: told.status.replicas,
        desired_replicas: told.status.desired_replicas,
        limited_by: told.status.limited_by.clone(),
        signals: signals.collect(),
    }
}

impl fmt::Display for PolicyStory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "    policy {}: {} -> {} replicas, decided by {}",
            self.policy, self.replicas, self.desired_replicas, self.limited_by
        )?;
        for signal in &self.signals {
            writeln!(formatter, "      {signal}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SignalStory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}): ", self.name, self.role)?;
        match (self.value, &self.problem) {
            (Some(value), _) => write!(formatter, "{value}")?,
            (None, Some(problem)) => write!(formatter, "not known, {problem}")?,
            (None, None) => formatter.write_str(if self.replicas.is_some() {
                "on"
            } else {
                "as the clock has it"
            })?,
        }
        if let Some(seconds) = self.age_seconds {
            write!(formatter, ", {seconds:.0} s old")?;
        }
        if let Some(replicas) = self.replicas {
            write!(formatter, ", stands for {replicas} replicas")?;
        }
        Ok(())
    }
}
