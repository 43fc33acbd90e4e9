//! Rayward and KubeRay agree about every object that either of them might be asked about, but for what `docs/parity.md` lists.

use std::fmt::Write;

use anyhow::Result;
use parity::{Oracle, cases, compare_all};

#[test]
fn rayward_refuses_what_kuberay_refuses_and_nothing_else_in_its_name() -> Result<()> {
    let report = compare_all(&Oracle::OPERATORS, |oracle| cases(oracle.samples()?))?;
    let disagreements = report
        .open()
        .into_iter()
        .fold(String::new(), |mut text, disagreement| {
            writeln!(text, "{disagreement}\n").expect("a String takes everything");
            text
        });
    assert!(disagreements.is_empty(), "{disagreements}");
    assert_eq!(
        report.settled(),
        [""; 0],
        "no longer disagreed about; take it from the list and from docs/parity.md"
    );
    assert_eq!(
        report.never_heard(),
        [""; 0],
        "KubeRay was never made to say this"
    );
    assert_eq!(
        report.unfit, [""; 0],
        "what is done to these objects would not show"
    );
    Ok(())
}
