//! The rules that policies bring along. They see the object as it was written.

use ray::object::Kind;
use ray::path::Pointer;
use serde_json::{Value, json};

use super::policy::selection;
use crate::expression::{Budget, Failure, Variables};
use crate::finding::{CUSTOM, Finding};
use crate::policy::{CustomRule, Policy};
use crate::request::{Operation, Request};
use crate::rule::Action;

/// As long as a message may be that a policy spells out.
const MESSAGE_CHARS_MAX: usize = 1024;

/// What custom rules have to say about what is to be written: what they find, and that they could not be evaluated, which is not the
/// author's fault and refuses nothing.
pub(super) fn findings(request: &Request<'_>, policy: &Policy) -> Vec<Finding> {
    look(request, policy, |judged| match judged {
        Judged { holds: Ok(true), .. } => None,
        Judged { holds: Ok(false), .. } => Some(judged.violation()),
        Judged {
            holds: Err(failure), ..
        } => Some(judged.doubt(failure)),
    })
}

/// What custom rules find; not that they could not be evaluated.
pub(super) fn violations(request: &Request<'_>, policy: &Policy) -> Vec<Finding> {
    look(request, policy, |judged| {
        (judged.holds == Ok(false)).then(|| judged.violation())
    })
}

/// A rule, and what came of it.
struct Judged<'a> {
    rule: &'a CustomRule,
    author: &'a str,
    variables: Variables<'a>,
    budget: &'a Budget,
    holds: Result<bool, Failure>,
}

fn look(
    request: &Request<'_>,
    policy: &Policy,
    told: impl Fn(&Judged<'_>) -> Option<Finding>,
) -> Vec<Finding> {
    if policy.spec.custom_rules.is_empty() {
        return Vec::new();
    }
    let asked = asked(request);
    let namespace_labels = request.namespace_labels.map(|labels| json!(labels));
    let variables = Variables {
        object: request.object,
        old: request.old.unwrap_or(&Value::Null),
        request: &asked,
        namespace_labels: namespace_labels.as_ref(),
    };
    let budget = &Budget::default();
    let at = Pointer::root().key("customRules");
    let of_kind = |kind: &String| Kind::from_kind_name(kind) == Some(request.kind);
    let rules = policy.spec.custom_rules.iter().enumerate();
    rules
        .filter(|(_, rule)| rule.kinds.is_empty() || rule.kinds.iter().any(of_kind))
        .filter_map(|(index, rule)| {
            told(&Judged {
                rule,
                author: policy.author(&at.index(index)),
                variables,
                budget,
                holds: rule.expression.is_true(variables, budget),
            })
        })
        .collect()
}

impl Judged<'_> {
    fn violation(&self) -> Finding {
        let Self { rule, author, .. } = self;
        let made = rule
            .message_expression
            .as_ref()
            .and_then(|made| made.text(self.variables, self.budget).ok())
            .map(|made| made.chars().take(MESSAGE_CHARS_MAX).collect());
        let message: Option<String> = made.or_else(|| rule.message.clone());
        let message = message.unwrap_or_else(|| format!("`{}` is not true", rule.expression));
        let hint = rule.hint.as_deref();
        self.finding(
            rule.action.unwrap_or(Action::Deny),
            format!("{message}; so says the policy {author}"),
            hint.unwrap_or("change it, or ask whoever keeps the policy"),
        )
    }

    fn doubt(&self, failure: &Failure) -> Finding {
        let Self { rule, author, .. } = self;
        let doubt = self.finding(
            rule.action.map_or(Action::Warn, |action| action.min(Action::Warn)),
            format!("the policy {author} cannot tell whether it is right: {failure}"),
            match failure {
                Failure::UnknownLabels => selection::HINT,
                Failure::Endless | Failure::NoneLeft => {
                    "whoever keeps the policies makes their rules look at less, as at each group instead of at all pairs of them"
                }
                _ => "whoever keeps the policy lets the rule ask whether a field is there, as in has(object.spec.suspend)",
            },
        );
        Finding {
            excused: true,
            ..doubt
        }
    }

    fn finding(&self, action: Action, problem: String, hint: &str) -> Finding {
        Finding {
            code: format!("{CUSTOM}{}", self.rule.name).into(),
            path: self.rule.place(self.variables.object),
            problem,
            hint: hint.to_owned(),
            action,
            excused: false,
            policy: Some(self.author.to_owned()),
        }
    }
}

fn asked(request: &Request<'_>) -> Value {
    let operation = match request.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    };
    json!({
        "operation": operation,
        "kind": request.kind.name(),
        "namespace": request.namespace,
        "userInfo": {"username": request.user, "groups": request.groups},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ray::fixture::{cluster, sample};
    use serde_json::json;

    use super::*;
    use crate::facts::Facts;
    use crate::policy::{NamedPolicy, Policies};
    use crate::tests::{kind_of, yaml};
    use crate::{NAMESPACE_NAME, check, judge};

    const RULES: &str = "
customRules:
- name: owned
  expression: has(object.metadata.labels) && 'team' in object.metadata.labels
  message: nobody would know whose it is
  path: metadata.labels.team
  hint: give it the label team
- name: small
  kinds: [RayCluster]
  expression: object.spec.workerGroupSpecs.all(g, g.maxReplicas <= 10)
  messageExpression: \"'too large: ' + string(object.spec.workerGroupSpecs.filter(g, g.maxReplicas > 10).map(g, g.groupName)[0])\"
  message: a group is too large
  path: /spec/workerGroupSpecs/0/maxReplicas
- name: version-stays
  expression: oldObject == null || object.spec.rayVersion == oldObject.spec.rayVersion
  message: the version of Ray stays as it is
  path: spec.rayVersion
- name: no-visitors
  expression: request.operation != 'CREATE' || 'ray' in request.userInfo.groups || namespaceLabels['kubernetes.io/metadata.name'] != 'prod'
  message: only the group ray creates here
- name: calm
  kinds: [RayCluster]
  expression: object.spec.suspend == true
  message: it is not suspended
  action: Audit
";

    fn told(request: &Request<'_>, more: &str) -> String {
        let policy =
            NamedPolicy::read("house", &yaml(&format!("{RULES}{more}"))).expect("nothing is wrong with it");
        let facts = Facts {
            policies: Policies::new([policy]).into(),
            ..Facts::default()
        };
        let labels = BTreeMap::from([(NAMESPACE_NAME.to_owned(), request.namespace.to_owned())]);
        let request = &Request {
            namespace_labels: Some(&labels).filter(|_| !request.namespace.is_empty()),
            ..*request
        };
        let findings = check(request, &facts)
            .into_iter()
            .filter(|finding| finding.code.starts_with(CUSTOM));
        let verdict = judge(findings.collect(), request, &facts.policies.of(request));
        let told = verdict
            .findings
            .iter()
            .map(|finding| format!("{} {finding}\n", finding.action));
        told.collect()
    }

    fn write<'a>(object: &'a Value, old: Option<&'a Value>) -> Request<'a> {
        let operation = if old.is_some() {
            Operation::Update
        } else {
            Operation::Create
        };
        Request {
            namespace: "vision",
            ..Request::new(operation, kind_of(object), object, old)
        }
    }

    #[test]
    fn what_a_house_demands() {
        let large = cluster("demo").group("cpu").bounds(0, 20).build();
        let owned = sample(Kind::Job, "demo")
            .set("/metadata/labels", json!({"team": "vision"}))
            .build();
        insta::assert_snapshot!(told(&write(&large, None), ""), @r"
        Deny RW-X/owned metadata.labels.team: nobody would know whose it is; so says the policy house (give it the label team)
        Audit RW-X/calm spec: the policy house cannot tell whether it is right: there is no `suspend` (whoever keeps the policy lets the rule ask whether a field is there, as in has(object.spec.suspend))
        Deny RW-X/small spec.workerGroupSpecs[0].maxReplicas: too large: cpu; so says the policy house (change it, or ask whoever keeps the policy)
        ");
        insta::assert_snapshot!(told(&write(&owned, None), ""), @"");
        let in_prod = Request {
            namespace: "prod",
            ..write(&owned, None)
        };
        insta::assert_snapshot!(told(&in_prod, ""), @"Deny RW-X/no-visitors spec: only the group ray creates here; so says the policy house (change it, or ask whoever keeps the policy)");
        let by_ray = Request {
            groups: &["ray".to_owned()],
            ..in_prod
        };
        assert_eq!(told(&by_ray, ""), "");
        let somewhere = Request {
            namespace: "",
            ..write(&owned, None)
        };
        insta::assert_snapshot!(told(&somewhere, ""), @"Warn RW-X/no-visitors spec: the policy house cannot tell whether it is right: the labels of the namespace are not known here (name the namespace, and put it with its labels beside the object, or say --namespace-labels)");
    }

    /// What was wrong before only warns, what changes for the worse is refused, and a rule about the change itself is not blunted by what the
    /// object was before.
    #[test]
    fn what_an_update_may_leave_as_it_is() {
        let old = cluster("demo").group("cpu").bounds(0, 20).build();
        let grown = cluster("demo").group("cpu").bounds(0, 30).build();
        insta::assert_snapshot!(told(&write(&grown, Some(&old)), ""), @r"
        Warn RW-X/owned metadata.labels.team: nobody would know whose it is; so says the policy house (give it the label team)
        Audit RW-X/calm spec: the policy house cannot tell whether it is right: there is no `suspend` (whoever keeps the policy lets the rule ask whether a field is there, as in has(object.spec.suspend))
        Warn RW-X/small spec.workerGroupSpecs[0].maxReplicas: too large: cpu; so says the policy house (change it, or ask whoever keeps the policy)
        ");
        let mut newer = grown.clone();
        newer["spec"]["rayVersion"] = json!("2.9.9");
        newer["metadata"]["labels"] = json!({"team": "vision"});
        insta::assert_snapshot!(told(&write(&newer, Some(&grown)), ""), @r"
        Audit RW-X/calm spec: the policy house cannot tell whether it is right: there is no `suspend` (whoever keeps the policy lets the rule ask whether a field is there, as in has(object.spec.suspend))
        Deny RW-X/version-stays spec.rayVersion: the version of Ray stays as it is; so says the policy house (change it, or ask whoever keeps the policy)
        Warn RW-X/small spec.workerGroupSpecs[0].maxReplicas: too large: cpu; so says the policy house (change it, or ask whoever keeps the policy)
        ");
    }

    #[test]
    fn policies_have_a_word_on_their_own_rules() {
        let large = cluster("demo").group("cpu").bounds(0, 20).build();
        assert_eq!(
            crate::label(&"RW-X/owned".to_owned().into()),
            "RW-X",
            "as metrics count it"
        );
        let words = "rules: [{code: RW-X/*, action: Deny}, {code: RW-X/owned, action: 'Off'}]
exceptions: [{name: growing, codes: [RW-X/small], reason: it grows, expires: '2999-01-01T00:00:00Z'}]";
        insta::assert_snapshot!(told(&write(&large, None), words), @r"
        Warn RW-X/calm spec: the policy house cannot tell whether it is right: there is no `suspend` (whoever keeps the policy lets the rule ask whether a field is there, as in has(object.spec.suspend))
        Warn RW-X/small spec.workerGroupSpecs[0].maxReplicas: too large: cpu; so says the policy house; let through until 2999-01-01T00:00:00Z by the exception growing of the policy house (change it, or ask whoever keeps the policy)
        ");
    }
}
