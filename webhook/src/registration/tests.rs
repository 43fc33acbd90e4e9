//! What is registered, and who gives way to whom.

use clap::Parser;

use super::*;
use crate::args::Serve;

/// What `serve` is told.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Serve,
}

fn failure_policies(flags: &[&str]) -> FailurePolicies {
    let line = ["serve"].iter().chain(flags);
    Line::parse_from(line).flags.failure_policies()
}

/// All webhooks that are registered.
fn webhooks(address: &Address, failure: FailurePolicies) -> Vec<Value> {
    let documents = Registrar::new(address, failure).documents.into_iter();
    documents
        .flat_map(|(_, document)| document["webhooks"].as_array().cloned().unwrap_or_default())
        .collect()
}

#[test]
fn every_webhook_is_reached_where_we_are() {
    let addresses = |address: &Address| {
        let webhooks = webhooks(address, failure_policies(&[]));
        let clients = webhooks.iter().map(|webhook| webhook["clientConfig"].to_string());
        clients.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(addresses(&Address::Url("https://127.0.0.1:9443/".to_owned())), @r#"
    {"url":"https://127.0.0.1:9443/mutate-ray"}
    {"url":"https://127.0.0.1:9443/mutate-pod"}
    {"url":"https://127.0.0.1:9443/mutate-pod"}
    {"url":"https://127.0.0.1:9443/validate-ray"}
    {"url":"https://127.0.0.1:9443/validate-pod"}
    {"url":"https://127.0.0.1:9443/validate-pod"}
    {"url":"https://127.0.0.1:9443/validate-policy"}
    "#);
    let service = Address::Service {
        namespace: "ray".to_owned(),
        name: "hook".to_owned(),
    };
    insta::assert_snapshot!(addresses(&service), @r#"
    {"service":{"name":"hook","namespace":"ray","path":"/mutate-ray","port":443}}
    {"service":{"name":"hook","namespace":"ray","path":"/mutate-pod","port":443}}
    {"service":{"name":"hook","namespace":"ray","path":"/mutate-pod","port":443}}
    {"service":{"name":"hook","namespace":"ray","path":"/validate-ray","port":443}}
    {"service":{"name":"hook","namespace":"ray","path":"/validate-pod","port":443}}
    {"service":{"name":"hook","namespace":"ray","path":"/validate-pod","port":443}}
    {"service":{"name":"hook","namespace":"ray","path":"/validate-policy","port":443}}
    "#);
}

#[test]
fn what_happens_without_us() {
    let told = |webhooks: Vec<Value>| {
        let told = webhooks
            .iter()
            .map(|webhook| format!("{} {}", webhook["name"], webhook["failurePolicy"]));
        told.collect::<Vec<_>>().join("\n").replace('"', "")
    };
    let registered = |flags: &[&str]| {
        let address = Address::Url("https://rayward".to_owned());
        told(webhooks(&address, failure_policies(flags)))
    };
    let installed: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).expect("it is YAML");
    let installed = installed
        .iter()
        .filter_map(|document| document["webhooks"].as_array());
    assert_eq!(registered(&[]), told(installed.flatten().cloned().collect()));
    insta::assert_snapshot!(registered(&["--ray-failure-policy=Ignore", "--tpu-failure-policy=Fail"]), @"
    mutate-ray.rayward.dev Ignore
    mutate-pod.rayward.dev Ignore
    mutate-tpu-pod.rayward.dev Fail
    validate-ray.rayward.dev Ignore
    validate-pod.rayward.dev Ignore
    validate-tpu-pod.rayward.dev Fail
    validate-policy.rayward.dev Ignore
    ");
}

#[test]
fn our_own_namespace_is_left_alone_wherever_it_is() {
    let address = Address::Service {
        namespace: "ray".to_owned(),
        name: "hook".to_owned(),
    };
    let webhooks = json!(webhooks(&address, failure_policies(&[]))).to_string();
    assert!(!webhooks.contains(NAMESPACE), "{webhooks}");
    assert!(
        webhooks.contains("system:serviceaccount:ray:rayward-autoscaler"),
        "{webhooks}"
    );
}

#[test]
fn of_two_versions_the_one_that_came_last_has_its_way() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut old = Registrar::new(&Address::Url("https://old".to_owned()), failure_policies(&[]));
    let mut new = Registrar::new(&Address::Url("https://new".to_owned()), failure_policies(&[]));
    let mut live = None;
    let mut turn = |registrar: &mut Registrar, minutes: u64| {
        let wish = registrar.wish(Kind::Mutating, live.as_ref(), now + Duration::from_mins(minutes));
        let wish = wish.expect("there is always something to keep");
        if wish.manager == MANAGER {
            live = Some(wish.document);
        }
        wish.manager
    };

    assert_eq!(turn(&mut old, 0), MANAGER, "nothing is registered");
    assert_eq!(turn(&mut old, 1), MANAGER, "ours is kept");
    assert_eq!(turn(&mut new, 2), MANAGER, "we are new");
    assert_eq!(turn(&mut old, 3), "rayward-certs", "somebody newer is there");
    assert_eq!(turn(&mut new, 4), MANAGER, "and keeps his own");
    assert_eq!(turn(&mut old, 12), "rayward-certs");
    assert_eq!(
        turn(&mut old, 13),
        MANAGER,
        "who is still here after ten minutes stays"
    );
}
