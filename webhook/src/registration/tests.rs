//! What is registered, and who gives way to whom.

use super::*;

#[test]
fn every_webhook_is_reached_where_we_are() {
    let addresses = |address: &Address| {
        let registrar = Registrar::new(address);
        let webhooks = registrar
            .documents
            .iter()
            .filter_map(|(_, document)| document["webhooks"].as_array());
        let clients = webhooks
            .flatten()
            .map(|webhook| webhook["clientConfig"].to_string());
        clients.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(addresses(&Address::Url("https://127.0.0.1:9443/".to_owned())), @r#"
    {"url":"https://127.0.0.1:9443/mutate-ray"}
    {"url":"https://127.0.0.1:9443/mutate-pod"}
    {"url":"https://127.0.0.1:9443/validate-ray"}
    {"url":"https://127.0.0.1:9443/validate-pod"}
    {"url":"https://127.0.0.1:9443/validate-policy"}
    "#);
    let service = Address::Service {
        namespace: "ray".to_owned(),
        name: "hook".to_owned(),
    };
    insta::assert_snapshot!(addresses(&service), @r#"
    {"service":{"namespace":"ray","name":"hook","path":"/mutate-ray","port":443}}
    {"service":{"namespace":"ray","name":"hook","path":"/mutate-pod","port":443}}
    {"service":{"namespace":"ray","name":"hook","path":"/validate-ray","port":443}}
    {"service":{"namespace":"ray","name":"hook","path":"/validate-pod","port":443}}
    {"service":{"namespace":"ray","name":"hook","path":"/validate-policy","port":443}}
    "#);
}

#[test]
fn of_two_versions_the_one_that_came_last_has_its_way() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut old = Registrar::new(&Address::Url("https://old".to_owned()));
    let mut new = Registrar::new(&Address::Url("https://new".to_owned()));
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
