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
        let mut problems = Vec::new();
        let mut whole = |name| {
            whole_number(raw.get(name)?)
                .map_err(|message| {
                    problems.push(ParseProblem {
                        path: path.key(name),
                        message,
                    })
                })
                .ok()
        };
        let num_cpus = whole("num-cpus");
        let num_gpus = whole("num-gpus");
        let memory = whole("memory");
        let object_store_memory = whole("object-store-memory");
        let port = whole("port").and_then(|port| u16::try_from(port).ok());
        let mut note = |name, message| {
            problems.push(ParseProblem {
                path: path.key(name),
                message,
            })
        };
        if port.is_none() && raw.get("port").is_some_and(|text| whole_number(text).is_ok()) {
            note("port", "a port is a number from 0 to 65535".to_owned());
        }
        let resources = raw.get("resources").map(|text| custom_resources(text));
        if let Some((_, Some(message))) = &resources {
            note("resources", message.clone());
        }
        let labels = raw.get("labels").map(|text| labels(text));
        if let Some(Err(message)) = &labels {
            note("labels", message.clone());
        }
        Self {
            num_cpus,
            num_gpus,
            memory,
            object_store_memory,
            resources: resources.and_then(|(resources, _)| resources),
            port,
            labels: labels.and_then(Result::ok).unwrap_or_default(),
            path,
            raw,
            problems,
        }
    }

    pub(crate) fn read(group: &Place<'_>) -> Self {
        Self::parse(group.path.key("rayStartParams"), group.text_map("rayStartParams"))
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

/// A JSON object of numbers, in the quotes that it needs on its way through the operator's shell. The operator reads
/// `'{"A": 1}'`; with inner quotes escaped (`"{\"A\": 1}"`) it reads nothing, logs that and looks for no GPU either (KubeRay
/// `common/pod.go`), though `ray start` itself would understand. We read both, and say so.
fn custom_resources(text: &str) -> (Option<Resources>, Option<String>) {
    let trimmed = text.trim_matches(['\'', '"', '`', ' ']);
    if let Some(resources) = json_amounts(trimmed) {
        return (Some(resources), None);
    }
    match json_amounts(&trimmed.replace('\\', "")) {
        Some(resources) => (
            Some(resources),
            Some(format!(
                "KubeRay cannot read {text} because its quotes are escaped, and then looks for no GPU either"
            )),
        ),
        None => (None, Some(format!("{text} is not a JSON object of numbers"))),
    }
}

fn json_amounts(text: &str) -> Option<Resources> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
    object
        .into_iter()
        .map(|(name, amount)| Some((name, Amount::from_f64(amount.as_f64()?)?)))
        .collect()
}

fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
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
            "! port: a port is a number from 0 to 65535"
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
            r#"{TPU: 4} ! resources: KubeRay cannot read "{\"TPU\": 4}" because its quotes are escaped, and then looks for no GPU either"#
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
