//! What a live cluster was asked to do, written down and played again.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Identity, Role, Testbed};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::cluster::{BARE, BURST, run, workers_become};
use crate::demands::ready;

const DEADLINE: Duration = Duration::from_secs(60);

/// Three tasks come to a live cluster, run and are gone. `record` has written that down, and for `simulate` they come, run and are gone again.
pub(crate) async fn a_live_cluster_is_recorded_and_played_again(testbed: &Testbed) -> Result<()> {
    let namespace = testbed.namespace("recorded").await?;
    namespace.apply(BARE).await?;
    let head = ready(&namespace).await?;
    let kubeconfig = testbed.kubeconfig(Identity::Autoscaler);
    let cluster = format!("{}/demo", namespace.name());
    let mut recorder = autoscaler(&["record", &cluster, "--kubeconfig"])
        .arg(kubeconfig)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    begun(&mut recorder).await?;
    let done = run(&namespace, &head, &["python", "-c", BURST, "3", "3"]).await?;
    ensure!(done.contains("3 tasks done"), "{done}");
    workers_become(&namespace, "demo", 0).await?;

    let process = recorder.id().context("the recorder runs")?;
    let interrupted = Command::new("kill")
        .args(["-INT", &process.to_string()])
        .status()
        .await?;
    ensure!(interrupted.success(), "{interrupted}");
    let output = tokio::time::timeout(DEADLINE, recorder.wait_with_output()).await??;
    ensure!(output.status.success(), "{}", output.status);
    let mut scenario: Value = serde_json::from_slice(&output.stdout)?;
    let demand = scenario["demand"].as_array().context("the demand")?;
    let tasks = demand
        .iter()
        .flat_map(|step| step["requests"].as_array().into_iter().flatten());
    let tasks: u64 = tasks.filter_map(|task| task["count"].as_u64()).sum();
    ensure!(tasks == 3, "three tasks came: {scenario}");

    // However long the simulated Pods take to start.
    scenario["seconds"] = 600.into();
    let text = played(&scenario).await?;
    ensure!(
        text.contains("for tasks and actors"),
        "it grows for them: {text}\n{scenario}"
    );
    let table = text.split("\n\n").next().unwrap_or_default();
    let last: Vec<&str> = table
        .lines()
        .last()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    ensure!(
        last[1..3] == ["0", "0"],
        "nothing waits or runs in the end: {text}\n{scenario}"
    );
    Ok(())
}

/// What `simulate` says of it.
async fn played(scenario: &Value) -> Result<String> {
    let mut simulate = autoscaler(&["simulate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = simulate.stdin.take().context("its input")?;
    stdin.write_all(scenario.to_string().as_bytes()).await?;
    drop(stdin);
    let played = simulate.wait_with_output().await?;
    ensure!(played.status.success(), "{}: {scenario}", played.status);
    Ok(String::from_utf8(played.stdout)?)
}

fn autoscaler(arguments: &[&str]) -> Command {
    let (variable, value) = Role::Autoscaler.environment();
    let mut command = Command::new("/proc/self/exe");
    command.env(variable, value).args(arguments);
    command
}

/// Waits until it says that it records; what else it says is passed on.
async fn begun(recorder: &mut Child) -> Result<()> {
    let stderr = recorder.stderr.take().context("its log")?;
    let mut lines = BufReader::new(stderr).lines();
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await??;
        let line = line.context("it ended before it began")?;
        if line.contains("recording begins") {
            break;
        }
        eprintln!("{line}");
    }
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
        }
    });
    Ok(())
}
