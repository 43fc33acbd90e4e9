//! The real world on one machine: Kubernetes, KubeRay, Prometheus and Ray as plain processes.
