//! `cargo bench -p tests --bench fleet`: a thousand RayClusters under one process of our autoscaler, as tables in Markdown; a quarter of an hour.
//! With `-- --quick`, and as one of the tests, it shows in a minute that it works; with `-- --clusters N` the fleet has so many.

use std::process::ExitCode;

use tests::fleet::{self, Effort};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--clusters");
    let clusters = arguments.nth(1).and_then(|clusters| clusters.parse().ok());
    tests::bench::main(
        "bench::a_fleet_is_scaled",
        10,
        fleet::options(),
        async move |testbed, form| {
            let mut effort = Effort::from(form);
            if let Some(clusters) = clusters {
                effort.clusters = clusters;
                effort.demanding = effort.demanding.min(clusters);
            }
            Ok(fleet::run(testbed, effort).await?.markdown())
        },
    )
}
