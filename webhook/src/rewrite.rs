//! `mutate` and `uninject`: manifests in, manifests out, with what Rayward injects put in or taken out. All other objects, the order
//! of keys, and fields that we do not know stay as they are; comments and the style of the YAML do not.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use ray::object::Kind;
use rules::Facts;
use serde::Serialize;
use serde_json::Value;

use crate::args::{ManifestFormat, Mutate, Uninject};
use crate::known::Known;
use crate::source::{self, Document, InOrder, Source};
use crate::{output, policy};

/// Prints the objects, or what changes in them, after defaults.
pub fn mutate(flags: &Mutate) -> anyhow::Result<ExitCode> {
    let facts = Facts {
        policies: Arc::new(policy::files::read(&flags.policy)?),
        ..flags.world.told()
    };
    let sources = source::read(&flags.files);
    let Some(documents) = documents(&sources) else {
        return Ok(ExitCode::from(2));
    };
    let known = Known::new(facts, &flags.namespaces, &documents);
    tell_doubts(&documents, &known);
    let text = if flags.patch {
        patches(&documents, &known)?
    } else {
        let defaulted = |kind, object: &Value| rules::edit::apply(&known.defaults(kind, object), object);
        rewritten(&documents, defaulted, flags.format)?
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the objects as their authors wrote them.
pub fn uninject(flags: &Uninject) -> anyhow::Result<ExitCode> {
    let sources = source::read(&flags.files);
    let Some(documents) = documents(&sources) else {
        return Ok(ExitCode::from(2));
    };
    let text = rewritten(&documents, |_, object| rules::uninject(object), flags.format)?;
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// All documents, or nothing when an input cannot be read: half of the manifests is not what anybody wants to apply.
fn documents(sources: &[Source]) -> Option<Vec<Document>> {
    let mut all = Some(Vec::new());
    for source in sources {
        match (source.documents(), &mut all) {
            (Ok(documents), Some(all)) => all.extend(documents),
            (Ok(_), None) => {}
            (Err(unreadable), _) => {
                output::tell(&format!("error: {unreadable}"));
                all = None;
            }
        }
    }
    all
}

/// The documents, with what `rewrite` makes of the objects of Ray.
fn rewritten(
    documents: &[Document],
    rewrite: impl Fn(Kind, &Value) -> Value,
    format: ManifestFormat,
) -> anyhow::Result<String> {
    let rewritten = documents.iter().map(|document| {
        let mut value = document.value();
        for found in document.objects() {
            if let (Some(kind), Some(object)) = (found.kind(), found.at.resolve_mut(&mut value)) {
                *object = rewrite(kind, &found.value);
            }
        }
        value
    });
    let values: Vec<Value> = rewritten.collect();
    let in_order: Vec<InOrder<'_>> = documents
        .iter()
        .zip(&values)
        .map(|(document, value)| document.in_order(value))
        .collect();
    match (format, &in_order[..]) {
        (ManifestFormat::Yaml, documents) => {
            // Text that any reader takes for something else is quoted, and long lines are left alone.
            let options = serde_saphyr::ser_options! {
                folded_wrap_chars: usize::MAX,
                prefer_block_scalars: !values.iter().any(has_text_indented_by_a_tab),
            };
            serde_saphyr::to_string_multiple_with_options(documents, options).context("write YAML")
        }
        (ManifestFormat::Json, [document]) => json(document),
        (ManifestFormat::Json, documents) => json(&List {
            api_version: "v1",
            kind: "List",
            items: documents,
        }),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [InOrder<'a>],
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("write JSON")?;
    Ok(text + "\n")
}

/// What a policy would fill in that may be for an object or not is not filled in.
fn tell_doubts(documents: &[Document], known: &Known) {
    for found in documents.iter().flat_map(Document::objects) {
        let Some(kind) = found.kind() else { continue };
        let request = known.request(kind, &found.value, None);
        for doubt in known.facts.policies.doubts(&request) {
            let name = found.value["metadata"]["name"]
                .as_str()
                .unwrap_or("without a name");
            output::tell(&format!("warning: {kind} {name}: {doubt}"));
        }
    }
}

/// A list of operations per object of Ray, a line each.
fn patches(documents: &[Document], known: &Known) -> anyhow::Result<String> {
    let mut lines = String::new();
    for found in documents.iter().flat_map(Document::objects) {
        if let Some(kind) = found.kind() {
            let edits = known.defaults(kind, &found.value);
            let patch = rules::edit::to_patch(&edits, &found.value);
            lines += &serde_json::to_string(&patch).context("write a patch")?;
            lines += "\n";
        }
    }
    Ok(lines)
}

/// As a block, `kubectl` takes that tab for a mistake in the indentation of the YAML.
fn has_text_indented_by_a_tab(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.contains('\n') && text.trim_start_matches(['\n', '\r', ' ']).starts_with('\t')
        }
        Value::Array(items) => items.iter().any(has_text_indented_by_a_tab),
        Value::Object(fields) => fields.values().any(has_text_indented_by_a_tab),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Text that a reader of YAML could take for something else, or that is hard to write.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "yes|No|on|OFF|y|n|true|False|null|~||<<|=|-|[.]inf|[+]?0[0-7]{1,3}|0x[0-9a-f]{1,3}|0b[01]+|0o[0-7]+",
            "[-+]?[0-9_]{1,4}([.][0-9_]{0,3})?([eE][-+]?[0-9]{1,2})?|[0-9]{1,2}:[0-9]{2}|2026-0[1-9]-1[0-9]",
            "[ \t\n:#&*!|>'\"%@`,?{}\\[\\]a-c-]{0,12}",
            "(a line\n|  indented\n|\n| # no comment\n){0,4}",
            "(long words and more of them ){0,8}",
            any::<String>(),
        ]
    }

    /// JSON in one line, with the keys of objects in any order.
    fn json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1000..1000_i32).prop_map(|tenths| Value::from(f64::from(tenths) * 10.0 + 0.5)),
            text().prop_map(Value::from),
        ];
        let scalar = scalar.prop_map(|scalar| scalar.to_string());
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::hash_map(text(), inner, 0..4).prop_map(|fields| {
                    let fields = fields
                        .into_iter()
                        .map(|(key, value)| format!("{}:{value}", Value::from(key)));
                    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    fn read(text: &str) -> Vec<Document> {
        let source = Source::new("written", Ok(text.to_owned()));
        source.documents().expect("it can be read")
    }

    fn written(text: &str, format: ManifestFormat) -> String {
        rewritten(&read(text), |_, object| object.clone(), format).expect("it can be written")
    }

    #[test]
    fn text_that_kubectl_cannot_read_as_a_block_is_no_block() {
        let blocks = |text: &str| written(&json!({"data": text}).to_string(), ManifestFormat::Yaml);
        insta::assert_snapshot!(
            ["a\n\tb\n", "\ta\nb\n"].map(blocks).join(""),
            @r#"
        data: |
          a
          	b
        data: "\ta\nb\n"
        "#
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(object in json(), format in prop_oneof![Just(ManifestFormat::Yaml), Just(ManifestFormat::Json)]) {
            let text = format!(r#"{{"first":{object},"apiVersion":"v1","last":"yes"}}"#);
            let documents = read(&written(&text, format));
            let again = serde_json::to_string(&documents[0].in_order(&documents[0].value())).expect("JSON");
            prop_assert_eq!(again, text);
            prop_assert_eq!(documents.len(), 1);
        }
    }
}
