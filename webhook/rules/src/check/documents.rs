//! Texts within an object that are documents of their own: the runtime environment and the Serve applications in YAML, the resources
//! of an entry point in JSON. KubeRay and Ray read them long after the object is stored. What a runtime environment may say is left
//! to Ray.

use std::collections::{BTreeMap, BTreeSet};

use ray::job::JobSpec;
use ray::object::{Kind, Object, Spec};
use ray::path::Pointer;
use serde_json::Value;

use super::job::{JOBS, WHY_REFUSED};
use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

/// Of a parser's complaint, so much that a finding stays readable.
const COMPLAINT_CHARS_MAX: usize = 90;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-J032",
        summary: "runtimeEnvYAML is no YAML mapping",
        action: Action::Deny,
        kinds: JOBS,
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayJobSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/runtimeEnvYAML: 'pip: [torch'",
            passes: "/spec/runtimeEnvYAML: 'pip: [torch]'",
        },
        check: Check::Job(runtime_env_is_a_mapping),
    },
    Rule {
        code: "RW-G026",
        summary: "serveConfigV2 is no YAML mapping, or entrypointResources no JSON object",
        action: Action::Deny,
        kinds: &[Kind::Job, Kind::Service, Kind::CronJob],
        why: "KubeRay stores the object, makes the cluster, and then fails to read the text, over and over: nothing is ever \
            submitted to Ray.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/entrypointResources: \"{'TPU': 4}\"",
            passes: "/spec/entrypointResources: '{\"TPU\": 4}'",
        },
        check: Check::Object(documents_can_be_read),
    },
    Rule {
        code: "RW-G068",
        summary: "Ray Serve refuses the applications in serveConfigV2",
        action: Action::Warn,
        kinds: &[Kind::Service],
        why: "KubeRay makes the cluster and sends it the applications; Serve answers with an error, over and over, and the service \
            never becomes ready (Ray `serve/schema.py`).",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{kind: RayService, /spec/serveConfigV2: 'applications: [{import_path: \"a:app\"}, {name: b, import_path: \"b:app\"}]'}",
            passes: "{kind: RayService, /spec/serveConfigV2: 'applications: [{import_path: \"a:app\"}, {name: b, import_path: \"b:app\", route_prefix: /b}]'}",
        },
        check: Check::Object(applications_are_what_serve_takes),
    },
];

fn runtime_env_is_a_mapping(job: &JobSpec, _: &Subject<'_>, findings: &mut Findings) {
    check_mapping(
        job.runtime_env_yaml.as_deref(),
        || job.path.key("runtimeEnvYAML"),
        findings,
    );
}

fn documents_can_be_read(Subject { object, .. }: &Subject<'_>, findings: &mut Findings) {
    if let Some((text, place)) = serve_config(object) {
        check_mapping(Some(text), || place.clone(), findings);
    }
    let resources = object
        .job()
        .and_then(|job| Some((job, job.entrypoint_resources.as_deref()?)));
    let Some((job, text)) = resources.filter(|(_, text)| !text.is_empty()) else {
        return;
    };
    if let Err(complaint) = serde_json::from_str::<Option<BTreeMap<String, Option<f64>>>>(text) {
        findings
            .at(job.path.key("entrypointResources"))
            .problem(format!(
                "it is no JSON object of numbers: {}",
                shorten(&complaint.to_string())
            ))
            .hint(r#"write it as {"TPU": 4}"#);
    }
}

fn check_mapping(text: Option<&str>, place: impl Fn() -> Pointer, findings: &mut Findings) {
    match text.map(read_yaml) {
        None | Some(Ok(None | Some(Value::Object(_)))) => {}
        Some(Ok(Some(_))) => findings
            .at(place())
            .problem("the YAML in it is not a mapping")
            .hint("write keys and values"),
        Some(Err(complaint)) => findings
            .at(place())
            .problem(format!("it is not YAML: {complaint}"))
            .hint("correct it; quoting helps where a value has brackets or colons"),
    }
}

fn serve_config(object: &Object) -> Option<(&str, Pointer)> {
    let Spec::Service(service) = &object.spec else {
        return None;
    };
    Some((
        service.serve_config_v2.as_deref()?,
        service.path.key("serveConfigV2"),
    ))
}

/// The first document, as KubeRay reads no other; nothing where it says nothing. KubeRay's parser is one for YAML 1.1, and they differ over
/// oddities; the one that people meet is told apart here.
fn read_yaml(text: &str) -> Result<Option<Value>, String> {
    if begins_with_a_tab(text) {
        return Err("a tab cannot indent anything".to_owned());
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::read_with_options(&mut text.as_bytes(), options)
        .next()
        .transpose()
        .map_err(|error| shorten(&error.without_snippet().to_string()))
}

/// Since YAML 1.2 that is no mistake.
fn begins_with_a_tab(text: &str) -> bool {
    let mut lines = text
        .lines()
        .map(|line| line.split_at(line.len() - line.trim_start_matches([' ', '\t']).len()));
    let says_nothing = |rest: &str| rest.is_empty() || rest.starts_with('#') || rest == "---";
    let first = lines.find(|(indent, rest)| indent.contains('\t') || !says_nothing(rest));
    first.is_some_and(|(indent, _)| indent.contains('\t'))
}

fn shorten(complaint: &str) -> String {
    complaint
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(COMPLAINT_CHARS_MAX)
        .collect()
}

fn applications_are_what_serve_takes(Subject { object, .. }: &Subject<'_>, findings: &mut Findings) {
    let Some((text, place)) = serve_config(object) else {
        return;
    };
    // What cannot be read has been told.
    let Ok(Some(Value::Object(config))) = read_yaml(text) else {
        return;
    };
    let Some(applications) = config.get("applications").and_then(Value::as_array) else {
        findings
            .at(place)
            .problem("it has no list of applications")
            .hint("put the application into a list called applications");
        return;
    };
    let (mut names, mut routes) = (BTreeSet::new(), BTreeSet::new());
    for (index, application) in applications.iter().enumerate() {
        let text = |key, default| application.get(key).map_or(Some(default), Value::as_str);
        let name = text("name", "default");
        let mut refuse = |problem: String, hint: &str| {
            let who = name.map_or_else(
                || format!("application {index}"),
                |name| format!("application \"{name}\""),
            );
            findings
                .at(place.clone())
                .problem(format!("{who} {problem}"))
                .hint(hint);
        };
        match name {
            None | Some("") => refuse("has no name".to_owned(), "give it one"),
            Some(name) if !names.insert(name) => {
                refuse(
                    "is there twice".to_owned(),
                    "give each a name; without one it is \"default\"",
                );
            }
            Some(_) => {}
        }
        match text("route_prefix", "/") {
            Some(route) if !is_route(route) => {
                refuse(
                    format!("cannot have the route_prefix \"{route}\""),
                    "begin with a slash, end without one, use no braces",
                );
            }
            Some(route) if !routes.insert(route) => {
                refuse(
                    format!("has the route_prefix \"{route}\" of another"),
                    "give each its own; without one it is \"/\"",
                );
            }
            _ => {}
        }
        match application.get("import_path").and_then(Value::as_str) {
            None => refuse(
                "has no import_path".to_owned(),
                "say where its code is, as module:application",
            ),
            Some(path) if !is_import_path(path) => {
                refuse(
                    format!("cannot be imported from \"{path}\""),
                    "write module:application",
                );
            }
            Some(_) => {}
        }
        if application
            .get("host")
            .or_else(|| application.get("port"))
            .is_some()
        {
            refuse(
                "has a host or port of its own".to_owned(),
                "put it into http_options",
            );
        }
    }
}

fn is_route(route: &str) -> bool {
    route == "/" || (route.starts_with('/') && !route.ends_with('/') && !route.contains(['{', '}']))
}

/// `module:application` with one colon, or `module.application`.
fn is_import_path(path: &str) -> bool {
    let inner = |separator: char| !path.starts_with(separator) && !path.ends_with(separator);
    match path.matches(':').count() {
        0 => path.contains('.') && inner('.'),
        1 => inner(':'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_import_path, read_yaml};

    #[test]
    fn yaml_is_read_as_the_operator_reads_it() {
        for nothing in ["", "null", "# only this", "---\n...\n"] {
            assert_eq!(read_yaml(nothing), Ok(None), "{nothing}");
        }
        for text in [
            "{a: 1, a: 2}",
            "a: 1\n---\n[",
            "1: one",
            "x: &x {a: 1}\ny:\n  <<: *x\n",
            "{\"json\": [true]}",
        ] {
            assert!(
                read_yaml(text).is_ok_and(|read| read.is_some_and(|read| read.is_object())),
                "{text}"
            );
        }
        let complaint = |text: &str| read_yaml(text).expect_err(text);
        insta::assert_snapshot!(complaint("pip:\n  - a\n b: 1\n"), @"while parsing a block mapping, did not find expected key at line 3, column 2");
        insta::assert_snapshot!(complaint("# tabs\n\tpip: []"), @"a tab cannot indent anything");
        insta::assert_snapshot!(complaint("pip: [torch"), @"unclosed bracket '[' at line 1, column 6");
        insta::assert_snapshot!(complaint(&"[".repeat(5000)), @"recursion limit exceeded at line 1, column 256");
    }

    #[test]
    fn import_paths_as_serve_takes_them() {
        for path in ["a:app", "pkg.module:app.bind", "module.app"] {
            assert!(is_import_path(path), "{path}");
        }
        for path in ["", "app", ":app", "a:", "a:b:c", ".app", "app."] {
            assert!(!is_import_path(path), "{path}");
        }
    }
}
