//! What expressions say of an object, what is no expression, and what one may cost.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BRACKETS_MAX, Budget, Expression, Failure, LENGTH_MAX, Variables};
use crate::tests::yaml;

const OBJECT: &str = "
metadata: {name: demo, labels: {team: vision, stage: prod}}
spec:
  rayVersion: 2.52.0
  headGroupSpec: {rayStartParams: {}}
  suspend: null
  weight: 1.5
  large: 18446744073709551615
  workerGroupSpecs:
  - {groupName: cpu, replicas: 1, maxReplicas: 4}
  - {groupName: gpu, replicas: 2, maxReplicas: 8}
";

fn variables(object: &Value) -> Variables<'_> {
    Variables {
        object,
        old: &Value::Null,
        request: &Value::Null,
        namespace_labels: None,
    }
}

fn is_true(source: &str, object: &Value) -> Result<bool, Failure> {
    Expression::read(source)
        .expect(source)
        .is_true(variables(object), &Budget::default())
}

/// Each with what it is, or why it is nothing.
fn answers(sources: &[&str]) -> String {
    let object = yaml(OBJECT);
    let mut told = String::new();
    for source in sources {
        match is_true(source, &object) {
            Ok(answer) => writeln!(told, "{source}  ->  {answer}"),
            Err(failure) => writeln!(told, "{source}  ->  {failure}"),
        }
        .expect("strings take everything");
    }
    told
}

#[test]
fn what_is_true_of_an_object() {
    insta::assert_snapshot!(answers(&[
        "object.spec.rayVersion == '2.52.0'",
        "object.spec.workerGroupSpecs.all(g, g.maxReplicas <= 4)",
        "object.spec.workerGroupSpecs.exists(g, g.groupName == 'gpu' && g.replicas + 6 == g.maxReplicas)",
        "object.spec.workerGroupSpecs[1].maxReplicas / 2 == 4",
        "object.spec.workerGroupSpecs.map(g, g.groupName) == ['cpu', 'gpu']",
        "['cpu', 'gpu'] == object.spec.workerGroupSpecs.map(g, g.groupName)",
        "object.spec.workerGroupSpecs.filter(g, g.replicas > 1) == [{'groupName': 'gpu', 'replicas': 2, 'maxReplicas': 8}]",
        "object.metadata.labels == {'stage': 'prod', 'team': 'vision'} && {'stage': 'prod', 'team': 'vision'} == object.metadata.labels",
        "object.metadata.labels.map(key, key) == ['team', 'stage']",
        "'team' in object.metadata.labels && !('owner' in object.metadata.labels) && 'owner' in object.metadata.labels",
        "object.metadata.labels['team'].matches('^v.*n$') && object.metadata.name.startsWith('d')",
        "has(object.spec.suspend) && object.spec.suspend == null && !has(object.spec.rayClusterSpec)",
        "size(object.spec.workerGroupSpecs) == 2 && size(object.metadata.labels) == 2 && size('four') == 4",
        "(object.spec.workerGroupSpecs + [1]).size() == 3",
        "object.spec.?rayClusterSpec.orValue('none') == 'none'",
        "object.spec.weight < 2 && object.spec.large > 9000000000",
        "type(object.spec.workerGroupSpecs) == list && type(object.spec) == map && type(object.spec.weight) == double",
        "oldObject == null || oldObject.spec.rayVersion == object.spec.rayVersion",
    ]), @"
    object.spec.rayVersion == '2.52.0'  ->  true
    object.spec.workerGroupSpecs.all(g, g.maxReplicas <= 4)  ->  false
    object.spec.workerGroupSpecs.exists(g, g.groupName == 'gpu' && g.replicas + 6 == g.maxReplicas)  ->  true
    object.spec.workerGroupSpecs[1].maxReplicas / 2 == 4  ->  true
    object.spec.workerGroupSpecs.map(g, g.groupName) == ['cpu', 'gpu']  ->  true
    ['cpu', 'gpu'] == object.spec.workerGroupSpecs.map(g, g.groupName)  ->  true
    object.spec.workerGroupSpecs.filter(g, g.replicas > 1) == [{'groupName': 'gpu', 'replicas': 2, 'maxReplicas': 8}]  ->  true
    object.metadata.labels == {'stage': 'prod', 'team': 'vision'} && {'stage': 'prod', 'team': 'vision'} == object.metadata.labels  ->  true
    object.metadata.labels.map(key, key) == ['team', 'stage']  ->  false
    'team' in object.metadata.labels && !('owner' in object.metadata.labels) && 'owner' in object.metadata.labels  ->  false
    object.metadata.labels['team'].matches('^v.*n$') && object.metadata.name.startsWith('d')  ->  true
    has(object.spec.suspend) && object.spec.suspend == null && !has(object.spec.rayClusterSpec)  ->  true
    size(object.spec.workerGroupSpecs) == 2 && size(object.metadata.labels) == 2 && size('four') == 4  ->  true
    (object.spec.workerGroupSpecs + [1]).size() == 3  ->  true
    object.spec.?rayClusterSpec.orValue('none') == 'none'  ->  true
    object.spec.weight < 2 && object.spec.large > 9000000000  ->  true
    type(object.spec.workerGroupSpecs) == list && type(object.spec) == map && type(object.spec.weight) == double  ->  true
    oldObject == null || oldObject.spec.rayVersion == object.spec.rayVersion  ->  true
    ");
}

#[test]
fn what_cannot_be_told() {
    insta::assert_snapshot!(answers(&[
        "object.spec.gcsFaultToleranceOptions.redisAddress == ''",
        "object.spec.rayVersion.major == 2",
        "object.spec.workerGroupSpecs[2].replicas == 1",
        "object.spec.workerGroupSpecs['cpu'].replicas == 1",
        "object.spec.rayVersion + 1 == 3",
        "object.spec == object.spec && object.metadata < 3",
        "object.metadata.name",
        "object.spec.rayVersion.matches('(')",
        "int(object.spec.rayVersion) == 2",
        "1 / 0 == 1",
        "object.spec.rayVersion.all(c, c == '2')",
        "namespaceLabels.stage == 'prod'",
        "has(namespaceLabels.stage) || object.metadata.name == 'demo'",
    ]), @r#"
    object.spec.gcsFaultToleranceOptions.redisAddress == ''  ->  there is no `gcsFaultToleranceOptions`
    object.spec.rayVersion.major == 2  ->  found no matching overload for '_._' applied to '(string, string)'
    object.spec.workerGroupSpecs[2].replicas == 1  ->  Index out of bounds: Int(2)
    object.spec.workerGroupSpecs['cpu'].replicas == 1  ->  found no matching overload for '_[_]' applied to '(list, string)'
    object.spec.rayVersion + 1 == 3  ->  `add` is not for string and int
    object.spec == object.spec && object.metadata < 3  ->  found no matching overload for '_<_' applied to '(map, int)'
    object.metadata.name  ->  it is of the type string, and not bool
    object.spec.rayVersion.matches('(')  ->  Error executing function 'matches': '(' not a valid regex: regex parse error: ( ^ error: unclosed group
    int(object.spec.rayVersion) == 2  ->  Error executing function 'int': string parse error: invalid digit found in string
    1 / 0 == 1  ->  Division by zero of Int(1)
    object.spec.rayVersion.all(c, c == '2')  ->  Unexpected type: got 'string', want 'iterable'
    namespaceLabels.stage == 'prod'  ->  the labels of the namespace are not known here
    has(namespaceLabels.stage) || object.metadata.name == 'demo'  ->  true
    "#);
}

#[test]
fn what_is_no_expression() {
    let long = format!("'{}' == ''", "x".repeat(LENGTH_MAX));
    let deep = format!("{}1{} == 1", "(".repeat(60), ")".repeat(60));
    let chain = format!("1{} == 1", " + 1".repeat(400));
    let sources = [
        "object.spec.rayVersion = '2.52.0'",
        "object.spec.\nworkerGroupSpecs.all(g g.replicas)",
        "",
        "objekt.spec.suspend",
        "object.spec.workerGroupSpecs.all(g, h.replicas == 1)",
        "object.spec.workerGroupSpecs.all(g, true) && g == 1",
        "object.metadata.name.lowerAscii() == 'demo'",
        "timestamp('2026-01-01T00:00:00Z') == now()",
        "Pod{name: 'demo'}.name == 'demo'",
        &long,
        &deep,
        &chain,
    ];
    let told = sources.map(|source| {
        let unreadable = Expression::read(source).expect_err(source);
        let shown: String = source.chars().take(40).collect();
        format!("{shown:?}: {unreadable}\n")
    });
    insta::assert_snapshot!(told.concat(), @r#"
    "object.spec.rayVersion = '2.52.0'": line 1, column 24: token recognition error at: '= '
    "object.spec.\nworkerGroupSpecs.all(g g.re": line 2, column 24: mismatched input 'g'
    "": line 1, column 1: mismatched input '<EOF>'
    "objekt.spec.suspend": nothing is called `objekt`; there are object, oldObject, request, namespaceLabels
    "object.spec.workerGroupSpecs.all(g, h.re": nothing is called `h`; there are object, oldObject, request, namespaceLabels
    "object.spec.workerGroupSpecs.all(g, true": nothing is called `g`; there are object, oldObject, request, namespaceLabels
    "object.metadata.name.lowerAscii() == 'de": no function is called `lowerAscii`; there are bool, bytes, contains, double, dyn, endsWith, hasValue, int, matches, or, orValue, size, startsWith, string, type, uint, value
    "timestamp('2026-01-01T00:00:00Z') == now": no function is called `timestamp`; there are bool, bytes, contains, double, dyn, endsWith, hasValue, int, matches, or, orValue, size, startsWith, string, type, uint, value
    "Pod{name: 'demo'}.name == 'demo'": there are no messages such as `Pod`
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": it has 2008 characters, and 2000 are the most
    "((((((((((((((((((((((((((((((((((((((((": more than 24 brackets, or 64 parts, lie within each other
    "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + ": more than 24 brackets, or 64 parts, lie within each other
    "#);
}

/// The longest and deepest expressions are read and evaluated on the small stack of a thread.
#[test]
fn stacks_suffice() {
    let levels = usize::from(BRACKETS_MAX);
    let sources = [
        format!("{}true{}", "(".repeat(levels), ")".repeat(levels)),
        format!("true{}", " && true".repeat(240)),
        format!("0{} == 39", " + 1".repeat(39)),
        format!("{}true{}", "[1].all(x, ".repeat(levels), ")".repeat(levels)),
        format!("{}1{} == [1]", "[".repeat(levels), "]".repeat(levels)),
        "!".repeat(LENGTH_MAX - 4) + "true",
        "-".repeat(LENGTH_MAX - 1) + "1",
        format!("{}1", "1 ? 1 : ".repeat(240)),
        format!("object{}", ".a".repeat(990)),
        "(".repeat(LENGTH_MAX),
        "(')' + ".repeat(LENGTH_MAX / 7),
        "[{(".repeat(LENGTH_MAX / 3),
        "{1:".repeat(LENGTH_MAX / 3),
        "[1].all(x, ".repeat(LENGTH_MAX / 11),
        "!(".repeat(LENGTH_MAX / 2),
        "[{(".repeat(levels / 3),
    ];
    let evaluated = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for source in sources {
            if let Ok(expression) = Expression::read(&source) {
                let _ = expression.is_true(variables(&Value::Null), &Budget::default());
            }
        }
    });
    evaluated.expect("a thread").join().expect("no panic");
}

/// What a rule may cost is counted, whatever it is hidden in: items that are visited, and patterns that are compiled.
#[test]
fn costs_are_bounded() {
    let object = json!({"groups": vec![json!({"names": ["a", "b"]}); 150]});
    let answer = |source: &str| is_true(source, &object);
    assert_eq!(
        answer("object.groups.all(a, object.groups.exists_one(b, true) || true)"),
        Err(Failure::Endless)
    );
    assert_eq!(
        answer("object.groups.all(a, object.groups[0].names.all(b, a != b))"),
        Ok(true)
    );
    assert_eq!(answer("object.groups.all(a, 'x'.matches('x'))"), Ok(true));
    assert_eq!(
        answer("object.groups.all(a, a.names.all(b, ['x', 'y'].exists(c, b.matches(c)) || true))"),
        Err(Failure::Endless)
    );
    // What has failed for want of steps is not passed over.
    assert_eq!(
        answer("true || object.groups.all(a, object.groups.all(b, true))"),
        Ok(true)
    );
    assert_eq!(
        answer("object.groups.all(a, object.groups.all(b, true)) || true"),
        Err(Failure::Endless)
    );
    let nested =
        "object.groups.map(a, object.groups.map(b, object.groups.map(c, object.groups.map(d, d)))) == []";
    assert_eq!(answer(nested), Err(Failure::Endless));
}

/// Texts and lists that multiply are paid for by what becomes of them, before it does.
#[test]
fn what_multiplies_is_bounded() {
    let text = "x".repeat(1000);
    let object = json!({"text": text, "list": vec![text.clone(); 100], "other": {"list": vec![text; 100]}});
    let answer = |source: &str| is_true(source, &object);
    let doubled = |base: &str, levels: usize, last: &str| {
        let names: Vec<String> = (0..levels).map(|level| format!("x{level}")).collect();
        let all = names.iter().enumerate().map(|(level, name)| {
            let before = level.checked_sub(1).map_or(base, |before| &names[before]);
            format!("[{before} + {before}].all({name}, ")
        });
        format!("{}{last}{}", all.collect::<String>(), ")".repeat(levels))
    };
    let texts = doubled("object.text", 20, "size(x19) > 0");
    let lists = doubled("object.list", 20, "size(x19) > 0");
    let nested = doubled("[object.text]", 20, "true").replace(" + ", ", ");
    assert_eq!(answer(&doubled("object.text", 8, "size(x7) == 256000")), Ok(true));
    for source in [texts, lists, nested] {
        assert_eq!(answer(&source), Err(Failure::Endless), "{source}");
    }
    // The same without an end, and with everything that goes through a text or a list.
    let every = |what: &str| {
        let source = format!("object.list.all(a, object.list.all(b, ({what}) || true))");
        answer(&source)
    };
    assert_eq!(every("a == b"), Err(Failure::Endless));
    for what in [
        "(a + b).contains('y')",
        "string(a) < b",
        "bytes(a) != b''",
        "object.list == object.other.list",
        "a in object.list",
        "['x', a, b] != []",
        "object.?absent.orValue(a) == ''",
    ] {
        assert_eq!(every(what), Err(Failure::Endless), "{what}");
    }
    // What takes no more time for much than for little costs no more.
    assert_eq!(
        every("size(object.list) == 100 && has(object.text) && 'text' in object"),
        Ok(true)
    );
    assert_eq!(
        answer("object.list.filter(a, a != '').map(a, a).size() == 100"),
        Ok(true)
    );
}

/// All rules that look at an object share what there is.
#[test]
fn a_budget_is_shared() {
    let object = json!({"list": vec![0; 140]});
    let dear = Expression::read("object.list.all(a, object.list.all(b, true))").expect("it can be read");
    let cheap = Expression::read("object.list != []").expect("it can be read");
    let budget = Budget::default();
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(dear.is_true(variables(&object), &budget));
    }
    assert_eq!(answers[..5], vec![Ok(true); 5]);
    assert_eq!(answers[5], Err(Failure::NoneLeft));
    assert_eq!(cheap.is_true(variables(&object), &budget), Err(Failure::NoneLeft));
    assert_eq!(cheap.is_true(variables(&object), &Budget::default()), Ok(true));
}

fn text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "object", ".spec", ".all(x, ", "x", " == ", "[0]", "'a'", "1", ")", "(", " && ", "!", "has(",
        "size(", "?", ":", "{", "}", ",", " in ", "-", "/", ".a",
    ]);
    prop_oneof![
        ".{0,40}",
        prop::collection::vec(words, 0..16).prop_map(|words| words.concat())
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_or_refused(source in text(), object in crate::tests::properties::garbled()) {
        if let Ok(expression) = Expression::read(&source) {
            let _ = expression.is_true(variables(&object), &Budget::default());
            let _ = expression.text(variables(&object), &Budget::default());
        }
    }
}
