//! `cargo bench -p tests --bench admission`: our webhook beside KubeRay's and an echo, as tables in Markdown; a quarter of an hour.
//! With `-- --quick`, and as one of the tests, it shows in a few seconds that it works.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use testbed::Options;
use tests::side_by_side;

/// The one of the service, which runs in this very program here.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // The API server, the operator and one replica of our webhook: nothing that would take their time.
    let options = Options {
        nodes: Vec::new(),
        ray_versions: Vec::new(),
        webhook_replicas: 1,
        autoscaler_replicas: 0,
        ..Options::default()
    };
    tests::bench::main("bench::everybody_answers", 16, options, async |testbed, form| {
        Ok(side_by_side::run(testbed, form.into()).await?.markdown())
    })
}
