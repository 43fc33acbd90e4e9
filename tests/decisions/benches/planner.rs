//! `cargo bench -p decisions --bench planner`: our planner beside Ray's scheduler, as tables in Markdown; some minutes, most of them Ray's.
//! With `-- --quick`, and as one of the tests, it shows in a few seconds that it works.
#![allow(clippy::print_stdout)] // It is what it is for.

use anyhow::{Result, ensure};
use decisions::speed::{Effort, measure};

fn main() -> Result<()> {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let effort = if given("--bench") && !given("--quick") {
        Effort::Full
    } else {
        Effort::Quick
    };
    let text = measure(effort)?.to_string();
    let rows = text.lines().filter(|line| line.starts_with("| ")).count();
    ensure!(rows > 12, "only {rows} rows:\n{text}");
    println!("{text}");
    Ok(())
}
