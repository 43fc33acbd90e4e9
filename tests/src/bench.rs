//! What the benchmarks that need a world do alike. Under `cargo bench` they print their tables, in full or with `-- --quick`; as tests they only show that
//! they work.
#![allow(clippy::print_stdout, clippy::print_stderr)] // It is what it is for.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testbed::{Options, Test, Testbed};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Enough for numbers to publish.
    Full,
    /// Enough to see that everything works.
    Quick,
}

/// The whole program: `tables` measures and tells it in Markdown. As a test it is called `name`, and is to tell so many rows.
pub fn main<F>(name: &'static str, rows: usize, options: Options, tables: F) -> ExitCode
where
    F: AsyncFnOnce(&Testbed, Form) -> Result<String> + Send + 'static,
{
    testbed::dispatch();
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    if !given("--bench") {
        let test = async move |testbed: &Testbed| {
            let text = tables(testbed, Form::Quick).await?;
            let told = text.lines().filter(|line| line.starts_with("| ")).count();
            ensure!(told == rows, "{told} rows, not {rows}:\n{text}");
            println!("{text}");
            Ok(())
        };
        return testbed::run_tests(vec![Test::world(name, test)], options);
    }
    let form = if given("--quick") { Form::Quick } else { Form::Full };
    let bench = async |inside| {
        let testbed = Testbed::start(inside, options, testbed::print_lines());
        let testbed = testbed.await.context("bring up the testbed")?;
        println!("{}", tables(&testbed, form).await?);
        Ok(())
    };
    match testbed::enter().and_then(|inside| tokio::runtime::Runtime::new()?.block_on(bench(inside))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
