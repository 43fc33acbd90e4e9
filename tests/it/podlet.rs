//! The kubelet stand-in and the parts of the testbed do what the other tests rely on.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::Value;
use testbed::{Namespace, Part, Testbed};

const SECOND: Duration = Duration::from_secs(1);

/// Init containers, volumes, environment, probes, logs and deletion, as a kubelet has them.
pub(crate) async fn a_pod_lives_as_under_a_kubelet(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("podlet").await?;
    namespace
        .apply(
            r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {greeting: hello, place: world}
---
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: words, configMap: {name: words}}
  initContainers:
    - name: writes
      image: busybox
      command: [sh, -c, "cat /words/place > /shared/place"]
      volumeMounts: [{name: shared, mountPath: /shared}, {name: words, mountPath: /words}]
  containers:
    - name: reads
      image: busybox
      command: [sh, -c, 'echo "$GREETING $(cat /shared/place) from $NAME"; touch /tmp/ready; sleep 600']
      env:
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: words, key: greeting}}}
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
      volumeMounts: [{name: shared, mountPath: /shared}]
      readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
"#,
        )
        .await?;
    pod_is(&namespace, "plain", "Ready", |pod| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
    .await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client().clone(), namespace.name());
    let logs = pods.logs("plain", &LogParams::default()).await?;
    ensure!(
        logs == "hello world from plain\n",
        "the logs should be the greeting, they are {logs:?}"
    );
    namespace.delete("Pod", "plain").await?;
    namespace
        .eventually(30 * SECOND, "the Pod is gone", async || {
            match namespace.object("Pod", "plain").await {
                Err(_) => Ok(()),
                Ok(pod) => Err(pod["status"]["phase"].to_string()),
            }
        })
        .await
}

/// An image that is not there and a container that fails are told as a kubelet tells them.
pub(crate) async fn failures_are_told_as_by_a_kubelet(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("failures").await?;
    namespace
        .apply(
            "
apiVersion: v1
kind: Pod
metadata: {name: no-image}
spec: {containers: [{name: one, image: 'example.com/nobody/has:this'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: fails}
spec:
  restartPolicy: Never
  containers: [{name: one, image: busybox, command: [sh, -c, exit 7]}]
",
        )
        .await?;
    pod_is(&namespace, "no-image", "waiting for its image", |pod| {
        let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        reason == "ErrImagePull" || reason == "ImagePullBackOff"
    })
    .await?;
    pod_is(&namespace, "fails", "Failed with exit code 7", |pod| {
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        pod["status"]["phase"] == "Failed" && ended["exitCode"] == 7
    })
    .await
}

/// Parts of the world can be paused and killed one by one, and go on where they were.
pub(crate) async fn parts_pause_and_come_back(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("parts").await?;
    testbed.pause(Part::Scheduler).await?;
    let applied = namespace
        .apply(
            "
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec: {containers: [{name: one, image: busybox, command: [sleep, '600']}], terminationGracePeriodSeconds: 0}
",
        )
        .await;
    let unscheduled = namespace.object("Pod", "waits").await;
    testbed.resume(Part::Scheduler).await?;
    applied?;
    let unscheduled = unscheduled?;
    ensure!(
        unscheduled["spec"]["nodeName"].is_null(),
        "who scheduled it? {unscheduled:#}"
    );
    pod_is(&namespace, "waits", "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await?;
    testbed.kill(Part::ControllerManager).await?;
    testbed.restart(Part::ControllerManager).await?;
    ensure!(
        testbed.rss_bytes(Part::ControllerManager).await? > 0,
        "the new controller manager has no memory"
    );
    Ok(())
}

async fn pod_is(namespace: &Namespace, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Result<()> {
    namespace
        .eventually(60 * SECOND, &format!("Pod {name} is {what}"), async || {
            let pod = namespace
                .object("Pod", name)
                .await
                .map_err(|error| error.to_string())?;
            if so(&pod) {
                Ok(())
            } else {
                Err(pod["status"].to_string())
            }
        })
        .await
}
