//! A plan as text, for logs, events and tests.

use std::fmt;

use crate::demand::{Batch, Gang, Request};
use crate::plan::{Cause, Decision, Infeasible, Plan, Reason, Termination};

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for decision in &self.decisions {
            writeln!(formatter, "{decision}")?;
        }
        for termination in &self.terminate {
            writeln!(formatter, "{termination}")?;
        }
        write!(formatter, "{}", self.infeasible)
    }
}

/// `small: 1 -> 3 replicas, 2 nodes for tasks and actors`
impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} -> {} replicas, {}",
            self.group,
            self.from,
            self.to,
            self.reason()
        )
    }
}

impl Decision {
    /// `2 nodes for tasks and actors`
    pub fn reason(&self) -> String {
        let launched = self.launched.iter();
        let launched = launched.map(|(reason, count)| format!("{} for {reason}", nodes(*count)));
        let terminated = self.terminated.iter();
        let terminated = terminated.map(|(cause, count)| format!("{} gone: {cause}", nodes(*count)));
        let reasons: Vec<String> = launched.chain(terminated).collect();
        let reasons = if reasons.is_empty() {
            "to match the nodes there are".to_owned()
        } else {
            reasons.join(", ")
        };
        match &self.by {
            None => reasons,
            Some(by) => format!("{reasons} (by {by})"),
        }
    }
}

/// `remove a of small: idle for longer than allowed, idle for 61 s`
impl fmt::Display for Termination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.idle_milliseconds / 1000;
        write!(
            formatter,
            "remove {} of {}: {}, idle for {seconds} s",
            self.id, self.group, self.cause
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Minimum => "the minimum",
            Self::Constraint => "request_resources",
            Self::Gang => "placement groups",
            Self::Demand => "tasks and actors",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Idle => "idle for longer than allowed",
            Self::Maximum => "above the maximum of the group",
            Self::MaxNodes => "above the maximum of the cluster",
            Self::Lost => "given up by Ray",
            Self::Stuck => "waited in vain and not needed",
        })
    }
}

impl fmt::Display for Infeasible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for batch in &self.requests {
            writeln!(formatter, "no place for {batch}")?;
        }
        for gang in &self.gangs {
            writeln!(formatter, "no place for {gang}")?;
        }
        if self.constraint {
            writeln!(formatter, "no place for what request_resources asked")?;
        }
        Ok(())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} x {}", self.count, self.request)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.resources)
    }
}

impl fmt::Display for Gang {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bundles: Vec<String> = self.bundles.iter().map(ToString::to_string).collect();
        write!(formatter, "{} [{}]", self.details, bundles.join(", "))
    }
}

fn nodes(count: u64) -> String {
    if count == 1 {
        "1 node".to_owned()
    } else {
        format!("{count} nodes")
    }
}
