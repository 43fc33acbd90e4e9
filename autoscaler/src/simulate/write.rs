//! A decision as text and as JSON. Nodes are counted, not replicas.

use std::fmt::Write as _;
use std::str::FromStr;

use planner::{Batch, Cause, Decision, Gang, Label, Operator, Plan, Request, Snapshot, State, Term};
use ray::resources::{Amount, Resources};
use serde_json::{Map, Number, Value, json};

/// Sentences for people.
pub(super) fn text(snapshot: &Snapshot, plan: &Plan) -> String {
    let mut text = String::new();
    for decision in changes(plan) {
        let (from, to) = nodes(snapshot, decision);
        let _ = writeln!(
            text,
            "{}: {from} -> {to} nodes, {}",
            decision.group,
            decision.reason()
        );
    }
    for termination in &plan.terminate {
        let _ = writeln!(text, "{termination}");
    }
    let _ = write!(text, "{}", plan.infeasible);
    if text.is_empty() {
        text.push_str("nothing to do\n");
    }
    text
}

/// For programs.
pub(super) fn json(snapshot: &Snapshot, plan: &Plan) -> String {
    let terminate = plan.terminate.iter();
    let terminate: Vec<Value> = terminate
        .map(|termination| json!({ "id": termination.id, "cause": cause(termination.cause) }))
        .collect();
    let infeasible = &plan.infeasible;
    let decision = json!({
        "version": 1,
        "launch": plan.launch,
        "terminate": terminate,
        "infeasible": {
            "requests": infeasible.requests.iter().map(batch).collect::<Vec<_>>(),
            "gangs": infeasible.gangs.iter().map(gang).collect::<Vec<_>>(),
            "constraint": infeasible.constraint,
        },
        "decisions": changes(plan).map(|decision| change(snapshot, decision)).collect::<Vec<_>>(),
    });
    format!("{decision:#}\n")
}

/// The decisions by which nodes come or go.
fn changes(plan: &Plan) -> impl Iterator<Item = &Decision> {
    let decisions = plan.decisions.iter();
    decisions.filter(|decision| !decision.launched.is_empty() || !decision.terminated.is_empty())
}

/// How many nodes there are now, and how many there will be.
fn nodes(snapshot: &Snapshot, decision: &Decision) -> (u64, u64) {
    let counted =
        |node: &&planner::Node| node.group == decision.group && !matches!(node.state, State::Leaving { .. });
    let from = snapshot.nodes.iter().filter(counted).count() as u64;
    let coming: u64 = decision.launched.values().sum();
    let going: u64 = decision.terminated.iter().map(|(_, count)| count).sum();
    (from, (from + coming).saturating_sub(going))
}

fn change(snapshot: &Snapshot, decision: &Decision) -> Value {
    let (from, to) = nodes(snapshot, decision);
    json!({ "type": decision.group, "from": from, "to": to, "reason": decision.reason() })
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Idle => "idle",
        Cause::Maximum => "maxPerType",
        Cause::MaxNodes => "maxNodes",
        Cause::Lost => "lost",
        Cause::Stuck => "stuck",
    }
}

fn batch(batch: &Batch) -> Value {
    let mut json = request(&batch.request);
    json["count"] = batch.count.into();
    json
}

/// As it is written in a problem.
pub(crate) fn gang(gang: &Gang) -> Value {
    json!({ "details": gang.details, "bundles": gang.bundles.iter().map(request).collect::<Vec<_>>() })
}

/// As it is written in a problem, without what is not said.
pub(crate) fn request(request: &Request) -> Value {
    let mut json = json!({ "resources": resources(&request.resources) });
    if !request.selectors.is_empty() {
        let terms = |selector: &Vec<Term>| selector.iter().map(term).collect::<Vec<_>>();
        json["labelSelectors"] = request.selectors.iter().map(terms).collect();
    }
    for (key, affinity) in [
        ("antiAffinity", &request.anti_affinity),
        ("affinity", &request.affinity),
    ] {
        if let Some(Label { name, value }) = affinity {
            json[key] = json!({ "label": name, "value": value });
        }
    }
    json
}

fn term(term: &Term) -> Value {
    let operator = match term.operator {
        Operator::In => "in",
        Operator::NotIn => "notIn",
        Operator::Unknown => "unknown",
    };
    json!({ "key": term.key, "operator": operator, "values": term.values })
}

fn resources(resources: &Resources) -> Map<String, Value> {
    let amounts = resources.iter();
    amounts
        .map(|(name, amount)| (name.clone(), Value::Number(number(*amount))))
        .collect()
}

/// Whole where the amount is whole.
fn number(amount: Amount) -> Number {
    Number::from_str(&amount.to_string()).expect("an amount is shown as a decimal number")
}
