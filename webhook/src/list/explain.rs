//! One rule for somebody who met it: why it is there, where it holds, and two manifests that differ by it.

use rules::{Case, Operators, Rule, Source};
use serde_json::Value;

use super::kinds;

pub(super) fn text(rule: &Rule) -> String {
    let head = format!(
        "{}  {}\n\n{}\n\n{}\n",
        rule.code,
        rule.summary,
        rule.why,
        facts(rule)
    );
    let cases = cases(rule).map(|(title, case)| {
        let manifests: String = case
            .manifests
            .lines()
            .map(|line| "  ".to_owned() + line + "\n")
            .collect();
        format!("\n{title}:\n\n{manifests}\n{}\n", case.answer)
    });
    head + &cases.concat()
}

pub(super) fn markdown(rule: &Rule) -> String {
    let head = format!(
        "# {}: {}\n\n{}\n\n{}\n",
        rule.code,
        rule.summary,
        rule.why,
        facts(rule)
    );
    let cases = cases(rule).map(|(title, Shown { manifests, answer })| {
        format!("\n## {title}\n\n```yaml\n{manifests}```\n\n```text\n{answer}\n```\n")
    });
    head + &cases.concat()
}

fn facts(rule: &Rule) -> String {
    let enforced_by = match rule.source {
        Source::KubeRay(function) => {
            format!("KubeRay refuses the same in {function}, once the object is stored.")
        }
        Source::Schema => "The CRD refuses the same when the object is written.".to_owned(),
        Source::Hole => "Nobody else checks this.".to_owned(),
    };
    let gate = rule
        .gate
        .map_or(String::new(), |gate| format!(", where the feature gate {gate}"));
    let operators = if rule.operators == Operators::ALL {
        "every KubeRay".to_owned()
    } else {
        format!("KubeRay {}", rule.operators)
    };
    format!(
        "{} for {}, with {operators}{gate}. {enforced_by}",
        rule.action,
        kinds(rule)
    )
}

struct Shown {
    manifests: String,
    answer: String,
}

fn cases(rule: &Rule) -> [(&'static str, Shown); 2] {
    [
        ("This fails", shown(rule, rule.example.fires)),
        ("This passes", shown(rule, rule.example.passes)),
    ]
}

fn shown(rule: &Rule, example: &str) -> Shown {
    let case = Case::of(rule, example);
    let yaml = |value: &Value| {
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        serde_saphyr::to_string_with_options(value, options).expect("JSON is YAML")
    };
    let excerpt = |object: &Value| yaml(&case.excerpt(object));
    let manifests = match &case.old {
        None => excerpt(&case.object),
        Some(old) => format!(
            "# before\n{}---\n# after\n{}",
            excerpt(old),
            excerpt(&case.object)
        ),
    };
    let manifests = match &case.policy {
        None => manifests,
        Some(policy) => format!(
            "# spec of the policy guardrails\n{}---\n{manifests}",
            yaml(policy)
        ),
    };
    let found = case.findings();
    let told: Vec<_> = found
        .iter()
        .filter(|finding| finding.code == rule.code)
        .map(|finding| format!("{}: {finding}", finding.action))
        .collect();
    Shown {
        manifests,
        answer: if told.is_empty() {
            format!("Nothing from {}.", rule.code)
        } else {
            told.join("\n")
        },
    }
}
