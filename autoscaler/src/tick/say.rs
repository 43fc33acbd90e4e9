//! What is said of a cluster besides what comes of decisions: what we are to it, why nothing is decided, and whether its head answers.

use jiff::Timestamp;

use super::{Kept, Loop, Outcome};
use crate::adoption::{Shadowed, Standing};
use crate::cluster::View;
use crate::condition;
use crate::metrics::{Counted, ShadowLabels, ShadowReason};
use crate::pace::{Pace, Turn};
use crate::shadow::Differences;

impl Loop {
    /// Says what we are to the cluster, once for how long.
    pub(super) async fn stand(&self, standing: &Standing, view: &View, kept: &mut Kept) {
        if kept
            .standing
            .as_ref()
            .is_some_and(|(before, _)| before == standing)
        {
            return;
        }
        tracing::info!(
            namespace = self.namespace,
            cluster = self.name,
            ?standing,
            "standing"
        );
        let shadowed = |why| Counted::new(&self.metrics.shadowed.get_or_create(&ShadowLabels { why }));
        let counted = match standing {
            Standing::Writer => Some(Counted::new(&self.metrics.clusters)),
            Standing::Shadow(Shadowed::Asked) => Some(shadowed(ShadowReason::Asked)),
            Standing::Shadow(Shadowed::ByHead(_)) => Some(shadowed(ShadowReason::Head)),
            Standing::Aside => None,
        };
        if let (Standing::Shadow(why @ Shadowed::ByHead(_)), Some(cluster)) = (standing, &view.cluster) {
            self.recorder.only_shadowed(cluster, why).await;
        }
        kept.standing = Some((standing.clone(), counted));
        kept.differences = Differences::default();
    }

    /// Says once for how long why nothing is done.
    pub(super) fn hold(&self, kept: &mut Kept, reason: String) -> Outcome {
        self.page.held(&reason, Timestamp::now());
        if kept.held.as_ref() != Some(&reason) {
            tracing::info!(namespace = self.namespace, cluster = self.name, reason, "hold");
            kept.held = Some(reason);
        }
        Outcome::Held
    }

    /// Tells policies that nothing is decided.
    pub(super) fn tell_held(&self, outcome: Outcome, view: &View, kept: &Kept) {
        let Some(cluster) = view.cluster.as_ref() else {
            return;
        };
        if matches!(outcome, Outcome::Held | Outcome::Unreachable) && self.may_write() {
            let why = kept.held.as_deref().unwrap_or_default();
            self.signals.tell(self.signals.held(cluster, why));
        }
    }

    /// Says on the RayCluster that its head answers no more, or again.
    pub(super) async fn turn(&self, turn: Turn, view: &View, kept: &mut Kept) {
        kept.quarantined = (turn == Turn::Quarantined).then(|| Counted::new(&self.metrics.quarantined));
        if let Some(cluster) = view.cluster.as_ref().filter(|_| self.may_write()) {
            let why = kept.held.as_deref().unwrap_or_default();
            self.recorder.head_turned(cluster, turn, why).await;
        }
    }

    /// Keeps what the RayCluster says of its head true.
    pub(super) async fn tell_reachable(&self, pace: &Pace, outcome: Outcome, view: &View, kept: &Kept) {
        let Some(cluster) = view.cluster.as_ref().filter(|_| self.may_write()) else {
            return;
        };
        let answered = !matches!(outcome, Outcome::Unreachable | Outcome::Held);
        if let Some(answers) = condition::news(cluster.head_answers, pace.is_quarantined(), answered) {
            let why = kept.held.as_deref().unwrap_or_default();
            self.recorder.head_condition(cluster, answers, why).await;
        }
    }

    /// Keeps what the RayCluster says of its adoption true. One that is shadowed because it asks for that says so itself, and is not touched.
    pub(super) async fn tell_adoption(&self, view: &View, kept: &mut Kept) {
        // Beside a head there is no right to.
        let may_tell = self.scope.is_central() && self.holds();
        let Some(cluster) = view.cluster.as_ref().filter(|_| may_tell) else {
            return;
        };
        let standing = self.scope.standing(view);
        let why = match &standing {
            Standing::Shadow(why @ Shadowed::ByHead(_)) => Some(why.to_string()),
            _ => None,
        };
        // Once for each standing: where the definition has no conditions, nothing comes of it.
        if cluster.only_shadowed == why || kept.adoption_told.as_ref() == Some(&standing) {
            return;
        }
        if self.recorder.adoption_condition(cluster, why.as_deref()).await {
            kept.adoption_told = Some(standing);
        }
    }
}
