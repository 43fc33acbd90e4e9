//! The one integration test binary. Tests share one testbed, each in a namespace of its own; the house rules need none.

mod admission;
mod audit;
mod backtest;
mod cluster;
mod demands;
mod demo;
mod door;
mod external_metrics;
mod fault_tolerance;
mod guarded;
mod guide;
mod job;
mod manifests;
mod operator;
mod podlet;
mod pods;
mod policy;
mod policy_defaults;
mod policy_fields;
mod policy_seen_by_ray;
mod prometheus;
mod recipes;
mod recording;
mod samples;
mod scaling;
mod service;
mod shadow;
mod signals;
mod status;
mod tidy;
mod usage;
mod vacancy;

use std::process::ExitCode;

use testbed::{Options, Test};

/// A row for each test: its path is its name.
macro_rules! tests {
    ($($kind:ident $module:ident::$test:ident,)*) => {
        vec![$(Test::$kind(concat!(stringify!($module), "::", stringify!($test)), $module::$test)),*]
    };
}

fn main() -> ExitCode {
    testbed::dispatch();
    // Longest first, so that the short ones fill the gaps.
    let tests = tests![
        world service::official_sample_answers,
        world job::official_sample_succeeds,
        world cluster::three_ray_versions_side_by_side,
        world cluster::head_killed_and_everything_comes_back,
        world fault_tolerance::a_new_head_goes_on_with_the_same_workers,
        world cluster::official_autoscaling_sample_grows_and_shrinks,
        world cluster::autoscaler_killed_in_the_middle_of_growth,
        world prometheus::a_service_follows_its_queue,
        world status::ours_states_what_rays_does,
        world shadow::what_asks_to_be_shadowed_is_not_touched,
        world demo::every_step,
        world demands::each_finds_its_group,
        world demands::what_a_user_writes_meanwhile_holds,
        world demands::a_frozen_head_costs_only_its_own_cluster,
        world demands::what_no_group_can_hold_is_told,
        world recording::a_live_cluster_is_recorded_and_played_again,
        world vacancy::a_cluster_that_nobody_uses_is_suspended,
        world door::a_group_is_driven_through_scale,
        world signals::a_policy_recommends_acts_pauses_and_goes,
        world scaling::a_group_without_nodes_is_passed_over,
        world scaling::a_group_that_a_quota_refuses_is_passed_over,
        world prometheus::everything_is_scraped,
        world backtest::a_policy_is_played_against_a_real_prometheus,
        world prometheus::queries_are_read_as_by_prometheus,
        world cluster::official_sample_runs,
        world policy_seen_by_ray::ray_has_what_a_policy_gives,
        world operator::takes_up_what_we_admit,
        world operator::complains_of_what_we_refuse,
        world admission::no_call_is_lost_while_the_webhook_restarts,
        world admission::every_official_sample_is_admitted,
        world admission::a_refusal_lists_every_mistake,
        world admission::only_what_may_do_harm_is_asked_about,
        world admission::offline_and_at_admission_the_same_is_said,
        world admission::the_annotation_chooses_the_autoscaler,
        world admission::defaults_fill_in_and_never_overwrite,
        world signals::a_policy_that_cannot_be_followed_is_refused,
        world signals::what_another_policy_is_about_is_refused,
        world audit::older_objects_are_counted_and_reported,
        world policy::a_policy_comes_changes_breaks_and_goes,
        world policy::no_call_is_lost_while_a_policy_changes,
        world policy_defaults::a_policy_completes_and_never_replaces,
        world guide::a_newcomer_walks_through_policies,
        world policy_fields::accelerators,
        world policy_fields::autoscaler,
        world policy_fields::images,
        world policy_fields::nodes,
        world policy_fields::options,
        world policy_fields::pods,
        world policy_fields::rules,
        world usage::what_a_namespace_may_have_together,
        world pods::hosts_of_a_tpu_slice_know_each_other,
        world pods::a_worker_has_what_a_policy_puts_into_it,
        world podlet::a_pod_lives_as_under_a_kubelet,
        world podlet::failures_are_told_as_by_a_kubelet,
        world podlet::parts_pause_and_come_back,
        world manifests::the_base_is_accepted_by_the_api_server,
        world manifests::the_optional_ones_are_accepted_by_the_api_server,
        plain policy_fields::each_has_a_case,
        plain tidy::pure_crates_stay_pure,
        plain tidy::pure_crates_deny_clock_and_environment,
        plain tidy::packages_share_the_lints,
        plain tidy::links_lead_somewhere,
    ];
    let prometheus = format!("http://127.0.0.1:{}", testbed::PROMETHEUS_PORT);
    let servers = std::iter::once(prometheus).chain(guarded::servers());
    let mut options = Options {
        autoscaler_arguments: servers.map(|server| format!("--prometheus={server}")).collect(),
        ..Options::default()
    };
    options.nodes.extend(pods::tpu_nodes());
    testbed::run_tests(tests, options)
}
