//! `cargo bench -p tests --bench autoscalers`: Ray's own autoscaler and ours before the same demands, as tables in Markdown; a quarter of an hour.
//! With `-- --quick`, and as one of the tests, it shows in a minute that it works.

use std::process::ExitCode;

use testbed::Options;
use tests::autoscalers;

fn main() -> ExitCode {
    let options = Options {
        webhook_replicas: 1,
        audit: true,
        ..Options::default()
    };
    tests::bench::main("bench::both_meet_a_demand", 8, options, async |testbed, form| {
        Ok(autoscalers::run(testbed, form.into()).await?.markdown())
    })
}
