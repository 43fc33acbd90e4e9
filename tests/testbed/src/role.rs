//! The parts that one executable can play.
//!
//! A program that uses the testbed starts itself again and again: once inside new namespaces and once for each of our services.
//! The environment says which part a process plays; `main` asks here before it does anything else.

use std::future::Future;

use anyhow::{Context, Result};
use clap::Parser;

use crate::{echo, inside};

/// Names the part in the environment of a process that was started again.
const VARIABLE: &str = "RAYWARD_TESTBED_ROLE";

/// What a process that was started again is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// First process inside the namespaces: furnishes them, starts the world and reaps orphans.
    Init,
    /// The program itself, inside.
    World,
    /// A replica of `rayward-webhook`.
    Webhook,
    /// `rayward-autoscaler`.
    Autoscaler,
    /// What the webhook's speed is compared with.
    Echo,
}

impl Role {
    const ALL: [Self; 5] = [
        Self::Init,
        Self::World,
        Self::Webhook,
        Self::Autoscaler,
        Self::Echo,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::World => "world",
            Self::Webhook => "webhook",
            Self::Autoscaler => "autoscaler",
            Self::Echo => "echo",
        }
    }

    /// The part this process plays; `None` in the one that the user started.
    pub(crate) fn current() -> Option<Self> {
        let name = std::env::var(VARIABLE).ok()?;
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The environment that gives a process this part.
    pub fn environment(self) -> (&'static str, &'static str) {
        (VARIABLE, self.name())
    }
}

/// Plays the part that this process was started for and ends it; returns in a process that has a `main` of its own.
///
/// Call it first thing in `main`, before there is a second thread.
pub fn dispatch() {
    let result = match Role::current() {
        None | Some(Role::World) => return,
        Some(Role::Init) => inside::init(),
        Some(Role::Webhook) => serve(|| rayward_webhook::Args::parse().run()),
        Some(Role::Autoscaler) => serve(|| rayward_autoscaler::Args::parse().run()),
        Some(Role::Echo) => serve(|| echo::Args::parse().run()),
    };
    let code = result.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            1
        },
        |()| 0,
    );
    std::process::exit(code);
}

/// What the `main` of each service does.
fn serve<T, F: Future<Output = Result<T>>>(run: impl FnOnce() -> F) -> Result<()> {
    certs::install_provider()?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async { run().await }).map(drop)
}
