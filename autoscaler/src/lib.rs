//! Autoscaler for Ray on Kubernetes.
