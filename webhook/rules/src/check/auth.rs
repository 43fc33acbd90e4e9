//! How callers of Ray prove who they are. Tokens came with Ray 2.52, tokens of Kubernetes with 2.55. That jobs and services cannot
//! have the latter is told with those.

use ray::cluster::ClusterSpec;
use ray::object::Kind;
use ray::options::AuthOptions;
use ray::version::RayVersion;

use crate::facts::{Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const TOKENS_SINCE: RayVersion = RayVersion::new(2, 52, 0);
const KUBERNETES_TOKENS_SINCE: RayVersion = RayVersion::new(2, 55, 0);

const TOKEN_ROW: Rule = Rule {
    code: "",
    summary: "",
    action: Action::Deny,
    kinds: &Kind::ALL,
    why: "Older versions of Ray take no tokens, so KubeRay must know the version: otherwise it records an event and does nothing \
        more for the object.",
    source: Source::KubeRay("ValidateRayClusterSpec"),
    operators: Operators::since(Operator::V1_5),
    gate: None,
    example: Example {
        fires: "",
        passes: "",
    },
    check: Check::Reading,
};

const KUBERNETES_TOKEN_ROW: Rule = Rule {
    kinds: &[Kind::Cluster],
    why: "KubeRay records an event and does nothing more for the cluster.",
    operators: Operators::since(Operator::V1_6),
    ..TOKEN_ROW
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-C055",
        summary: "token authentication without a rayVersion",
        example: Example {
            fires: "{/spec/authOptions: {mode: token}, /spec/rayVersion: null}",
            passes: "{/spec/authOptions: {mode: disabled}, /spec/rayVersion: null}",
        },
        check: Check::Cluster(tokens_need_a_version),
        ..TOKEN_ROW
    },
    Rule {
        code: "RW-C056",
        summary: "token authentication with a rayVersion that is no version",
        example: Example {
            fires: "{/spec/authOptions: {mode: token}, /spec/rayVersion: '3'}",
            passes: "{/spec/authOptions: {mode: token}, /spec/rayVersion: '3.0'}",
        },
        check: Check::Cluster(tokens_need_a_parseable_version),
        ..TOKEN_ROW
    },
    Rule {
        code: "RW-C057",
        summary: "token authentication with a Ray older than 2.52.0",
        example: Example {
            fires: "{/spec/authOptions: {mode: token}, /spec/rayVersion: 2.51.1}",
            passes: "{/spec/authOptions: {mode: token}, /spec/rayVersion: 2.52.0}",
        },
        check: Check::Cluster(tokens_need_their_version),
        ..TOKEN_ROW
    },
    Rule {
        code: "RW-C058",
        summary: "authentication by Kubernetes tokens with a Ray older than 2.55.0",
        example: Example {
            fires: "{/spec/authOptions: {mode: token, enableK8sTokenAuth: true}, /spec/rayVersion: 2.54.0}",
            passes: "{/spec/authOptions: {mode: token, enableK8sTokenAuth: true}, /spec/rayVersion: 2.55.0}",
        },
        check: Check::Cluster(kubernetes_tokens_need_their_version),
        ..KUBERNETES_TOKEN_ROW
    },
    Rule {
        code: "RW-C059",
        summary: "authentication by Kubernetes tokens and by a Secret at once",
        example: Example {
            fires: "/spec/authOptions: {mode: token, enableK8sTokenAuth: true, secretName: ray-token}",
            passes: "/spec/authOptions: {mode: token, enableK8sTokenAuth: false, secretName: ray-token}",
        },
        check: Check::Cluster(kubernetes_tokens_need_no_secret),
        ..KUBERNETES_TOKEN_ROW
    },
    Rule {
        code: "RW-C060",
        summary: "authentication by Kubernetes tokens in another mode than token",
        example: Example {
            fires: "/spec/authOptions: {mode: disabled, enableK8sTokenAuth: true}",
            passes: "/spec/authOptions: {mode: token, enableK8sTokenAuth: true}",
        },
        check: Check::Cluster(kubernetes_tokens_need_token_mode),
        ..KUBERNETES_TOKEN_ROW
    },
    Rule {
        code: "RW-G012",
        summary: "authOptions without a mode",
        action: Action::Warn,
        why: "The mode is said to be token by default, yet KubeRay only makes a Secret and leaves authentication off.",
        source: Source::Hole,
        example: Example {
            fires: "/spec/authOptions: {secretName: ray-token}",
            passes: "/spec/authOptions: {mode: token, secretName: ray-token}",
        },
        check: Check::Cluster(mode_is_stated),
        ..TOKEN_ROW
    },
];

fn tokens_need_a_version(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if takes_tokens(cluster).is_some() && cluster.ray_version.is_none() {
        findings
            .at(cluster.path.key("rayVersion"))
            .problem("token authentication needs to know the version of Ray")
            .hint(format!("set rayVersion, {TOKENS_SINCE} or newer"));
    }
}

fn tokens_need_a_parseable_version(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let version = takes_tokens(cluster).and(cluster.ray_version.as_ref());
    if let Some(text) = version.filter(|text| text.parse::<RayVersion>().is_err()) {
        findings
            .at(cluster.path.key("rayVersion"))
            .problem(format!(
                "\"{text}\" is no version, and token authentication needs to know it"
            ))
            .hint(format!(
                "write it as {TOKENS_SINCE}, which is the oldest that takes tokens"
            ));
    }
}

fn tokens_need_their_version(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if takes_tokens(cluster).is_some() {
        since(cluster, TOKENS_SINCE, "tokens", findings);
    }
}

fn kubernetes_tokens_need_their_version(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if takes_tokens(cluster).is_some_and(takes_kubernetes_tokens) {
        since(cluster, KUBERNETES_TOKENS_SINCE, "tokens of Kubernetes", findings);
    }
}

/// A version that is absent or none is another rule's affair.
fn since(cluster: &ClusterSpec, least: RayVersion, what: &str, findings: &mut Findings) {
    let version = cluster.ray_version.as_ref().and_then(|text| text.parse().ok());
    if let Some(version) = version.filter(|version: &RayVersion| *version < least) {
        findings
            .at(cluster.path.key("rayVersion"))
            .problem(format!(
                "Ray {version} does not take {what}; {least} is the first"
            ))
            .hint(format!(
                "use Ray {least} or newer, or leave that part of authOptions out"
            ));
    }
}

fn kubernetes_tokens_need_no_secret(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(auth) = cluster.auth.as_ref().filter(|auth| takes_kubernetes_tokens(auth)) else {
        return;
    };
    if auth.secret_name.as_ref().is_some_and(|name| !name.is_empty()) {
        findings
            .at(auth.path.key("secretName"))
            .problem("callers cannot show a token of Kubernetes and one from a Secret")
            .hint("leave out secretName or enableK8sTokenAuth");
    }
}

fn kubernetes_tokens_need_token_mode(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(auth) = cluster.auth.as_ref().filter(|auth| takes_kubernetes_tokens(auth)) else {
        return;
    };
    if takes_tokens(cluster).is_none() {
        findings
            .at(auth.path.key("mode"))
            .problem("enableK8sTokenAuth is true, but the mode is not token")
            .hint("set mode to token, or leave out enableK8sTokenAuth");
    }
}

fn mode_is_stated(cluster: &ClusterSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(auth) = cluster
        .auth
        .as_ref()
        .filter(|auth| auth.mode.as_ref().is_none_or(String::is_empty))
    {
        findings
            .at(auth.path.key("mode"))
            .problem("without a mode authentication stays off")
            .hint("set mode to token or disabled");
    }
}

/// The options of a cluster whose callers need a token.
fn takes_tokens(cluster: &ClusterSpec) -> Option<&AuthOptions> {
    cluster
        .auth
        .as_ref()
        .filter(|auth| auth.mode.as_deref() == Some("token"))
}

fn takes_kubernetes_tokens(auth: &AuthOptions) -> bool {
    auth.enable_k8s_token_auth == Some(true)
}
