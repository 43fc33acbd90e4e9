//! The flags of `ray start` as a manifest gives them: strings by name, parsed once for all who ask.
//!
//! A value that does not parse is a mistake of the author, not a reason to refuse the object: KubeRay's operator passes it on, or
//! over. So it is kept as a problem beside what could be read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::ParseProblem;
use crate::path::Pointer;
use crate::read::Place;
use crate::resources::{Amount, Resources};

/// The flags of `ray start` of a group.
#[derive(Clone, Debug, Default)]
pub struct StartParams {
    /// Where they stand.
    pub path: Pointer,
    /// All of them, as written.
    pub raw: BTreeMap<String, String>,
    /// `num-cpus`
    pub num_cpus: Option<i64>,
    /// `num-gpus`
    pub num_gpus: Option<i64>,
    /// `memory`, in bytes.
    pub memory: Option<i64>,
    /// `object-store-memory`, in bytes.
    pub object_store_memory: Option<i64>,
    /// `resources`, however it was quoted.
    pub resources: Option<Resources>,
    /// `port`, of the GCS.
    pub port: Option<u16>,
    /// `labels`, written `key=value,key=value`.
    pub labels: BTreeMap<String, String>,
    /// Values that are not what their flag takes, and ways of writing that not every reader understands.
    pub problems: Vec<ParseProblem>,
}

impl StartParams {
    /// Parses flags that stand at `path`.
    pub fn parse(path: Pointer, raw: BTreeMap<String, String>) -> Self {
        let mut parse = Parser {
            path: &path,
            raw: &raw,
            problems: Vec::new(),
        };
        Self {
            num_cpus: parse.param("num-cpus", whole_number),
            num_gpus: parse.param("num-gpus", whole_number),
            memory: parse.param("memory", whole_number),
            object_store_memory: parse.param("object-store-memory", whole_number),
            resources: parse.resources(),
            port: parse.param("port", port_number),
            labels: parse.param("labels", key_values).unwrap_or_default(),
            problems: parse.problems,
            path,
            raw,
        }
    }

    pub(crate) fn read(group: &Place<'_>) -> Self {
        Self::parse(group.path.key("rayStartParams"), group.text_map("rayStartParams"))
    }
}

struct Parser<'p> {
    path: &'p Pointer,
    raw: &'p BTreeMap<String, String>,
    problems: Vec<ParseProblem>,
}

impl Parser<'_> {
    fn param<T>(&mut self, name: &'static str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        parse(self.raw.get(name)?)
            .map_err(|message| self.note(name, message))
            .ok()
    }

    fn resources(&mut self) -> Option<Resources> {
        match self.param("resources", custom_resources)? {
            CustomResources::Plain(resources) => Some(resources),
            CustomResources::Escaped(resources) => {
                let message = "KubeRay cannot read this because its quotes are escaped, and then looks for no GPU either";
                self.note("resources", message.to_owned());
                Some(resources)
            }
        }
    }

    fn note(&mut self, name: &'static str, message: String) {
        self.problems.push(ParseProblem {
            path: self.path.key(name),
            message,
        });
    }
}

fn whole_number(text: &str) -> Result<i64, String> {
    match text.trim().parse() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(format!(
            "\"{text}\" is not a whole number, which is what `ray start` takes"
        )),
    }
}

fn port_number(text: &str) -> Result<u16, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is not a port, which is a number up to 65535"))
}

fn key_values(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pairs = text
        .trim_matches(['\'', '"'])
        .split(',')
        .filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!("\"{pair}\" is not of the form key=value")),
        })
        .collect()
}

/// How custom resources were written: a JSON object of numbers, in the quotes that it needs on its way through a shell.
enum CustomResources {
    /// `'{"A": 1}'`, which everybody reads.
    Plain(Resources),
    /// `"{\"A\": 1}"`. `ray start` reads this in the end, but the operator does not, and stops at it (KubeRay `common/pod.go`).
    Escaped(Resources),
}

fn custom_resources(text: &str) -> Result<CustomResources, String> {
    let trimmed = text.trim_matches(['\'', '"', '`', ' ']);
    let plain = || json_amounts(trimmed).map(CustomResources::Plain);
    let escaped = || json_amounts(&trimmed.replace('\\', "")).map(CustomResources::Escaped);
    plain()
        .or_else(escaped)
        .ok_or_else(|| format!("{text} is not a JSON object of numbers"))
}

fn json_amounts(text: &str) -> Option<Resources> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
    object
        .into_iter()
        .map(|(name, amount)| Some((name, Amount::from_f64(amount.as_f64()?)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::StartParams;
    use crate::path::Pointer;

    fn check(name: &str, value: &str) -> String {
        let params = StartParams::parse(Pointer::root(), [(name.to_owned(), value.to_owned())].into());
        let mut text = String::new();
        let numbers = [
            params.num_cpus,
            params.num_gpus,
            params.memory,
            params.object_store_memory,
        ];
        for number in numbers.into_iter().flatten() {
            write!(text, "{number} ").expect("strings take everything");
        }
        if let Some(resources) = &params.resources {
            write!(text, "{resources} ").expect("strings take everything");
        }
        if let Some(port) = params.port {
            write!(text, "port {port} ").expect("strings take everything");
        }
        for (key, value) in &params.labels {
            write!(text, "{key}={value} ").expect("strings take everything");
        }
        for problem in &params.problems {
            write!(text, "! {problem}").expect("strings take everything");
        }
        text.trim_end().to_owned()
    }

    #[test]
    fn numbers() {
        assert_eq!(check("num-cpus", "4"), "4");
        assert_eq!(check("num-gpus", "0"), "0");
        assert_eq!(check("port", "6380"), "port 6380");
        assert_eq!(
            check("memory", "2Gi"),
            "! memory: \"2Gi\" is not a whole number, which is what `ray start` takes"
        );
        assert_eq!(
            check("num-cpus", "-1"),
            "! [num-cpus]: \"-1\" is not a whole number, which is what `ray start` takes"
        );
        assert_eq!(
            check("port", "70000"),
            "! port: \"70000\" is not a port, which is a number up to 65535"
        );
    }

    #[test]
    fn resources_in_every_quoting() {
        for text in [
            r#"{"TPU": 4, "a": 0.5}"#,
            r#"'{"TPU": 4, "a": 0.5}'"#,
            r#""{"TPU": 4, "a": 0.5}""#,
        ] {
            assert_eq!(check("resources", text), "{TPU: 4, a: 0.5}", "{text}");
        }
        assert_eq!(
            check("resources", r#""{\"TPU\": 4}""#),
            "{TPU: 4} ! resources: KubeRay cannot read this because its quotes are escaped, and then looks for no GPU either"
        );
        assert_eq!(
            check("resources", "TPU=4"),
            "! resources: TPU=4 is not a JSON object of numbers"
        );
        assert_eq!(
            check("resources", r#"{"TPU": "4"}"#),
            r#"! resources: {"TPU": "4"} is not a JSON object of numbers"#
        );
    }

    #[test]
    fn labels() {
        assert_eq!(check("labels", "ray.io/zone=a, b=c,"), "b=c ray.io/zone=a");
        assert_eq!(
            check("labels", "zone"),
            "! labels: \"zone\" is not of the form key=value"
        );
    }
}
