//! Who scales a cluster: Ray's own autoscaler, one of several replicas of ours, or ours beside the head. A binary of its own, since replicas and
//! webhooks come and go here, which every other test would notice.

mod adoption;
mod credentials;
mod replicas;
mod scene;
mod sidecar;

use std::process::ExitCode;

use testbed::{Options, Test};

fn main() -> ExitCode {
    testbed::dispatch();
    let options = Options {
        webhook_replicas: 1,
        autoscaler_replicas: 2,
        ..Options::default()
    };
    let tests = vec![
        Test::world(
            "modes::an_older_cluster_is_adopted_and_given_back",
            adoption::an_older_cluster_is_adopted_and_given_back,
        ),
        Test::world(
            "modes::a_killed_owner_is_followed",
            replicas::a_killed_owner_is_followed,
        ),
        Test::world(
            "modes::a_paused_owner_writes_no_more",
            replicas::a_paused_owner_writes_no_more,
        ),
        Test::world(
            "modes::the_container_in_the_head_scales",
            sidecar::the_container_in_the_head_scales,
        ),
        Test::world(
            "modes::a_token_is_shown_once_it_may_be_read",
            credentials::a_token_is_shown_once_it_may_be_read,
        ),
        Test::world(
            "modes::a_token_of_kubernetes_is_shown_once_it_may_be_made",
            credentials::a_token_of_kubernetes_is_shown_once_it_may_be_made,
        ),
        Test::world(
            "modes::a_certificate_is_shown",
            credentials::a_certificate_is_shown,
        ),
    ];
    testbed::run_tests(tests, options)
}
