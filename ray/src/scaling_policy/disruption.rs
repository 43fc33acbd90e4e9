//! How much of a group may be taken away at a time.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// How much of a group may be taken away at a time, whoever wants it gone: a signal, the behavior, or Ray, since it is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.maxRemoved) || has(self.minAgeSeconds)", "message": "give maxRemoved, minAgeSeconds or both"},
    {"rule": "!has(self.windowSeconds) || has(self.maxRemoved)", "message": "windowSeconds goes with maxRemoved"},
]))]
pub struct Disruption {
    /// How many replicas may go within any `windowSeconds`: a number, or a part of those there were, such as `10%`, rounded up.
    #[schemars(with = "Share")]
    pub max_removed: Option<Share>,
    /// How long a replica that is gone counts. Without it 600.
    #[schemars(range(min = 1, max = 86400))]
    pub window_seconds: Option<i32>,
    /// How old a Pod has to be before it may go.
    #[schemars(range(min = 0, max = 604_800))]
    pub min_age_seconds: Option<i32>,
}

/// A number of replicas, or a part of them: `2`, `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Share {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => {
                let percent = text.strip_suffix('%')?;
                let is_plain = percent.bytes().all(|byte| byte.is_ascii_digit());
                let percent = percent
                    .parse()
                    .ok()
                    .filter(|percent| is_plain && *percent <= 100)?;
                Some(Self::Percent(percent))
            }
            number => number.as_u64()?.try_into().ok().map(Self::Count),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let unfit = || {
            de::Error::custom(format!(
                "{value} is neither a number such as 2 nor a part such as \"10%\""
            ))
        };
        Self::read(&value).ok_or_else(unfit)
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "minimum": 0, "pattern": "^(100|[0-9]{1,2})%$"})
    }
}
