"""Ray's own decisions: a problem of `rayward-autoscaler simulate` on each line of standard input, and Ray's decision about it on standard output.

With `--time`, how many seconds the decision took instead.
"""

import json
import logging
import sys
import time

from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.core.generated import autoscaler_pb2, common_pb2
from ray.core.generated.instance_manager_pb2 import Instance, NodeKind, TerminationRequest

OPERATORS = {
    "in": common_pb2.LABEL_OPERATOR_IN,
    "notIn": common_pb2.LABEL_OPERATOR_NOT_IN,
}
WORDS = {operator: word for word, operator in OPERATORS.items()}
STATUSES = {
    "running": Instance.RAY_RUNNING,
    "pending": Instance.ALLOCATED,
    "leaving": Instance.RAY_STOP_REQUESTED,
}
CAUSES = {
    TerminationRequest.Cause.IDLE: "idle",
    TerminationRequest.Cause.MAX_NUM_NODE_PER_TYPE: "maxPerType",
    TerminationRequest.Cause.MAX_NUM_NODES: "maxNodes",
}


def asked(problem):
    types = problem["nodeTypes"]
    workers = [kind for kind in types.values() if not is_head(kind)]
    constraint = problem.get("constraint")
    return SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs={name: node_type(name, kind) for name, kind in types.items()},
        max_num_nodes=problem.get("maxNodes") or sum(kind["max"] for kind in workers) + 1,
        idle_timeout_s=problem.get("idleTimeoutSeconds", 60),
        resource_requests=[by_count(one) for one in problem.get("requests", [])],
        gang_resource_requests=[gang(one) for one in problem.get("gangs", [])],
        cluster_resource_constraints=[]
        if constraint is None
        else [autoscaler_pb2.ClusterResourceConstraint(resource_requests=[by_count(one) for one in constraint])],
        current_instances=[instance(node, types.get(node["type"], {})) for node in problem.get("nodes", [])],
    )


def seconds(problem):
    request = asked(problem)
    # Of the processor: what else the machine does is not Ray's fault.
    before = time.process_time()
    ResourceDemandScheduler().schedule(request)
    return time.process_time() - before


def decide(problem):
    reply = ResourceDemandScheduler().schedule(asked(problem))
    return {
        "launch": {launch.instance_type: launch.count for launch in reply.to_launch},
        "terminate": [{"id": gone.instance_id, "cause": CAUSES[gone.cause]} for gone in reply.to_terminate],
        "infeasible": {
            "requests": merged(reply.infeasible_resource_requests),
            "gangs": [
                {"details": one.details, "bundles": [said(bundle) for bundle in one.bundle_selectors[0].resource_requests]}
                for one in reply.infeasible_gang_resource_requests
            ],
            "constraint": bool(reply.infeasible_cluster_resource_constraints),
        },
    }


def is_head(kind):
    return kind.get("kind") == "head"


def node_type(name, kind):
    return NodeTypeConfig(
        name=name,
        # There is one head, whatever its group says.
        min_worker_nodes=0 if is_head(kind) else kind.get("min", 0),
        max_worker_nodes=1 if is_head(kind) else kind["max"],
        idle_timeout_s=kind.get("idleTimeoutSeconds"),
        priority=kind.get("priority", 0),
        resources=kind["resources"],
        labels=kind.get("labels", {}),
    )


def instance(node, kind):
    running = node["status"] == "running"
    known = Instance(
        instance_id=node["id"],
        instance_type=node["type"],
        node_kind=NodeKind.HEAD if is_head(kind) else NodeKind.WORKER,
        status=STATUSES[node["status"]],
        node_id=node["id"] if running else "",
    )
    if not running:
        return AutoscalerInstance(cloud_instance_id=node["id"], im_instance=known)
    state = autoscaler_pb2.NodeState(
        node_id=node["id"].encode(),
        instance_id=node["id"],
        ray_node_type_name=node["type"],
        total_resources=node["total"],
        # Ray does not list what is used up.
        available_resources={name: amount for name, amount in node["available"].items() if amount},
        labels=node.get("labels", {}),
        dynamic_labels=node.get("dynamicLabels", {}),
        idle_duration_ms=node.get("idleMilliseconds", 0),
        status=autoscaler_pb2.NodeStatus.RUNNING,
    )
    return AutoscalerInstance(cloud_instance_id=node["id"], ray_node=state, im_instance=known)


def by_count(one):
    return autoscaler_pb2.ResourceRequestByCount(request=request(one), count=one.get("count", 1))


def gang(one):
    bundles = [request(bundle) for bundle in one["bundles"]]
    # As Ray's GCS fills the older field: without the selectors.
    older = [
        autoscaler_pb2.ResourceRequest(
            resources_bundle=bundle.resources_bundle, placement_constraints=bundle.placement_constraints
        )
        for bundle in bundles
    ]
    return autoscaler_pb2.GangResourceRequest(
        details=one.get("details", ""),
        requests=older,
        bundle_selectors=[autoscaler_pb2.BundleSelector(resource_requests=bundles)],
    )


def request(one):
    result = autoscaler_pb2.ResourceRequest(resources_bundle=one["resources"])
    for selector in one.get("labelSelectors", []):
        result.label_selectors.add(
            label_constraints=[
                common_pb2.LabelSelectorConstraint(
                    label_key=term["key"], operator=OPERATORS[term["operator"]], label_values=term["values"]
                )
                for term in selector
            ]
        )
    if "antiAffinity" in one:
        result.placement_constraints.add().anti_affinity.CopyFrom(
            autoscaler_pb2.AntiAffinityConstraint(**label(one["antiAffinity"]))
        )
    if "affinity" in one:
        result.placement_constraints.add().affinity.CopyFrom(autoscaler_pb2.AffinityConstraint(**label(one["affinity"])))
    return result


def label(one):
    return {"label_name": one["label"], "label_value": one.get("value", "")}


def merged(requests):
    """Equal resources and selectors together, at the place of the first."""
    result = []
    for one in map(said, requests):
        same = (
            other
            for other in result
            if other["resources"] == one["resources"] and other.get("labelSelectors") == one.get("labelSelectors")
        )
        first = next(same, None)
        if first:
            first["count"] += 1
        else:
            result.append({**one, "count": 1})
    return result


def said(one):
    """A request in the words of a problem, without what is not said."""
    result = {"resources": {name: number(amount) for name, amount in one.resources_bundle.items()}}
    if one.label_selectors:
        result["labelSelectors"] = [
            [
                {"key": term.label_key, "operator": WORDS[term.operator], "values": list(term.label_values)}
                for term in selector.label_constraints
            ]
            for selector in one.label_selectors
        ]
    for constraint in one.placement_constraints:
        for field, key in (("anti_affinity", "antiAffinity"), ("affinity", "affinity")):
            if constraint.HasField(field):
                found = getattr(constraint, field)
                result[key] = {"label": found.label_name, "value": found.label_value}
    return result


def number(amount):
    return int(amount) if amount.is_integer() else amount


logging.disable(logging.CRITICAL)
answer = seconds if "--time" in sys.argv else decide
for line in sys.stdin:
    try:
        decision = answer(json.loads(line))
    except Exception as error:
        decision = {"error": repr(error)}
    print(json.dumps(decision), flush=True)
