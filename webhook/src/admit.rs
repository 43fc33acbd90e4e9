//! Bytes in, bytes out: decode, ask the rules, encode. What happened is told as an [`Event`]; counting and logging it is up to
//! [`server`](crate::server).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use ray::keys;
use ray::object::Kind;
use rules::pod::{self, AutoscalerMode};
use rules::{Action, BREAK_GLASS, Code, Facts, Operation, Policy, Verdict};
use serde_json::Value;

use crate::clusters::{Cluster, Clusters, Unknown};
use crate::events::Events;
use crate::metrics::Outcome;
use crate::policy::definition;
use crate::policy::watch::Namespaces;
use crate::review::{Answer, Malformed, Review};
use crate::scaling_policy::is_scaling_policy;
use crate::surroundings;
use crate::usage::Ledger;

type Labels = BTreeMap<String, String>;

/// What is asked of us, each at a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Defaults for Ray's objects.
    MutateRay,
    /// Rules for Ray's objects.
    ValidateRay,
    /// What is injected into head and worker Pods.
    MutatePod,
    /// Rules for head and worker Pods.
    ValidatePod,
    /// Whether a policy can be kept to.
    ValidatePolicy,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MutateRay,
        Self::ValidateRay,
        Self::MutatePod,
        Self::ValidatePod,
        Self::ValidatePolicy,
    ];

    /// The name, which is the path without its slash.
    pub fn name(self) -> &'static str {
        match self {
            Self::MutateRay => "mutate-ray",
            Self::ValidateRay => "validate-ray",
            Self::MutatePod => "mutate-pod",
            Self::ValidatePod => "validate-pod",
            Self::ValidatePolicy => "validate-policy",
        }
    }
}

/// What answers need besides the review.
#[derive(Clone)]
pub struct Admission {
    /// What the rules know of the world, which may change under way.
    pub facts: Arc<ArcSwap<Facts>>,
    /// What the cluster of a Pod says.
    pub clusters: Clusters,
    /// What the objects of namespaces have together.
    pub ledger: Ledger,
    /// The labels of namespaces, by which policies select.
    pub namespaces: Namespaces,
    /// Where it is handed in what is to be noted about an object.
    pub events: Events,
}

/// Why there is no answer. The API server then does what the failure policy says.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// We do not understand the question.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// We lack something to answer it.
    #[error(transparent)]
    Unknown(#[from] Unknown),
}

/// One answered request, in the words of the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// The review's own identity.
    pub uid: String,
    /// What the object is.
    pub kind: String,
    /// The kind as a closed set.
    pub ray_kind: Option<Kind>,
    /// What happens to it.
    pub operation: Operation,
    /// Where it lives.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Who writes it.
    pub user: String,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// What we said.
    pub outcome: Outcome,
    /// Which rules fired, and what came of it.
    pub findings: Vec<(Code, Action)>,
    /// What was let through because somebody broke the glass, with who it was and why.
    pub break_glass: Option<String>,
    /// How many operations the patch has.
    pub patch_operations: usize,
}

impl Admission {
    /// Answers one review.
    pub async fn admit(&self, endpoint: Endpoint, body: &[u8]) -> Result<(Vec<u8>, Event), Fault> {
        let review = Review::decode(body)?;
        let kind = ray_kind(&review);
        let labels = self.namespace_labels(&review).await;
        let request = |kind| request(&review, kind, labels.as_ref());
        let answer = match (endpoint, kind) {
            // Status and the like are not ours, and there is nothing to see in a deletion.
            _ if !review.sub_resource.is_empty() || review.object.is_null() => Answer::allowed(),
            (Endpoint::MutateRay, Some(kind)) => self.mutate(&request(kind)),
            (Endpoint::ValidateRay, Some(kind)) => {
                let answer = self.validate(&request(kind), review.dry_run);
                self.events.note(&review, kind, &answer.findings);
                answer
            }
            (Endpoint::ValidatePolicy, None) if is(&review, definition::is_policy) => {
                // One that is only relabelled or has its finalizers changed is as good as it was.
                if old_spec(&review) == Some(&review.object["spec"]) {
                    Answer::allowed()
                } else {
                    Verdict::of(rules::policy::check(&review.object)).into()
                }
            }
            (Endpoint::ValidatePolicy, None) if is(&review, is_scaling_policy) => {
                let clusters = self.clusters.in_namespace(&review.namespace);
                let around = surroundings::of(self.clusters.client(), clusters, &review).await;
                Verdict::of(rules::scaling_policy::check(
                    &review.object,
                    review.old(),
                    &around,
                ))
                .into()
            }
            (Endpoint::MutatePod, None) if is_pod(&review) => {
                self.on_pod(&review, labels.as_ref(), mutate_pod).await?
            }
            (Endpoint::ValidatePod, None) if is_pod(&review) => {
                self.on_pod(&review, labels.as_ref(), validate_pod).await?
            }
            // A kind that we do not know passes untouched.
            _ => Answer::allowed(),
        };
        Ok((answer.encode(&review.uid), event(review, kind, &answer)))
    }

    /// Nobody has to look for them where there is no policy to select by them.
    async fn namespace_labels(&self, review: &Review) -> Option<Labels> {
        if self.facts.load().policies.is_empty() || review.namespace.is_empty() {
            return None;
        }
        self.namespaces.labels(&review.namespace).await
    }

    fn mutate(&self, request: &rules::Request<'_>) -> Answer {
        let facts = self.facts.load();
        let edits = rules::defaults(request, &facts);
        let answer = Answer {
            patch: rules::edit::to_patch(&edits, request.object),
            ..Answer::allowed()
        };
        under(&facts.policies.of(request), answer)
    }

    fn validate(&self, request: &rules::Request<'_>, dry_run: bool) -> Answer {
        let facts = self.facts.load();
        let policy = facts.policies.of(request);
        let counts = policy.counts_namespaces();
        let others = counts.then(|| self.ledger.others(request)).flatten();
        let request = &rules::Request {
            others: others.as_ref(),
            ..*request
        };
        let verdict = rules::judge(rules::check(request, &facts), request, &policy);
        if counts && verdict.allowed && !dry_run {
            self.ledger.admit(request);
        }
        under(&policy, verdict.into())
    }

    /// What is said about a head or a worker, by its policy.
    async fn on_pod(
        &self,
        review: &Review,
        namespace_labels: Option<&Labels>,
        answer: impl FnOnce(&rules::Request<'_>, &pod::Request<'_>) -> Answer,
    ) -> Result<Answer, Unknown> {
        let facts = self.facts.load_full();
        let Some(cluster) = self.cluster_of(review, &facts).await? else {
            return Ok(Answer::allowed());
        };
        let request = request_of(review, &cluster, namespace_labels);
        let policy = facts.policies.of(&request);
        let answer = answer(&request, &pod_of(review, &cluster, &policy, &facts));
        Ok(under(&policy, answer))
    }

    /// The cluster whose head or worker a Pod is. Nobody has to look for that of a worker where there is no policy to select it.
    async fn cluster_of(&self, review: &Review, facts: &Facts) -> Result<Option<Cluster>, Unknown> {
        let labels = &review.object["metadata"]["labels"];
        let (namespace, Some(name)) = (&review.namespace, labels[keys::CLUSTER].as_str()) else {
            return Ok(None);
        };
        match labels[keys::NODE_TYPE].as_str() {
            Some(keys::NODE_TYPE_WORKER) if facts.policies.is_empty() => {
                Ok(Some(Cluster::unknown(namespace, name, AutoscalerMode::Ray)))
            }
            Some(keys::NODE_TYPE_HEAD | keys::NODE_TYPE_WORKER) => {
                self.clusters.of(namespace, name).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The answer, with a note for the audit log of who had a say in it.
fn under(policy: &Policy, mut answer: Answer) -> Answer {
    let authors: Vec<&str> = policy.authors().into_iter().collect();
    if !authors.is_empty() {
        answer.audit.insert("policies".to_owned(), authors.join(", "));
    }
    answer
}

fn pod_of<'r>(
    review: &'r Review,
    cluster: &Cluster,
    policy: &'r Policy,
    facts: &'r Facts,
) -> pod::Request<'r> {
    pod::Request {
        pod: &review.object,
        mode: cluster.mode,
        sidecar_image: &facts.sidecar_image,
        policy,
    }
}

fn mutate_pod(_: &rules::Request<'_>, pod: &pod::Request<'_>) -> Answer {
    Answer {
        patch: rules::edit::to_patch(&pod::defaults(pod), pod.pod),
        ..Answer::allowed()
    }
}

fn validate_pod(request: &rules::Request<'_>, pod: &pod::Request<'_>) -> Answer {
    rules::judge(pod::check(pod), request, pod.policy).into()
}

/// Policies that select a cluster are also those of its Pods.
fn request_of<'r>(
    review: &'r Review,
    cluster: &'r Cluster,
    namespace_labels: Option<&'r Labels>,
) -> rules::Request<'r> {
    rules::Request {
        object: &cluster.object,
        ..request(review, Kind::Cluster, namespace_labels)
    }
}

fn old_spec(review: &Review) -> Option<&Value> {
    review.old().map(|old| &old["spec"])
}

fn request<'r>(review: &'r Review, kind: Kind, namespace_labels: Option<&'r Labels>) -> rules::Request<'r> {
    rules::Request {
        namespace: &review.namespace,
        namespace_labels,
        user: &review.user_info.username,
        groups: &review.user_info.groups,
        now: Timestamp::now(),
        ..rules::Request::new(review.operation, kind, &review.object, review.old())
    }
}

fn ray_kind(review: &Review) -> Option<Kind> {
    let known = review.kind.group == "ray.io" && matches!(review.kind.version.as_str(), "v1" | "v1alpha1");
    Kind::from_kind_name(&review.kind.kind).filter(|_| known)
}

fn is(review: &Review, kind: impl Fn(&str, &str, &str) -> bool) -> bool {
    kind(&review.kind.group, &review.kind.version, &review.kind.kind)
}

fn is_pod(review: &Review) -> bool {
    review.kind.group.is_empty() && review.kind.kind == "Pod" && review.operation == Operation::Create
}

fn event(review: Review, ray_kind: Option<Kind>, answer: &Answer) -> Event {
    let outcome = match answer {
        Answer { allowed: false, .. } => Outcome::Denied,
        Answer { patch, .. } if !patch.0.is_empty() => Outcome::Patched,
        _ => Outcome::Allowed,
    };
    Event {
        uid: review.uid,
        kind: review.kind.kind,
        ray_kind,
        operation: review.operation,
        // Pods of the operator have no name yet, only a prefix.
        name: if review.name.is_empty() {
            generate_name(&review.object)
        } else {
            review.name
        },
        namespace: review.namespace,
        user: review.user_info.username,
        dry_run: review.dry_run,
        outcome,
        findings: answer
            .findings
            .iter()
            .map(|finding| (finding.code.clone(), finding.action))
            .collect(),
        break_glass: answer.audit.get(BREAK_GLASS).cloned(),
        patch_operations: answer.patch.0.len(),
    }
}

fn generate_name(object: &serde_json::Value) -> String {
    object["metadata"]["generateName"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
