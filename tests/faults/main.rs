//! Parts of the world fail while a cluster is being scaled: nothing shrinks that is needed, nothing is asked for twice, and all goes on when they are
//! back. A binary of its own, since every other test would notice. Each test says how long it took; docs/faults.md tells what to expect.

mod kubernetes;
mod ray;
mod scaler;
mod scene;

use std::process::ExitCode;

use testbed::{NodeSpec, Options, Test};

fn main() -> ExitCode {
    testbed::dispatch();
    let options = Options {
        nodes: vec![NodeSpec::new("cpu", "64", "256Gi")],
        webhook_replicas: 1,
        ..Options::default()
    };
    let tests = vec![
        Test::world(
            "faults::the_api_server_is_away",
            kubernetes::the_api_server_is_away,
        ),
        Test::world("faults::the_operator_is_away", kubernetes::the_operator_is_away),
        Test::world("faults::somebody_else_writes", kubernetes::somebody_else_writes),
        Test::world("faults::the_gcs_is_frozen", ray::the_gcs_is_frozen),
        Test::world("faults::the_head_is_cut_off", ray::the_head_is_cut_off),
        Test::world(
            "faults::killed_in_the_middle_of_a_scale_down",
            scaler::killed_in_the_middle_of_a_scale_down,
        ),
    ];
    testbed::run_tests(tests, options)
}
