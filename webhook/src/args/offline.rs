//! The flags of the commands that need no API server.

use std::path::PathBuf;

use clap::ValueEnum;
use rules::Action;

use super::World;
use super::namespaces::Namespaces;

/// The flags of `check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Manifests to check: files, folders, or - for standard input.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// How to write what was found.
    #[arg(long, default_value = "text")]
    pub format: ReportFormat,
    /// Write it to this file, all of it or nothing, and only a summary to standard error.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// From which findings on the check has failed.
    #[arg(long, value_name = "deny|warn", default_value = "deny", value_parser = fail_on)]
    pub fail_on: Action,
    /// Manifests as they are now: objects that are in here too are checked as updates of these.
    #[arg(long, value_name = "FILE")]
    pub old: Option<PathBuf>,
    /// Policies that apply to the objects: files or folders with `RayAdmissionPolicy` in them.
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// Where the objects are to live.
    #[command(flatten)]
    pub namespaces: Namespaces,
    /// What the objects meet.
    #[command(flatten)]
    pub world: World,
}

/// The flags of `mutate`.
#[derive(Debug, clap::Args)]
pub struct Mutate {
    /// Manifests: files, folders, or - for standard input.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Print what changes instead, for each object of Ray a line with a JSON patch (RFC 6902).
    #[arg(long, conflicts_with = "format")]
    pub patch: bool,
    /// How to write the objects.
    #[arg(long, default_value = "yaml")]
    pub format: ManifestFormat,
    /// Policies that apply to the objects: files or folders with `RayAdmissionPolicy` in them.
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// Where the objects are to live.
    #[command(flatten)]
    pub namespaces: Namespaces,
    /// What the objects meet.
    #[command(flatten)]
    pub world: World,
}

/// The flags of `uninject`.
#[derive(Debug, clap::Args)]
pub struct Uninject {
    /// Manifests: files, folders, or - for standard input.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// How to write the objects.
    #[arg(long, default_value = "yaml")]
    pub format: ManifestFormat,
}

/// The flags of `explain-policy`.
#[derive(Debug, clap::Args)]
pub struct ExplainPolicy {
    /// The object, as NAMESPACE/KIND/NAME or KIND/NAME; with --policy, a manifest of it.
    #[arg(value_name = "[NAMESPACE/]KIND/NAME|MANIFEST")]
    pub object: String,
    /// Do without an API server: files or folders with the policies.
    #[arg(long, value_name = "FILE", conflicts_with = "kubeconfig")]
    pub policy: Vec<PathBuf>,
    /// How to reach the API server; without it, as the environment says.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Where the object of a manifest is to live.
    #[command(flatten)]
    pub namespaces: Namespaces,
}

/// The flags of `quota`.
#[derive(Debug, clap::Args)]
pub struct Quota {
    /// Manifests of namespaces, by whose labels policies select: files, folders, or - for standard input.
    #[arg(value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// The policies: files or folders with `RayAdmissionPolicy` in them.
    #[arg(long, value_name = "FILE", required = true)]
    pub policy: Vec<PathBuf>,
    /// Whom the quota is for; without it, every namespace whose labels are told or written.
    #[command(flatten)]
    pub namespaces: Namespaces,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReportFormat {
    /// For people, with the lines that are meant.
    Text,
    /// For programs; stable.
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// Annotations of a GitHub workflow.
    Github,
    /// JUnit's XML, for CI servers.
    Junit,
}

/// How manifests are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ManifestFormat {
    /// One document per object.
    Yaml,
    /// One object, or a `List`.
    Json,
}

fn fail_on(text: &str) -> Result<Action, String> {
    match text {
        "deny" => Ok(Action::Deny),
        "warn" => Ok(Action::Warn),
        _ => Err("write deny or warn".to_owned()),
    }
}
