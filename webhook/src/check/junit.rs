//! JUnit's XML, which nearly every CI server shows as test results: an object is a test case, in the suite of its file.

use quick_xml::se::Serializer;
use serde::Serialize;

use super::report::{Checked, Located, Report};
use crate::source::Unreadable;

pub(super) fn render(report: &Report<'_>) -> String {
    let objects = report.objects.iter().map(|object| TestCase::of(object, report));
    let unreadable = report.unreadable.iter().map(TestCase::unreadable);
    let cases: Vec<_> = objects.chain(unreadable).collect();
    let suite = TestSuite {
        name: "rayward-webhook check",
        tests: cases.len(),
        failures: cases.iter().filter(|case| case.failure.is_some()).count(),
        errors: report.unreadable.len(),
        cases,
    };
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let mut serializer = Serializer::with_root(&mut xml, Some("testsuites")).expect("the name is one");
    serializer.indent(' ', 2);
    TestSuites { suite }
        .serialize(serializer)
        .expect("strings and numbers can be written as XML");
    xml + "\n"
}

#[derive(Serialize)]
struct TestSuites {
    #[serde(rename = "testsuite")]
    suite: TestSuite,
}

#[derive(Serialize)]
struct TestSuite {
    #[serde(rename = "@name")]
    name: &'static str,
    #[serde(rename = "@tests")]
    tests: usize,
    #[serde(rename = "@failures")]
    failures: usize,
    #[serde(rename = "@errors")]
    errors: usize,
    #[serde(rename = "testcase")]
    cases: Vec<TestCase>,
}

#[derive(Serialize)]
struct TestCase {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "@classname")]
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Reason>,
    #[serde(rename = "system-out", skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

#[derive(Serialize)]
struct Reason {
    #[serde(rename = "@message")]
    message: String,
    #[serde(rename = "$text")]
    details: String,
}

impl TestCase {
    fn of(object: &Checked<'_>, report: &Report<'_>) -> Self {
        let (failing, passing): (Vec<_>, Vec<_>) = object
            .findings
            .iter()
            .partition(|located| report.fails(&located.finding));
        let lines = |located: &[&Located]| {
            let lines = located.iter().map(|located| line(object, located));
            lines.collect::<Vec<_>>().join("\n")
        };
        let codes = failing.iter().map(|located| &*located.finding.code);
        let failure = Reason {
            message: codes.collect::<Vec<_>>().join(", "),
            details: lines(&failing),
        };
        Self {
            name: printable(&object.identity.to_string()),
            file: printable(&object.source.name),
            failure: (!failing.is_empty()).then_some(failure),
            error: None,
            output: (!passing.is_empty()).then(|| lines(&passing)),
        }
    }

    fn unreadable(unreadable: &Unreadable<'_>) -> Self {
        Self {
            name: "can be read".to_owned(),
            file: printable(&unreadable.source.name),
            failure: None,
            error: Some(Reason {
                message: printable(&unreadable.message),
                details: printable(&unreadable.to_string()),
            }),
            output: None,
        }
    }
}

fn line(object: &Checked<'_>, Located { finding, place }: &Located) -> String {
    let (file, action) = (&object.source.name, finding.action);
    printable(&format!(
        "{file}:{}:{}: {action} {finding}",
        place.line, place.column
    ))
}

/// XML has no way to write control characters.
fn printable(text: &str) -> String {
    text.replace(
        |char: char| char.is_control() && !matches!(char, '\n' | '\t'),
        " ",
    )
}
