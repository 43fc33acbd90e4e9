//! The tests of one binary: plain ones, and those that need a world, which they share. The output reads like `cargo test`'s own.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::inside::{self, Inside};
use crate::options::Options;
use crate::testbed::Testbed;

/// How many tests run at a time, unless `--test-threads` says otherwise. Each Ray head wants a CPU while it starts, and gives up by itself
/// when it has not come up within half a minute.
const TESTS_AT_A_TIME: usize = 2;

/// One test.
pub struct Test {
    name: &'static str,
    body: Body,
}

enum Body {
    Plain(Box<dyn PlainBody>),
    World(Box<dyn WorldBody>),
}

trait PlainBody: FnOnce() -> Result<()> + Send {}
impl<F: FnOnce() -> Result<()> + Send> PlainBody for F {}

trait WorldBody: FnOnce(&World) -> Result<()> + Send {}
impl<F: FnOnce(&World) -> Result<()> + Send> WorldBody for F {}

impl std::fmt::Debug for Test {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Test {}", self.name)
    }
}

impl Test {
    /// A test that needs no world.
    pub fn plain(name: &'static str, body: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self {
            name,
            body: Body::Plain(Box::new(body)),
        }
    }

    /// A test in the shared world. It should make a namespace of its own.
    pub fn world<F>(name: &'static str, body: F) -> Self
    where
        F: AsyncFnOnce(&Testbed) -> Result<()> + Send + 'static,
    {
        let body = |world: &World| {
            world
                .runtime
                .block_on(async { body(Box::pin(world.testbed()).await?).await })
        };
        Self {
            name,
            body: Body::World(Box::new(body)),
        }
    }
}

/// Runs the tests that the command line selects. The world is made only when one of them needs it.
///
/// Call [`crate::dispatch`] first.
pub fn run_tests(tests: Vec<Test>, options: Options) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_A_TIME);
    let world = Arc::new(OnceLock::<World>::new());
    let mut needs_world = false;
    let trials: Vec<Trial> = tests
        .into_iter()
        .map(|test| {
            let in_world = matches!(test.body, Body::World(_));
            let world = Arc::clone(&world);
            let trial = Trial::test(test.name, move || {
                let result = match test.body {
                    Body::Plain(body) => body(),
                    Body::World(body) => {
                        body(world.get().expect("it is there when a selected test needs it"))
                    }
                };
                result.map_err(|error| Failed::from(format!("{error:#}")))
            });
            needs_world |= in_world && !arguments.is_filtered_out(&trial);
            trial
        })
        .collect();
    if needs_world && !arguments.list {
        match World::new(options) {
            Ok(made) => world.set(made).expect("nobody else sets it"),
            Err(error) => {
                eprintln!("error: {error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The shared world, started by the first test that asks.
#[derive(Debug)]
struct World {
    inside: Inside,
    options: Options,
    runtime: Runtime,
    testbed: OnceCell<Result<Testbed, String>>,
}

impl World {
    fn new(options: Options) -> Result<Self> {
        let inside = inside::enter()?;
        let runtime = Runtime::new().context("start the runtime")?;
        Ok(Self {
            inside,
            options,
            runtime,
            testbed: OnceCell::new(),
        })
    }

    async fn testbed(&self) -> Result<&Testbed> {
        let start = async {
            let started = std::time::Instant::now();
            let testbed = Testbed::start(
                self.inside.clone(),
                self.options.clone(),
                crate::progress::print_lines(),
            )
            .await;
            eprintln!("testbed: up after {:.1} s", started.elapsed().as_secs_f64());
            testbed.map_err(|error| format!("{error:#}"))
        };
        // A world that did not come up fails every test in the same words, once tried.
        let testbed = Box::pin(self.testbed.get_or_init(|| start)).await;
        testbed
            .as_ref()
            .map_err(|error| anyhow!("the testbed is not up: {error}"))
    }
}
