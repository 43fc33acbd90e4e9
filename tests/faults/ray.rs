//! Ray's side fails: the GCS of the head hangs, or nobody can reach the head.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use testbed::Testbed;

use crate::scene::{SECOND, Scene, Witness, enter, figure};

/// The GCS is stopped while two tasks run and one more is asked for. Whether they still run cannot be known, so nobody goes.
pub(crate) async fn the_gcs_is_frozen(testbed: &Testbed) -> Result<()> {
    let (scene, _stage) = enter(testbed).await?;
    holds(
        scene,
        "a GCS that thaws to a new worker",
        scene.run(&["pkill", "-STOP", "gcs_server"]),
        scene.run(&["pkill", "-CONT", "gcs_server"]),
    )
    .await
}

/// The network of the head's Pod is cut, with the same result.
pub(crate) async fn the_head_is_cut_off(testbed: &Testbed) -> Result<()> {
    let (scene, _stage) = enter(testbed).await?;
    holds(
        scene,
        "a head that is reached again to a new worker",
        link(scene, "down"),
        link(scene, "up"),
    )
    .await
}

async fn holds<T>(
    scene: &'static Scene,
    what: &str,
    break_it: impl Future<Output = Result<T>>,
    mend_it: impl Future<Output = Result<T>>,
) -> Result<()> {
    let witness = Witness::of(scene);
    let fault = async {
        scene.wave_runs().await?;
        break_it.await?;
        // Shorter than a worker waits before it gives its head up, longer than an idle one may stay.
        tokio::time::sleep(20 * SECOND).await;
        let seen = witness.seen();
        ensure!(seen.replicas.last() == Some(&2), "while nobody answers: {seen:?}");
        mend_it.await?;
        let mended = Instant::now();
        scene.workers_become(3).await?;
        figure(what, mended);
        Ok(())
    };
    tokio::try_join!(scene.wave(2, 60), fault)?;
    witness.saw_only(3)?;
    scene.empty().await
}

/// The end of the head's cable that is plugged into the bridge.
async fn link(scene: &Scene, state: &str) -> Result<()> {
    let [_, _, third, fourth] = scene.head_address.octets();
    let port = format!("pod{third}-{fourth}");
    let output = tokio::process::Command::new("ip")
        .args(["link", "set", &port, state])
        .output()
        .await
        .context("run ip")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}
