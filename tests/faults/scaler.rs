//! We fail ourselves.

use std::time::Instant;

use anyhow::{Result, ensure};
use testbed::{Part, Testbed};

use crate::scene::{Witness, enter, figure, replicas, to_delete};

/// One worker is busy, others are on their way out: drained, listed, and not gone yet. Our process is killed. The next one takes away no more than
/// those, the one that is busy finishes, and what was listed is cleared.
pub(crate) async fn killed_in_the_middle_of_a_scale_down(testbed: &Testbed) -> Result<()> {
    let (scene, _stage) = enter(testbed).await?;
    let witness = Witness::of(scene);
    let fault = async {
        scene.wave_runs().await?;
        scene.burst(2, 3).await?;
        scene
            .becomes("idle workers are listed", |group| to_delete(group) > 0)
            .await?;
        testbed.kill(Part::Autoscaler(0)).await?;
        let before = witness.seen();
        testbed.start_part(Part::Autoscaler(0)).await?;
        let back = Instant::now();
        scene.workers_become(1).await?;
        scene
            .becomes("the list is cleared", |group| {
                replicas(group) == Some(1) && to_delete(group) == 0
            })
            .await?;
        figure("a new process to a cleared list", back);
        anyhow::Ok(before)
    };
    let ((), before) = tokio::try_join!(scene.wave(1, 90), fault)?;
    let after = witness.seen();
    let since = &after.replicas[before.replicas.len() - 1..];
    ensure!(
        after.workers == before.workers && since.is_sorted_by(|one, other| one > other),
        "when it was killed, there was {before:?}, and after {after:?}"
    );
    scene.empty().await
}
