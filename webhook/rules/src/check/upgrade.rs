//! How a changed cluster takes over from the running one: at once, step by step, or not at all.

use ray::object::Kind;
use ray::service::{ServiceSpec, UpgradeOptions};

use super::service::WHY_REFUSED;
use crate::facts::{Gate, Operator, Operators};
use crate::finding::Findings;
use crate::rule::{Action, Check, Example, Rule, Source, Subject};

const AT_ONCE: &str = "NewCluster";
const STEP_BY_STEP: &str = "NewClusterWithIncrementalUpgrade";
const NOT_AT_ALL: &str = "None";
/// What the CRD fills in.
const SURGE_DEFAULT: i32 = 100;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        code: "RW-S004",
        summary: "the type of an upgradeStrategy is none that KubeRay knows",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateRayServiceSpec"),
        operators: Operators::ALL,
        gate: None,
        example: Example {
            fires: "/spec/upgradeStrategy: {type: BlueGreen}",
            passes: "/spec/upgradeStrategy: {type: NewCluster}",
        },
        check: Check::Service(type_is_known),
    },
    Rule {
        code: "RW-S006",
        summary: "NewClusterWithIncrementalUpgrade is set without enableInTreeAutoscaling",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "/spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
        },
        check: Check::Service(steps_scale),
    },
    Rule {
        code: "RW-S007",
        summary: "NewClusterWithIncrementalUpgrade is set without clusterUpgradeOptions",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
        },
        check: Check::Service(steps_are_told),
    },
    Rule {
        code: "RW-S008",
        summary: "maxSurgePercent is not within 0 and 100",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 101, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
        },
        check: Check::Service(surge_is_a_percentage),
    },
    Rule {
        code: "RW-S009",
        summary: "stepSizePercent is absent or not within 0 and 100",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: -1, intervalSeconds: 30, gatewayClassName: istio}}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 0, intervalSeconds: 30, gatewayClassName: istio}}}",
        },
        check: Check::Service(step_is_a_percentage),
    },
    Rule {
        code: "RW-S010",
        summary: "stepSizePercent is above maxSurgePercent",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_7),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 10, stepSizePercent: 11, intervalSeconds: 30, gatewayClassName: istio}}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 10, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
        },
        check: Check::Service(step_is_within_the_surge),
    },
    Rule {
        code: "RW-S011",
        summary: "intervalSeconds is not positive",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 0, gatewayClassName: istio}}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 1, gatewayClassName: istio}}}",
        },
        check: Check::Service(interval_is_positive),
    },
    Rule {
        code: "RW-S012",
        summary: "gatewayClassName is empty",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: WHY_REFUSED,
        source: Source::KubeRay("ValidateClusterUpgradeOptions"),
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: ''}}}",
            passes: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
        },
        check: Check::Service(gateway_is_named),
    },
    Rule {
        code: "RW-G066",
        summary: "an upgradeStrategy has no type",
        action: Action::Deny,
        kinds: &[Kind::Service],
        why: "The operator panics on it, each time that it looks at the service: there is not even an event.",
        source: Source::Hole,
        operators: Operators {
            since: Operator::V1_5,
            until: Operator::V1_6,
        },
        gate: Some(Gate::IncrementalUpgrade.on()),
        example: Example {
            fires: "/spec/upgradeStrategy: {}",
            passes: "/spec/upgradeStrategy: {type: NewCluster}",
        },
        check: Check::Service(strategy_has_a_type),
    },
    Rule {
        code: "RW-G067",
        summary: "NewClusterWithIncrementalUpgrade is set, but its gate is off",
        action: Action::Warn,
        kinds: &[Kind::Service],
        why: "KubeRay then makes no second cluster at all: a changed service is never rolled out.",
        source: Source::Hole,
        operators: Operators::since(Operator::V1_5),
        gate: Some(Gate::IncrementalUpgrade.off()),
        example: Example {
            fires: "{/spec/rayClusterConfig/enableInTreeAutoscaling: true, /spec/upgradeStrategy: {type: NewClusterWithIncrementalUpgrade, clusterUpgradeOptions: {maxSurgePercent: 100, stepSizePercent: 10, intervalSeconds: 30, gatewayClassName: istio}}}",
            passes: "/spec/upgradeStrategy: {type: NewCluster}",
        },
        check: Check::Service(steps_are_switched_on),
    },
];

fn type_is_known(service: &ServiceSpec, subject: &Subject<'_>, findings: &mut Findings) {
    let known = match subject.facts.operator {
        Some(Operator::V1_4) => &[AT_ONCE, NOT_AT_ALL][..],
        _ => &[AT_ONCE, STEP_BY_STEP, NOT_AT_ALL],
    };
    if let Some(unknown) = service
        .upgrade_strategy
        .as_deref()
        .filter(|told| !known.contains(told))
    {
        findings
            .at(service.path.key("upgradeStrategy").key("type"))
            .problem(format!(
                "\"{unknown}\" is no way for a changed cluster to take over"
            ))
            .hint(format!("use one of {}", known.join(", ")));
    }
}

fn steps_scale(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    if goes_step_by_step(service) && !service.cluster.is_autoscaled() {
        findings
            .at(service.cluster.path.key("enableInTreeAutoscaling"))
            .problem(format!("{STEP_BY_STEP} needs clusters that scale"))
            .hint(format!("set it to true, or use {AT_ONCE}"));
    }
}

fn steps_are_told(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    if goes_step_by_step(service) && service.upgrade_options.is_none() {
        findings
            .at(service.path.key("upgradeStrategy").key("clusterUpgradeOptions"))
            .problem(format!("{STEP_BY_STEP} needs to know its steps"))
            .hint("add stepSizePercent, intervalSeconds and gatewayClassName");
    }
}

fn surge_is_a_percentage(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    if let Some(options) = steps(service).filter(|options| !is_percentage(surge(options))) {
        findings
            .at(options.path.key("maxSurgePercent"))
            .problem(format!("{} is not within 0 and 100", surge(options)))
            .hint("use 100 for a whole second cluster");
    }
}

fn step_is_a_percentage(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(options) = steps(service) else { return };
    if !options.step_size_percent.is_some_and(is_percentage) {
        findings
            .at(options.path.key("stepSizePercent"))
            .problem(match options.step_size_percent {
                Some(step) => format!("{step} is not within 0 and 100"),
                None => "it does not say how much traffic moves in a step".to_owned(),
            })
            .hint("use a number such as 10");
    }
}

fn step_is_within_the_surge(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(options) = steps(service) else { return };
    if let Some(step) = options.step_size_percent.filter(|step| *step > surge(options)) {
        findings
            .at(options.path.key("stepSizePercent"))
            .problem(format!(
                "{step} is above maxSurgePercent, which is {}",
                surge(options)
            ))
            .hint("lower stepSizePercent or raise maxSurgePercent");
    }
}

fn interval_is_positive(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(options) = steps(service) else { return };
    if options.interval_seconds.is_none_or(|seconds| seconds <= 0) {
        findings
            .at(options.path.key("intervalSeconds"))
            .problem("a step takes at least a second")
            .hint("use 1 or more");
    }
}

fn gateway_is_named(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    let Some(options) = steps(service) else { return };
    if options.gateway_class_name.as_ref().is_none_or(String::is_empty) {
        findings
            .at(options.path.key("gatewayClassName"))
            .problem("nothing is named that divides the traffic between two clusters")
            .hint("name a GatewayClass, such as istio");
    }
}

fn strategy_has_a_type(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    if service.has_upgrade_strategy && service.upgrade_strategy.is_none() {
        findings
            .at(service.path.key("upgradeStrategy"))
            .problem("it does not say how a changed cluster takes over")
            .hint(format!("set type to {AT_ONCE}, or take the strategy out"));
    }
}

fn steps_are_switched_on(service: &ServiceSpec, _: &Subject<'_>, findings: &mut Findings) {
    if goes_step_by_step(service) {
        findings
            .at(service.path.key("upgradeStrategy").key("type"))
            .problem("with this type the operator would not roll out a changed cluster")
            .hint(format!(
                "switch on its gate RayServiceIncrementalUpgrade, or use {AT_ONCE}"
            ));
    }
}

fn goes_step_by_step(service: &ServiceSpec) -> bool {
    service.upgrade_strategy.as_deref() == Some(STEP_BY_STEP)
}

/// The steps, where there are to be any.
fn steps(service: &ServiceSpec) -> Option<&UpgradeOptions> {
    service
        .upgrade_options
        .as_ref()
        .filter(|_| goes_step_by_step(service))
}

fn surge(options: &UpgradeOptions) -> i32 {
    options.max_surge_percent.unwrap_or(SURGE_DEFAULT)
}

fn is_percentage(number: i32) -> bool {
    (0..=100).contains(&number)
}
