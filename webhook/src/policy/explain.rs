//! `explain-policy`: which policies an object falls under, and which of them each value is from.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, ResourceExt};
use ray::object::Kind;
use rules::policy::NamedPolicy;
use rules::{Facts, Operation, Policies, Request};

use super::{definition, files};
use crate::args::ExplainPolicy;
use crate::known::Known;
use crate::source::{self, Document};
use crate::{output, serve};

/// Explains what the flags name.
pub async fn run(flags: &ExplainPolicy) -> anyhow::Result<ExitCode> {
    let text = if flags.policy.is_empty() {
        let client = serve::client(flags.kubeconfig.as_deref()).await?;
        of_stored(client, flags).await?
    } else {
        of_manifests(files::read(&flags.policy)?, flags)?
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Of an object in the API server, `[NAMESPACE/]KIND/NAME`.
async fn of_stored(client: Client, flags: &ExplainPolicy) -> anyhow::Result<String> {
    let named = &flags.object;
    let parts: Vec<&str> = named.split('/').collect();
    let namespace = flags.namespaces.namespace.as_deref();
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let (namespace, kind, name) = match parts[..] {
        [namespace, kind, name] => (namespace.to_owned(), kind, name),
        [kind, name] => (namespace, kind, name),
        _ => bail!(
            "`{named}` is no object: write NAMESPACE/KIND/NAME, or name a manifest and its policies with --policy"
        ),
    };
    let known = Kind::ALL.into_iter().find(|known| {
        let (known, kind) = (known.name().to_lowercase(), kind.to_lowercase());
        kind == known || kind == format!("{known}s")
    });
    let kind = known.with_context(|| {
        format!(
            "`{kind}` is no kind of Ray's: write {}",
            Kind::ALL.map(Kind::name).join(", ")
        )
    })?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", kind.name()));
    let object = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource)
        .get(name)
        .await;
    let object = object.with_context(|| format!("get {kind} {namespace}/{name}"))?;
    let labels = Api::<Namespace>::all(client.clone()).get(&namespace).await;
    let labels = labels
        .with_context(|| format!("get the namespace {namespace}"))?
        .labels()
        .clone();
    let stored = Api::<DynamicObject>::all_with(client, &definition::resource())
        .list(&ListParams::default())
        .await;
    let mut policies = Vec::new();
    for policy in stored.context("list the policies")? {
        match NamedPolicy::read(policy.name_any(), &policy.data["spec"]) {
            Ok(policy) => policies.push(policy),
            Err(_) => output::tell(&format!(
                "warning: {} cannot be read; what it said before may be in force: see its status",
                policy.name_any()
            )),
        }
    }
    let object = serde_json::to_value(object).context("write the object as JSON")?;
    let request = Request {
        namespace: &namespace,
        namespace_labels: Some(&labels),
        now: Timestamp::now(),
        ..Request::new(Operation::Create, kind, &object, None)
    };
    Ok(explain(&Policies::new(policies), &request))
}

/// Of each object of Ray in a file or folder.
fn of_manifests(policies: Policies, flags: &ExplainPolicy) -> anyhow::Result<String> {
    let sources = source::read(&[flags.object.clone().into()]);
    let mut documents = Vec::new();
    for source in &sources {
        let read = source.documents();
        documents.extend(read.map_err(|unreadable| anyhow::anyhow!("{unreadable}"))?);
    }
    let facts = Facts {
        policies: Arc::new(policies),
        ..Facts::default()
    };
    let known = Known::new(facts, &flags.namespaces, &documents);
    let objects = documents.iter().flat_map(Document::objects);
    let texts: Vec<_> = objects
        .filter_map(|found| {
            Some(explain(
                &known.facts.policies,
                &known.request(found.kind()?, &found.value, None),
            ))
        })
        .collect();
    if texts.is_empty() {
        bail!("{}: there is no object of Ray in it", flags.object);
    }
    Ok(texts.join("\n"))
}

fn explain(policies: &Policies, request: &Request<'_>) -> String {
    let name = request.object["metadata"]["name"]
        .as_str()
        .unwrap_or("without a name");
    let place = match request.namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    };
    let mut lines = vec![format!("{} {place}", request.kind)];
    let selecting: Vec<String> = policies
        .selecting(request)
        .map(|policy| format!("{} (priority {})", policy.name(), policy.priority()))
        .collect();
    lines.push(match &selecting[..] {
        [] => "  falls under no policy".to_owned(),
        selecting => format!("  falls under {}", selecting.join(", ")),
    });
    lines.extend(policies.doubts(request).map(|doubt| format!("  {doubt}")));
    let policy = policies.of(request);
    let spec = serde_json::to_value(&policy.spec).expect("a policy is JSON");
    let rows: Vec<[String; 3]> = policy
        .provenance
        .iter()
        .filter_map(|(place, author)| {
            Some([
                place.field().to_string(),
                place.resolve(&spec)?.to_string(),
                author.clone(),
            ])
        })
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let (field, value) = (width(0), width(1));
    lines.extend(
        rows.iter()
            .map(|[path, shown, author]| format!("  {path:field$}  {shown:value$}  {author}")),
    );
    lines.join("\n") + "\n"
}
