//! The functions and aggregations of `PromQL`, as of Prometheus 3, and what they take. One that is not here is taken for one that a server knows.

/// What functions take: `v` the values of a moment, `r` a range of values, `s` a number, `t` a text; `?` makes the one before optional, `*` lets it
/// come as often as one likes.
const FUNCTIONS: &[(&str, &str)] = &[
    (
        "r",
        "rate irate increase delta idelta deriv changes resets absent_over_time avg_over_time count_over_time \
           last_over_time first_over_time mad_over_time max_over_time min_over_time present_over_time stddev_over_time \
           stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
    ),
    (
        "v",
        "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad scalar sgn sin sinh sort \
           sort_desc sqrt tan tanh timestamp histogram_avg histogram_count histogram_sum histogram_stddev histogram_stdvar",
    ),
    (
        "v?",
        "day_of_month day_of_week day_of_year days_in_month hour minute month year",
    ),
    ("", "pi time"),
    ("s", "vector"),
    ("vs", "clamp_max clamp_min"),
    ("vss", "clamp"),
    ("vs?", "round"),
    ("sv", "histogram_quantile"),
    ("ssv", "histogram_fraction"),
    ("vtsss*", "histogram_quantiles"),
    ("sr", "quantile_over_time"),
    ("rs", "predict_linear"),
    ("rss", "double_exponential_smoothing holt_winters"),
    ("vtttt", "label_replace"),
    ("vttt*", "label_join"),
    ("vtt*", "sort_by_label sort_by_label_desc"),
    ("vv?", "info"),
];

/// What aggregations take, before and with what they aggregate.
const AGGREGATIONS: &[(&str, &str)] = &[
    ("v", "sum avg count min max group stddev stdvar"),
    ("sv", "topk bottomk quantile limitk limit_ratio"),
    ("tv", "count_values"),
];

/// What a function takes, if it is one that we know.
pub(super) fn function(name: &str) -> Option<&'static str> {
    find(FUNCTIONS, name)
}

/// What an aggregation takes, if it is one.
pub(super) fn aggregation(name: &str) -> Option<&'static str> {
    find(AGGREGATIONS, &name.to_ascii_lowercase())
}

/// All that can stand before a parenthesis.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let all = FUNCTIONS.iter().chain(AGGREGATIONS);
    all.flat_map(|(_, names)| names.split_whitespace())
}

/// Whether a function yields a number without a series.
pub(super) fn is_scalar(name: &str) -> bool {
    matches!(name, "scalar" | "time" | "pi")
}

fn find(rows: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    let mut rows = rows.iter();
    let row = rows.find(|(_, names)| names.split_whitespace().any(|known| known == name));
    row.map(|(takes, _)| *takes)
}
