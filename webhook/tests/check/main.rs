//! The offline commands as their users run them: the program, files, an exit code.

mod policies;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BARE: &str = include_str!("../../../tests/fixtures/bare-cluster.yaml");
const BROKEN: &str = include_str!("../../../tests/fixtures/broken-cluster.yaml");
/// A mistake, a doubt, and an object of others.
const DEMO: &str = include_str!("../demo.yaml");

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

fn program(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rayward-webhook"));
    command.args(line.split_whitespace()).current_dir(folder);
    command
}

fn run_with(folder: &Path, line: &str, stdin: &str) -> Ran {
    ran(&mut program(folder, line), stdin)
}

fn spawned(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().expect("it starts")
}

fn ran(command: &mut Command, stdin: &str) -> Ran {
    let mut child = spawned(command);
    let mut input = child.stdin.take().expect("a pipe");
    let stdin = stdin.to_owned();
    // Who reads nothing does not care what could not be written.
    let writer = std::thread::spawn(move || drop(input.write_all(stdin.as_bytes())));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    Ran {
        code: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn run(folder: &TempDir, line: &str) -> Ran {
    run_with(folder.path(), line, "")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// `CODE line`, for each finding in `text`.
fn findings(ran: &Ran, text: &str) -> Vec<String> {
    let report = json(&ran.stdout);
    let objects = report["objects"].as_array().expect("objects").iter();
    let number = |value: &Value| usize::try_from(value.as_u64().expect("a number")).expect("a small one");
    objects
        .flat_map(|object| object["findings"].as_array().expect("findings"))
        .map(|finding| {
            let line = text.lines().nth(number(&finding["line"]) - 1).expect("the line");
            format!("{} {}", finding["code"].as_str().expect("a code"), line.trim())
        })
        .collect()
}

#[test]
fn colours_are_for_those_who_want_them() {
    let folder = folder(&[("demo.yaml", DEMO)]);
    let coloured = |variables: &[(&str, &str)]| {
        let mut command = program(folder.path(), "check demo.yaml");
        let output = command.envs(variables.iter().copied()).output().expect("it runs");
        output.stdout.contains(&0x1b)
    };
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
    assert!(!coloured(&[]));
}

#[test]
fn all_mistakes_are_found_where_they_are() {
    let found = findings(&run_with(Path::new("."), "check - --format json", BROKEN), BROKEN);
    for mistake in [
        "RW-C001 containers: []",
        "RW-C007 minReplicas: -1",
        "RW-C009 minReplicas: 4",
        "RW-G024 requests: {nvidia.com/gpu: 1}",
        "RW-M009 - groupName: cpu",
    ] {
        assert!(
            found.iter().any(|finding| finding == mistake),
            "{mistake} in {found:#?}"
        );
    }
}

#[test]
fn the_guide_shows_what_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let guide = fs::read_to_string(root.join("docs/check.md")).expect("the guide");
    let (command, shown) = guide
        .split_once("$ rayward-webhook ")
        .and_then(|(_, sample)| sample.split_once('\n'))
        .expect("it shows a command");
    let (finding, _) = shown.split_once("\n\n").expect("it shows a finding");
    let ran = run_with(root, command, "");
    assert!(
        ran.stdout.contains(finding),
        "{finding}\n\nis not in\n\n{}",
        ran.stdout
    );
}

/// Fragments, which say nothing of their kind, cannot be checked; what belongs to others is passed over.
#[test]
fn guides_show_nothing_that_is_refused() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides");
    let mut shown = BTreeSet::new();
    for guide in fs::read_dir(guides).expect("the guides") {
        let guide = guide.expect("a guide").path();
        let text = fs::read_to_string(&guide).expect("a guide");
        let blocks = text.split("\n```yaml\n").skip(1);
        let manifests: Vec<_> = blocks
            .filter_map(|rest| rest.split("\n```").next())
            .filter(|block| block.lines().any(|line| line.starts_with("kind: ")))
            .collect();
        let policy = "kind: RayAdmissionPolicy";
        let line = if manifests.iter().any(|manifest| manifest.contains(policy)) {
            "check guide.yaml --policy guide.yaml --format json"
        } else {
            "check guide.yaml --format json"
        };
        let ran = run(&folder(&[("guide.yaml", &manifests.join("\n---\n"))]), line);
        assert_eq!(ran.code, 0, "{}: {}{}", guide.display(), ran.stdout, ran.stderr);
        for object in json(&ran.stdout)["objects"].as_array().expect("objects") {
            shown.insert(object["kind"].as_str().expect("a kind").to_owned());
        }
    }
    for kind in ["RayAdmissionPolicy", "RayCluster", "RayJob"] {
        assert!(
            shown.contains(kind),
            "no guide shows a {kind}: has the reading of guides broken?"
        );
    }
}

#[test]
fn the_summary_says_which_kuberay_is_meant() {
    let summary = |line| {
        let ran = run_with(Path::new("."), line, DEMO);
        ran.stdout.lines().last().unwrap_or_default().to_owned()
    };
    assert!(summary("check -").ends_with("(assuming KubeRay 1.7)"));
    assert!(summary("check - --kuberay-version v1.6.2").ends_with("(for KubeRay 1.6)"));
}

#[test]
fn what_the_process_ends_with() {
    let warned = DEMO.replace("minReplicas: -1", "minReplicas: 1");
    let clean = warned.replace("replicas: 11", "replicas: 10");
    let folder = folder(&[
        ("clean.yaml", &clean),
        ("warned.yaml", &warned),
        ("denied.yaml", DEMO),
        ("torn.yaml", "a: [\n"),
        ("other/other.json", r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#),
        ("none/readme.md", "nothing here"),
    ]);
    let lines = [
        "check clean.yaml",
        "check warned.yaml",
        "check warned.yaml --fail-on warn",
        "check denied.yaml clean.yaml",
        "check denied.yaml torn.yaml",
        "check torn.yaml clean.yaml",
        "check missing.yaml",
        "check other",
        "check none",
        "check",
        "check clean.yaml --format xml",
        "check clean.yaml --kuberay-version 1.3",
        "check clean.yaml --old missing.yaml",
        "check clean.yaml --output none/missing/report",
        "mutate torn.yaml clean.yaml",
        "uninject clean.yaml",
    ];
    let codes = lines.map(|line| format!("{} {line}", run(&folder, line).code));
    insta::assert_snapshot!(codes.join("\n"), @"
    0 check clean.yaml
    0 check warned.yaml
    1 check warned.yaml --fail-on warn
    1 check denied.yaml clean.yaml
    2 check denied.yaml torn.yaml
    2 check torn.yaml clean.yaml
    2 check missing.yaml
    0 check other
    2 check none
    2 check
    2 check clean.yaml --format xml
    2 check clean.yaml --kuberay-version 1.3
    2 check clean.yaml --old missing.yaml
    2 check clean.yaml --output none/missing/report
    2 mutate torn.yaml clean.yaml
    0 uninject clean.yaml
    ");
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let many = [DEMO; 200].join("---\n");
    let folder = folder(&[("many.yaml", &many)]);
    let mut child = spawned(&mut program(folder.path(), "check many.yaml"));
    let mut first = [0; 5];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut first).expect("it writes");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((&first, output.status.code()), (b"error", Some(1)));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn folders_lists_and_json_hold_objects_too() {
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Secret}}\n- {}",
        DEMO.split("---\n")
            .nth(1)
            .expect("a second document")
            .trim_end()
            .replace('\n', "\n  ")
    );
    let object = run_with(
        Path::new("."),
        "mutate - --format json",
        DEMO.split("---\n").nth(1).expect("it"),
    );
    let folder = folder(&[("b/list.yml", &list), ("a.json", &object.stdout), ("c.txt", DEMO)]);
    let ran = run(&folder, "check . --format json");
    let report = json(&ran.stdout);
    let files: Vec<_> = report["objects"]
        .as_array()
        .expect("objects")
        .iter()
        .map(|object| format!("{} {} {}", object["file"], object["document"], object["name"]))
        .collect();
    assert_eq!(files, [r#""a.json" 0 "demo""#, r#""b/list.yml" 0 "demo""#]);
    assert_eq!(report["passedOver"], 1);
    let found = findings(&run(&folder, "check b --format json"), &list);
    assert!(
        found.contains(&"RW-C007 minReplicas: -1".to_owned()),
        "{found:#?}"
    );
}

#[test]
fn an_update_is_not_blamed_for_what_was_wrong_before() {
    let worse = DEMO.replace("maxReplicas: 10", "maxReplicas: -2");
    let folder = folder(&[("old.yaml", DEMO), ("new.yaml", &worse), ("same.yaml", DEMO)]);
    let actions = |line: &str| {
        let report = json(&run(&folder, line).stdout);
        let findings = report["objects"][0]["findings"]
            .as_array()
            .expect("findings")
            .clone();
        let bounds = |finding: &&Value| {
            let path = finding["path"].as_str().expect("a path");
            path.ends_with("minReplicas") || path.ends_with("maxReplicas")
        };
        let shown = findings
            .iter()
            .filter(bounds)
            .map(|finding| format!("{} {}", finding["action"], finding["code"]).replace('"', ""));
        shown.collect::<Vec<_>>().join(", ")
    };
    insta::assert_snapshot!(
        [
            actions("check new.yaml --format json"),
            actions("check new.yaml --old old.yaml --format json"),
            actions("check same.yaml --old old.yaml --format json"),
        ]
        .join("\n"),
        @"
        Deny RW-C008, Deny RW-C007, Deny RW-C009
        Deny RW-C008, Warn RW-C007, Deny RW-C009
        "
    );
}

#[test]
fn a_report_goes_to_a_file_as_a_whole() {
    let folder = folder(&[
        ("demo.yaml", DEMO),
        ("report.txt", "older and longer than nothing"),
    ]);
    let to_file = run(&folder, "check demo.yaml --output report.txt");
    let printed = run(&folder, "check demo.yaml");
    let report = fs::read_to_string(folder.path().join("report.txt")).expect("a report");
    assert_eq!((to_file.code, to_file.stdout.as_str()), (1, ""));
    assert_eq!(report, printed.stdout);
    assert_eq!(report.lines().last(), Some(to_file.stderr.trim_end()));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 2);
}

/// The shell lets the program have this much address space, threads and all, and no more.
#[test]
fn large_and_deep_documents_end_soon_and_within_bounds() {
    let problem = |text: &str| {
        let program = env!("CARGO_BIN_EXE_rayward-webhook");
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 786432 && exec \"$0\" check -", program]);
        let ran = ran(&mut command, text);
        let title = ran.stdout.lines().next().unwrap_or_default().to_owned();
        format!("{} {title}", ran.code)
    };
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let large = DEMO.replace(
        "namespace: team",
        &format!("annotations: {{a: '{}'}}", "x".repeat(7 << 20)),
    );
    let wide = format!("{{\"a\": [{}0]}}", "0,".repeat(1 << 20));
    let groups = format!(
        "apiVersion: ray.io/v1\nkind: RayCluster\nspec: {{workerGroupSpecs: [{}]}}",
        "{},".repeat(100_000)
    );
    let huge = "#".repeat((32 << 20) + 1);
    insta::assert_snapshot!(
        [&deep, &large, &wide, &groups, &huge].map(|text| problem(text)).join("\n"),
        @r#"
    2 error: this is more than 100 levels deep
    1 error[RW-C007]: spec.workerGroupSpecs[0].minReplicas: group "cpu" cannot have -1 workers
    2 error: this holds more than 1000000 values
    2 error: this object has more than 100000 values, which the service refuses too
    2 error: it has more than 32 MiB
    "#
    );
}

#[test]
fn defaults_are_put_in_and_taken_out_again() {
    let folder = folder(&[("bare.yaml", BARE), ("two.yaml", DEMO)]);
    let mutated = run(&folder, "mutate two.yaml");
    insta::assert_snapshot!(mutated.stdout, @r#"
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: other
    ---
    apiVersion: ray.io/v1
    kind: RayCluster
    metadata:
      name: demo
      namespace: team
      annotations:
        rayward.dev/injected: "{\"/spec/headGroupSpec/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\"}"
        rayward.dev/injected-by: "{\"0.1.0\":{\"rayward\":[\"/spec/headGroupSpec/template/spec/containers/0/image\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\"]}}"
    spec:
      rayVersion: "2.60.0"
      headGroupSpec:
        rayStartParams: {}
        template:
          spec:
            containers:
            - name: ray-head
              resources:
                limits:
                  cpu: 1
                  memory: 2Gi
              image: rayproject/ray:2.60.0
      workerGroupSpecs:
      - groupName: cpu
        replicas: 11
        minReplicas: -1
        maxReplicas: 10
        rayStartParams: {}
        template:
          spec:
            containers:
            - name: ray-worker
              resources:
                limits:
                  cpu: 1
                  memory: 2Gi
              image: rayproject/ray:2.60.0
    "#);
    let plain = run(&folder, "uninject bare.yaml two.yaml").stdout;
    let injected = run(&folder, "mutate bare.yaml two.yaml").stdout;
    assert_eq!(run_with(folder.path(), "uninject -", &injected).stdout, plain);
    assert_eq!(run_with(folder.path(), "mutate -", &injected).stdout, injected);
    insta::assert_snapshot!(run(&folder, "mutate two.yaml --patch").stdout, @r#"[{"op":"add","path":"/spec/headGroupSpec/template/spec/containers/0/image","value":"rayproject/ray:2.60.0"},{"op":"add","path":"/spec/workerGroupSpecs/0/template/spec/containers/0/image","value":"rayproject/ray:2.60.0"},{"op":"add","path":"/metadata/annotations","value":{"rayward.dev/injected":"{\"/spec/headGroupSpec/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\":\"rayproject/ray:2.60.0\"}"}},{"op":"add","path":"/metadata/annotations/rayward.dev~1injected-by","value":"{\"0.1.0\":{\"rayward\":[\"/spec/headGroupSpec/template/spec/containers/0/image\",\"/spec/workerGroupSpecs/0/template/spec/containers/0/image\"]}}"}]"#);
}
