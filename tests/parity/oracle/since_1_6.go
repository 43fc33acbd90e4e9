//go:build !kuberay_1_5

package main

import (
	kjson "sigs.k8s.io/json"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/utils"
)

func validateUpgradeOptions(cluster *rayv1.RayCluster) error {
	return utils.ValidateRayClusterUpgradeOptions(cluster)
}

func cronJobChecks(stored []byte) ([]check, error) {
	var cronJob rayv1.RayCronJob
	if err := kjson.UnmarshalCaseSensitivePreserveInts(stored, &cronJob); err != nil {
		return nil, err
	}
	return []check{
		{"ValidateRayCronJobSpec", func() error { return utils.ValidateRayCronJobSpec(&cronJob) }},
	}, nil
}
