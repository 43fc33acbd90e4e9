package main

import (
	"context"
	"fmt"

	kjson "sigs.k8s.io/json"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/utils"
	webhooks "github.com/ray-project/kuberay/ray-operator/pkg/webhooks/v1"
)

// One of KubeRay's functions.
type check struct {
	name string
	run  func() error
}

// What the operator says to an object of `kind`. It reports only the first thing that it minds, and so do we. What another controller
// manages is judged too: in the end it is for an operator, if in another cluster.
func validate(kind string, stored []byte) (result verdict) {
	checks, err := checksOf(kind, stored)
	if err != nil {
		return verdict{By: "decode", Message: err.Error()}
	}
	running := ""
	defer func() {
		if cause := recover(); cause != nil {
			result = verdict{By: running, Message: fmt.Sprint(cause), Panic: true}
		}
	}()
	for _, check := range checks {
		running = check.name
		if err := check.run(); err != nil {
			return verdict{By: check.name, Message: err.Error()}
		}
	}
	return verdict{By: "accepted"}
}

func checksOf(kind string, stored []byte) ([]check, error) {
	switch kind {
	case "RayCluster":
		return clusterChecks(stored)
	case "RayJob":
		return jobChecks(stored)
	case "RayService":
		return serviceChecks(stored)
	default:
		return cronJobChecks(stored)
	}
}

// KubeRay's own webhook comes last, though it would be asked first: what the reconciler finds by itself shall be reported as its own.
func clusterChecks(stored []byte) ([]check, error) {
	var cluster rayv1.RayCluster
	if err := kjson.UnmarshalCaseSensitivePreserveInts(stored, &cluster); err != nil {
		return nil, err
	}
	return []check{
		{"ValidateRayClusterMetadata", func() error { return utils.ValidateRayClusterMetadata(cluster.ObjectMeta) }},
		{"ValidateRayClusterSpec", func() error { return utils.ValidateRayClusterSpec(&cluster.Spec, cluster.Annotations) }},
		{"ValidateRayClusterUpgradeOptions", func() error { return validateUpgradeOptions(&cluster) }},
		{"ValidateRayClusterStatus", func() error { return utils.ValidateRayClusterStatus(&cluster) }},
		{"RayClusterWebhook", func() error {
			_, err := (&webhooks.RayClusterWebhook{}).ValidateCreate(context.Background(), &cluster)
			return err
		}},
	}, nil
}

func jobChecks(stored []byte) ([]check, error) {
	var job rayv1.RayJob
	if err := kjson.UnmarshalCaseSensitivePreserveInts(stored, &job); err != nil {
		return nil, err
	}
	return []check{
		{"ValidateRayJobMetadata", func() error { return utils.ValidateRayJobMetadata(job.ObjectMeta) }},
		{"ValidateRayJobSpec", func() error { return utils.ValidateRayJobSpec(&job) }},
		{"ValidateRayJobStatus", func() error { return utils.ValidateRayJobStatus(&job) }},
	}, nil
}

func serviceChecks(stored []byte) ([]check, error) {
	var service rayv1.RayService
	if err := kjson.UnmarshalCaseSensitivePreserveInts(stored, &service); err != nil {
		return nil, err
	}
	return []check{
		{"ValidateRayServiceMetadata", func() error { return utils.ValidateRayServiceMetadata(service.ObjectMeta) }},
		{"ValidateRayServiceSpec", func() error { return utils.ValidateRayServiceSpec(&service) }},
	}, nil
}
