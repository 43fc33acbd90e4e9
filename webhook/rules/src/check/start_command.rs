//! How Ray is started: in which container, by whose command.

use k8s_openapi::api::core::v1::Container;
use ray::cluster::{ClusterSpec, NodeGroup};
use ray::image::Image;
use ray::keys;
use ray::object::Kind;

use crate::facts::Operators;
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-G022",
        summary: "the container that looks like Ray's is not the first",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay starts Ray in the first container, whatever it is called and whatever its image.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers: [{name: logs, image: fluent/fluent-bit:3.2.2, resources: {limits: {cpu: 1, memory: 1Gi}}}, \
                {name: ray-head, image: 'rayproject/ray:2.60.0', resources: {limits: {cpu: 1, memory: 2Gi}}}]",
            passes: "/spec/headGroupSpec/template/spec/containers: [{name: ray-head, image: 'rayproject/ray:2.60.0', resources: {limits: {cpu: 1, memory: 2Gi}}}, \
                {name: logs, image: fluent/fluent-bit:3.2.2}]",
        },
        check: Check::Group(ray_comes_first),
    },
    Rule {
        code: "RW-P030",
        summary: "rayStartParams are written for a command that starts Ray itself",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "Where the container's command says `ray start`, KubeRay leaves it alone; rayStartParams reach neither Ray nor its nodes, \
            while the autoscaler goes on to count with them.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/spec/headGroupSpec/rayStartParams: {num-cpus: '0'}, \
                /spec/headGroupSpec/template/spec/containers/0/args: ['ray start --head --block']}",
            passes: "{/spec/headGroupSpec/rayStartParams: {num-cpus: '0'}, \
                /spec/headGroupSpec/template/spec/containers/0/args: ['echo starting']}",
        },
        check: Check::Object(params_reach_ray),
    },
    Rule {
        code: "RW-P031",
        summary: "KubeRay is told to leave the command alone, and the command does not start Ray",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "With ray.io/overwrite-container-cmd the command is the author's affair; KubeRay's own is only offered, as \
            KUBERAY_GEN_RAY_START_CMD.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "{/metadata/annotations: {ray.io/overwrite-container-cmd: 'true'}, /spec/workerGroupSpecs: null, \
                /spec/headGroupSpec/template/spec/containers/0/args: ['sleep 5']}",
            passes: "{/metadata/annotations: {ray.io/overwrite-container-cmd: 'true'}, /spec/workerGroupSpecs: null, \
                /spec/headGroupSpec/template/spec/containers/0/args: ['sleep 5; $KUBERAY_GEN_RAY_START_CMD']}",
        },
        check: Check::Object(own_commands_start_ray),
    },
    Rule {
        code: "RW-P032",
        summary: "a command that never ends comes before Ray",
        action: Action::Warn,
        kinds: &Kind::ALL,
        why: "KubeRay runs the author's command first and `ray start` after it, so Ray is never started.",
        source: Source::Hole,
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/headGroupSpec/template/spec/containers/0/command: [sleep, infinity]",
            passes: "/spec/headGroupSpec/template/spec/containers/0/command: [sleep, '10']",
        },
        check: Check::Object(commands_end),
    },
];

/// Judged by image where both are told, else by name. Only a container that looks like Ray's behind one that does not counts.
fn ray_comes_first(group: &dyn NodeGroup, findings: &mut Findings) {
    let Some(first) = group.ray_container().filter(|first| !looks_like_ray(first)) else {
        return;
    };
    let containers = group
        .template()
        .spec
        .as_ref()
        .map_or(&[][..], |pod| &pod.containers);
    if let Some(index) = containers.iter().position(looks_like_ray) {
        findings
            .at(group.containers_path().index(index))
            .problem(format!(
                "KubeRay will start Ray in \"{}\", which comes first, and not in \"{}\"",
                first.name, containers[index].name
            ))
            .hint("make the container that is to run Ray the first in the list");
    }
}

fn looks_like_ray(container: &Container) -> bool {
    let image = container.image.as_deref().map(Image::parse);
    let by_name = matches!(container.name.as_str(), "ray-head" | "ray-worker" | "ray");
    by_name || image.is_some_and(|image| image.is_from_ray_project())
}

/// Ports that KubeRay itself goes by: for services, addresses and probes.
const OF_KUBERAY: [&str; 3] = ["port", "dashboard-port", "dashboard-agent-listen-port"];

fn params_reach_ray(subject: &Subject<'_>, findings: &mut Findings) {
    let overwritten = overwrites_commands(subject);
    for group in groups(subject) {
        let command = command(group);
        let params = group.start_params();
        if command.contains("ray start")
            && !(overwritten && command.contains(keys::ENV_START_COMMAND))
            && let Some(name) = params
                .raw
                .keys()
                .find(|name| !OF_KUBERAY.contains(&name.as_str()))
        {
            findings
                .at(params.path.clone())
                .problem(format!(
                    "{name} has no effect, since the container's command starts Ray itself"
                ))
                .hint("say it in the command, or leave `ray start` to KubeRay");
        }
    }
}

fn own_commands_start_ray(subject: &Subject<'_>, findings: &mut Findings) {
    if !overwrites_commands(subject) {
        return;
    }
    for group in groups(subject) {
        let command = command(group);
        if group.ray_container().is_some()
            && !command.contains("ray start")
            && !command.contains(keys::ENV_START_COMMAND)
        {
            findings
                .at(group.ray_container_path().key("args"))
                .problem(format!(
                    "{} is true, and nothing here starts Ray",
                    keys::OVERWRITE_CONTAINER_COMMAND
                ))
                .hint(format!("run ${} in the command", keys::ENV_START_COMMAND));
        }
    }
}

fn commands_end(subject: &Subject<'_>, findings: &mut Findings) {
    const ENDLESS: [&str; 3] = ["sleep infinity", "tail -f /dev/null", "sleep inf"];
    if overwrites_commands(subject) {
        return;
    }
    for group in groups(subject) {
        let command = command(group);
        if !command.contains("ray start")
            && let Some(endless) = ENDLESS.iter().find(|endless| command.ends_with(*endless))
        {
            let ray = group.ray_container().is_some_and(|ray| ray.args.is_some());
            findings
                .at(group
                    .ray_container_path()
                    .key(if ray { "args" } else { "command" }))
                .problem(format!(
                    "Ray is started when this command has ended, and `{endless}` never does"
                ))
                .hint("leave it out; KubeRay starts Ray so that it keeps the container running");
        }
    }
}

fn groups<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a dyn NodeGroup> {
    subject.object.clusters().flat_map(ClusterSpec::groups)
}

/// Command and arguments in one line, with single blanks.
fn command(group: &dyn NodeGroup) -> String {
    let parts = group
        .ray_container()
        .into_iter()
        .flat_map(|ray| [&ray.command, &ray.args])
        .flatten()
        .flatten();
    let words: Vec<&str> = parts.flat_map(|part| part.split_ascii_whitespace()).collect();
    words.join(" ")
}

/// The annotation of a job or a service is passed on to its cluster.
fn overwrites_commands(subject: &Subject<'_>) -> bool {
    let annotation = subject.annotation(keys::OVERWRITE_CONTAINER_COMMAND);
    annotation.is_some_and(|(_, text)| text.eq_ignore_ascii_case("true"))
}
