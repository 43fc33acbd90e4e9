//! Each field of a policy, on the real API server and with the Pods that the real operator makes. A case is a document in `fixtures/policies/`: some policies, and what
//! becomes of objects under them. Nobody runs the Pods.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::{Applied, Namespace, Refusal, Testbed};

use crate::policy::policies;

const PATIENCE: Duration = Duration::from_secs(60);
/// In a policy: the namespace that the case gets.
const NAMESPACE: &str = "NAMESPACE";
const TOPICS: [&str; 7] = [
    include_str!("../fixtures/policies/accelerators.yaml"),
    include_str!("../fixtures/policies/autoscaler.yaml"),
    include_str!("../fixtures/policies/images.yaml"),
    include_str!("../fixtures/policies/nodes.yaml"),
    include_str!("../fixtures/policies/options.yaml"),
    include_str!("../fixtures/policies/pods.yaml"),
    include_str!("../fixtures/policies/rules.yaml"),
];
const DEFINITION: &str = include_str!("../../manifests/base/rayadmissionpolicies.yaml");

/// What objects are where they do not say otherwise. The gates keep the scheduler from placing the Pods.
const CLUSTER: &str = "
rayVersion: 2.52.0
headGroupSpec:
  rayStartParams: {}
  template:
    spec:
      schedulingGates: [{name: example.com/nobody-runs-it}]
      containers: [{name: ray-head, resources: {limits: {cpu: 1, memory: 2Gi}}}]
workerGroupSpecs:
  - groupName: gpu
    replicas: 1
    minReplicas: 0
    maxReplicas: 4
    rayStartParams: {}
    template:
      spec:
        schedulingGates: [{name: example.com/nobody-runs-it}]
        containers: [{name: ray-worker, resources: {limits: {cpu: 1, memory: 2Gi}}}]
";

/// Some policies, and what becomes of objects under them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "case")]
    title: String,
    /// Objects that others speak of, such as priority classes.
    #[serde(default)]
    before: Vec<Value>,
    /// What each policy says. All of them select the first object.
    policies: Vec<Value>,
    objects: Vec<Written>,
}

/// An object as it differs from the usual one, and what is found afterwards. What is expected of an object or a Pod is in it, with more around it; `null` is not there, and
/// of a list each item is somewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    kind: String,
    metadata: Value,
    /// Of the object, besides its cluster.
    spec: Value,
    cluster: Value,
    /// What the API server has then.
    stored: Value,
    /// The head's Pod, and one of a worker.
    head: Value,
    worker: Value,
    /// What the refusal says; otherwise the object is stored.
    refused: Option<String>,
    /// What warnings say, and what none says.
    warned: Vec<String>,
    silent: Vec<String>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            kind: "RayCluster".to_owned(),
            metadata: Value::Null,
            spec: Value::Null,
            cluster: Value::Null,
            stored: Value::Null,
            head: Value::Null,
            worker: Value::Null,
            refused: None,
            warned: Vec::new(),
            silent: Vec::new(),
        }
    }
}

/// How many accelerators there may be, who gets some, and what comes with each kind.
pub(crate) async fn accelerators(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[0]).await
}

/// Who scales, and how.
pub(crate) async fn autoscaler(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[1]).await
}

/// Which images there may be, and which are taken.
pub(crate) async fn images(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[2]).await
}

/// What heads and workers have in the manifest.
pub(crate) async fn nodes(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[3]).await
}

/// What a cluster has besides.
pub(crate) async fn options(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[4]).await
}

/// What Pods get when they are made.
pub(crate) async fn pods(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[5]).await
}

/// Whom policies are for, what rules do, and who is let through.
pub(crate) async fn rules(testbed: &Testbed) -> Result<()> {
    hold(testbed, TOPICS[6]).await
}

/// Each field that the kind of policies has is in a case, with each value that it may have where these can be counted; and so is each kind of
/// accelerator.
pub(crate) fn each_has_a_case() -> Result<()> {
    let definition = testbed::documents(DEFINITION)?.remove(0);
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let (mut covered, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for policy in all_cases()?.iter().flat_map(|case| &case.policies) {
        fields_of(schema, Some(policy), "spec", &mut covered);
        let accelerators = policy["accelerators"].as_array().into_iter().flatten();
        kinds.extend(accelerators.filter_map(|of_kind| of_kind["kind"].as_str().map(str::to_owned)));
    }
    let mut fields = BTreeSet::new();
    fields_of(schema, None, "spec", &mut fields);
    let missing: Vec<_> = fields.difference(&covered).collect();
    ensure!(
        fields.len() > 100 && missing.is_empty(),
        "no case in tests/fixtures/policies has {missing:#?}"
    );
    let without = ray::accelerator::ALL.map(|known| known.kind).into_iter();
    let without: Vec<_> = without.filter(|kind| !kinds.contains(*kind)).collect();
    ensure!(
        without.is_empty(),
        "no case in tests/fixtures/policies has accelerators of the kinds {without:?}"
    );
    Ok(())
}

/// The places of what a schema allows at last, each with each of the values that can be counted; or those of them that are in a value.
fn fields_of(schema: &Value, value: Option<&Value>, at: &str, fields: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, field) in properties {
            let value = value.map(|value| &value[name]);
            if value.is_none_or(|value| !value.is_null()) {
                fields_of(field, value, &format!("{at}.{name}"), fields);
            }
        }
    } else if schema["items"].is_object() {
        let items = match value {
            None => vec![None],
            Some(value) => value.as_array().into_iter().flatten().map(Some).collect(),
        };
        for item in items {
            fields_of(&schema["items"], item, &format!("{at}[]"), fields);
        }
    } else {
        let values = schema["enum"].as_array().into_iter().flatten();
        let values: Vec<_> = values
            .filter(|one| value.is_none_or(|value| value == *one))
            .collect();
        fields.extend(values.iter().map(|value| format!("{at}: {value}")));
        if values.is_empty() {
            fields.insert(at.to_owned());
        }
    }
}

fn all_cases() -> Result<Vec<Case>> {
    let each = TOPICS.into_iter().map(cases).collect::<Result<Vec<_>>>()?;
    Ok(each.into_iter().flatten().collect())
}

fn cases(topic: &str) -> Result<Vec<Case>> {
    let read = |document: Value| {
        let name = document["case"].to_string();
        serde_json::from_value(document).with_context(|| format!("read the case {name}"))
    };
    testbed::documents(topic)?.into_iter().map(read).collect()
}

/// All cases of a topic hold; those that do not are all told.
async fn hold(testbed: &Testbed, topic: &str) -> Result<()> {
    let mut wrong = String::new();
    for case in cases(topic)? {
        if let Err(error) = case.holds(testbed).await {
            write!(wrong, "\n\n{}: {error:#}", case.title)?;
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

impl Case {
    async fn holds(&self, testbed: &Testbed) -> Result<()> {
        let namespace = testbed.namespace("fields").await?;
        namespace.apply_all(&self.before).await?;
        for (index, said) in self.policies.iter().enumerate() {
            let spec = said.to_string().replace(NAMESPACE, namespace.name());
            let policy = json!({
                "apiVersion": "rayward.dev/v1alpha1",
                "kind": "RayAdmissionPolicy",
                "metadata": {"name": policy_name(&namespace, index)},
                "spec": with_its_mark(serde_json::from_str(&spec)?, index, &namespace)?,
            });
            testbed.apply(&policy).await?;
        }
        in_force(&namespace, &self.objects[0].object(0)?, self.policies.len()).await?;
        for (index, written) in self.objects.iter().enumerate() {
            let object = written.object(index)?;
            written
                .becomes(&object, &namespace)
                .await
                .with_context(|| format!("the {}. object", index + 1))?;
        }
        for index in 0..self.policies.len() {
            let name = policy_name(&namespace, index);
            policies(testbed).delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

fn policy_name(namespace: &Namespace, index: usize) -> String {
    format!("{}-{index}", namespace.name())
}

/// A policy for the objects of a namespace, and with a rule that shows whether it is in force.
fn with_its_mark(mut spec: Value, index: usize, namespace: &Namespace) -> Result<Value> {
    let selector = &mut spec["select"]["namespaceSelector"];
    if selector.is_null() {
        *selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}});
    }
    let rules = &mut spec["customRules"];
    if rules.is_null() {
        *rules = json!([]);
    }
    rules.as_array_mut().context("a list of rules")?.push(json!({
        "name": format!("mark-{index}"),
        "expression": "false",
        "message": mark(index),
        "action": "Warn",
    }));
    Ok(spec)
}

fn mark(index: usize) -> String {
    format!("policy {index} has been heard of")
}

/// Waits until every replica of the webhook has heard of all policies: it must answer so several times in a row.
async fn in_force(namespace: &Namespace, object: &Value, policies: usize) -> Result<()> {
    namespace
        .eventually(PATIENCE, "the policies are in force", async || {
            for _ in 0..5 {
                let warnings = match namespace.dry_run(object).await {
                    Ok(Applied { warnings, .. }) | Err(Refusal { warnings, .. }) => warnings,
                };
                let heard = |index: &usize| warnings.iter().any(|warning| warning.contains(&mark(*index)));
                let missing: Vec<_> = (0..policies).filter(|index| !heard(index)).collect();
                ensure!(missing.is_empty(), "of {missing:?} nobody knows: {warnings:#?}");
            }
            anyhow::Ok(())
        })
        .await
}

impl Written {
    fn object(&self, index: usize) -> Result<Value> {
        let mut cluster = testbed::documents(CLUSTER)?.remove(0);
        overlay(&mut cluster, &self.cluster);
        let mut spec = match self.kind.as_str() {
            "RayJob" => json!({"entrypoint": "python job.py", "rayClusterSpec": cluster}),
            "RayService" => json!({"rayClusterConfig": cluster}),
            "RayCronJob" => {
                let job = json!({"entrypoint": "python job.py", "rayClusterSpec": cluster});
                json!({"schedule": "0 0 1 1 *", "jobTemplate": job})
            }
            _ => cluster,
        };
        overlay(&mut spec, &self.spec);
        let mut metadata = json!({"name": format!("demo-{index}")});
        overlay(&mut metadata, &self.metadata);
        Ok(json!({"apiVersion": "ray.io/v1", "kind": self.kind, "metadata": metadata, "spec": spec}))
    }

    async fn becomes(&self, object: &Value, namespace: &Namespace) -> Result<()> {
        let warnings = match &self.refused {
            Some(expected) => refused(expected, object, namespace).await?,
            None => self.stored(object, namespace).await?,
        };
        for expected in &self.warned {
            let found = warnings.iter().any(|warning| warning.contains(expected));
            ensure!(found, "no warning says {expected:?}: {warnings:#?}");
        }
        for unexpected in &self.silent {
            let found = warnings.iter().find(|warning| warning.contains(unexpected));
            ensure!(found.is_none(), "{found:?}");
        }
        Ok(())
    }

    /// Stores the object, and returns the warnings that came with it.
    async fn stored(&self, object: &Value, namespace: &Namespace) -> Result<Vec<String>> {
        let applied = namespace.apply_all(std::slice::from_ref(object)).await?.remove(0);
        let name = object["metadata"]["name"].as_str().context("a name")?;
        let stored = namespace.object(&self.kind, name).await?;
        if !self.stored.is_null() {
            differences(&self.stored, &stored, "").context("what is stored")?;
        }
        for (node_type, expected) in [("head", &self.head), ("worker", &self.worker)] {
            if expected.is_null() {
                continue;
            }
            let selector = format!("ray.io/cluster={name},ray.io/node-type={node_type}");
            let pod = namespace
                .eventually(PATIENCE, &format!("there is a {node_type}"), async || {
                    namespace.pods(&selector).await?.pop().context("there is none")
                })
                .await?;
            differences(expected, &serde_json::to_value(pod)?, "")
                .with_context(|| format!("the {node_type}"))?;
        }
        Ok(applied.warnings)
    }
}

/// The replica that is asked may have to hear of other objects first.
async fn refused(expected: &str, object: &Value, namespace: &Namespace) -> Result<Vec<String>> {
    let what = format!("the refusal says {expected:?}");
    namespace
        .eventually(PATIENCE, &what, async || match namespace.dry_run(object).await {
            Ok(Applied { warnings, .. }) => Err(format!("it is let through: {warnings:#?}")),
            Err(refusal) if refusal.message.contains(expected) => Ok(refusal.warnings),
            Err(refusal) => Err(refusal.message),
        })
        .await
}

/// Writes what `over` says over `under`: fields by their names, items by their places; `null` takes away.
fn overlay(under: &mut Value, over: &Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    under.remove(key);
                } else {
                    overlay(under.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(under), Value::Array(over)) => {
            for (index, value) in over.iter().enumerate() {
                match under.get_mut(index) {
                    Some(item) => overlay(item, value),
                    None => under.push(value.clone()),
                }
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// An error that names a place where `found` is not as expected.
fn differences(expected: &Value, found: &Value, at: &str) -> Result<()> {
    match (expected, found) {
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .try_for_each(|(key, value)| differences(value, &found[key], &format!("{at}.{key}"))),
        (Value::Array(items), Value::Array(there)) => items.iter().try_for_each(|item| {
            let is_there = there.iter().any(|found| differences(item, found, "").is_ok());
            ensure!(is_there, "{at} should have {item}, and is {found}");
            Ok(())
        }),
        _ => {
            ensure!(expected == found, "{at} should be {expected}, and is {found}");
            Ok(())
        }
    }
}
