//! A signal: where a number comes from, and what it is good for.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::quantity::Quantity;

/// Where a number comes from, and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.prometheus) != has(self.schedule)", "message": "give either prometheus or schedule"},
    {"rule": "self.role != 'Target' || has(self.schedule) || has(self.value) != has(self.averageValue)", "message": "a Target has either value or averageValue"},
]))]
pub struct Signal {
    /// What the signal is called in the status and in reasons.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What the number is good for. Target: it proposes replicas. Floor: so many replicas at least. Cap: so many at most, even against a Floor.
    /// Guard: while it is above `threshold`, nothing shrinks, or grows. Activate: while none is above its `threshold`, Targets propose nothing.
    pub role: Role,
    /// A number from Prometheus.
    pub prometheus: Option<PrometheusSource>,
    /// A number at certain times.
    pub schedule: Option<ScheduleSource>,
    /// For a Target: what the number should be, however many replicas there are.
    pub value: Option<Measure>,
    /// For a Target: what each replica's share of the number should be.
    pub average_value: Option<Measure>,
    /// For a Guard or an Activate: above which number it is on. Without it 0.
    pub threshold: Option<Measure>,
    /// For a Guard: what it keeps from happening. Without it Shrink.
    #[serde(default)]
    #[schemars(with = "Vetoes")]
    pub vetoes: Option<Vetoes>,
    /// What counts when the number has not been known for a while. Without it, and before, the group keeps the replicas it has, and grows on what
    /// else is known.
    pub fallback: Option<Fallback>,
}

/// What a number is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Role {
    /// It proposes replicas.
    Target,
    /// The fewest replicas.
    Floor,
    /// The most replicas.
    Cap,
    /// A condition under which nothing shrinks, or grows.
    Guard,
    /// A condition for Targets to propose anything.
    Activate,
}

impl Role {
    /// As a manifest calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Target => "Target",
            Self::Floor => "Floor",
            Self::Cap => "Cap",
            Self::Guard => "Guard",
            Self::Activate => "Activate",
        }
    }
}

/// What a Guard keeps from happening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Vetoes {
    /// Fewer replicas.
    #[default]
    Shrink,
    /// More replicas.
    Grow,
    /// Both.
    Change,
}

/// A number from Prometheus, or from whatever answers as it does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSource {
    /// The address, such as `http://prometheus.monitoring:9090`; without it the one that the autoscaler was given.
    #[schemars(length(max = 2048))]
    pub server: Option<String>,
    /// An instant query in PromQL whose answer is one number. `$cluster`, `$namespace` and `$group` stand for the names of what is scaled.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// What the answer has a series for each of, told apart by the labels `namespace` and `ray_io_cluster`, and for groups by `ray_io_group` as well: so
    /// one query serves many policies. Without it the answer is one number.
    #[serde(default)]
    #[schemars(with = "Each")]
    pub each: Option<Each>,
}

/// What there is a series for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Each {
    /// Each cluster.
    Cluster,
    /// Each group of each cluster.
    Group,
}

/// A number at certain times.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSource {
    /// When it begins: the minute, hour, day of the month, month and day of the week of cron.
    #[schemars(length(max = 256))]
    pub start: String,
    /// When it ends, in the same way.
    #[schemars(length(max = 256))]
    pub end: String,
    /// By which clock, such as `Europe/Berlin`; without it UTC. A time that a change of the clocks leaves out counts when the clock has jumped
    /// over it, one that comes twice counts the first time.
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// How many replicas, for a Target, a Floor or a Cap.
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
}

/// What counts when a number has not been known for a while.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    /// After how many failures in a row. Without it 3.
    #[schemars(range(min = 1))]
    pub failures: Option<i32>,
    /// What counts then. Static: the given replicas. Last: the last number that was known. Ignore: the signal says nothing.
    pub behavior: FallbackBehavior,
    /// For Static: how many replicas.
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
}

/// What counts when a number has not been known for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FallbackBehavior {
    /// The given replicas.
    Static,
    /// The last number that was known.
    Last,
    /// Nothing: as if there were no such signal.
    Ignore,
}

/// A number such as `2`, `"0.8"` or `"500m"`, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure(pub i64);

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => return Err(de::Error::custom(format!("{other} is not a number"))),
        };
        let quantity: Quantity = text.parse().map_err(de::Error::custom)?;
        i64::try_from(quantity.ceil_millis())
            .map(Self)
            .map_err(|_| de::Error::custom(format!("{text} is too large")))
    }
}

impl JsonSchema for Measure {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Measure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}
