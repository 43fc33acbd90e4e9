//! Where a backtest finds what Ray asked for: in what Ray's nodes tell Prometheus of themselves, and in what we tell of what waits.
//!
//! What is used is told by resource. What waits is told so only by us (`rayward_autoscaler_waiting_resources`); for other times Ray says how many tasks wait, and it has to
//! be said what each of them asks for. Tasks of actors that have yet to be created are among them; placement groups and `request_resources` are not.

use std::collections::{BTreeMap, BTreeSet};

use ray::object::Metadata;
use ray::resources::Amount;

use super::history::Columns;
use crate::signals::Query;
use crate::signals::replay::work::Work;

/// The query for each resource.
pub(super) fn queries(
    metadata: &Metadata,
    resources: BTreeSet<String>,
    waiting_task: &[(String, Amount)],
) -> BTreeMap<String, Query> {
    let name = |name: &Option<String>| quoted(name.as_deref().unwrap_or_default());
    let of = format!(
        "namespace={},ray_io_cluster={}",
        name(&metadata.namespace),
        name(&metadata.name)
    );
    let queries = resources.into_iter().map(|resource| {
        let each = waiting_task.iter().filter(|(of, _)| *of == resource);
        let each: Amount = each.map(|(_, amount)| *amount).sum();
        let query = Query::of(query(&of, &resource, each));
        (resource, query)
    });
    queries.collect()
}

/// Nothing where the head is not scraped; there, what nobody tells of is zero.
fn query(of: &str, resource: &str, each: Amount) -> String {
    let name = quoted(resource);
    let nothing = format!("0 * count(ray_cluster_active_nodes{{{of}}})");
    let used = format!("sum(ray_resources{{{of},Name={name},State=\"USED\"}})");
    let waiting = format!("sum(rayward_autoscaler_waiting_resources{{{of},resource={name}}})");
    let told = format!("0 * count(rayward_autoscaler_waiting_resources{{{of}}})");
    let tasks = format!("clamp_min(sum(ray_tasks{{{of},State=\"PENDING_NODE_ASSIGNMENT\"}}), 0)");
    format!("({used} or {nothing}) + ({waiting} or {told} or {each} * {tasks} or {nothing})")
}

/// As `PromQL` quotes, which is as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a file says: a column for each resource, such as `ray/CPU`. What it says nothing of was not asked for.
pub(super) fn of_columns(columns: &Columns, resources: BTreeSet<String>) -> Option<Work> {
    let told = resources.into_iter().filter_map(|resource| {
        let series = columns.series(&format!("ray/{resource}"))?;
        Some((resource, series))
    });
    let work = Work(told.collect());
    (!work.0.is_empty()).then_some(work)
}

#[cfg(test)]
mod tests {
    use ray::resources::Amount;

    use super::{query, quoted};

    #[test]
    fn a_query_can_be_read() {
        let query = query("namespace=\"ml\",ray_io_cluster=\"demo\"", "CPU", Amount::ONE);
        assert_eq!(ray::promql::check(&query), Ok(()), "{query}");
        insta::assert_snapshot!(query, @r#"(sum(ray_resources{namespace="ml",ray_io_cluster="demo",Name="CPU",State="USED"}) or 0 * count(ray_cluster_active_nodes{namespace="ml",ray_io_cluster="demo"})) + (sum(rayward_autoscaler_waiting_resources{namespace="ml",ray_io_cluster="demo",resource="CPU"}) or 0 * count(rayward_autoscaler_waiting_resources{namespace="ml",ray_io_cluster="demo"}) or 1 * clamp_min(sum(ray_tasks{namespace="ml",ray_io_cluster="demo",State="PENDING_NODE_ASSIGNMENT"}), 0) or 0 * count(ray_cluster_active_nodes{namespace="ml",ray_io_cluster="demo"}))"#);
        assert_eq!(quoted("a\"b\\"), r#""a\"b\\""#);
    }
}
