//! Admission webhook for Ray on Kubernetes.
