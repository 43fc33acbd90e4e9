//! What is a query, and what is said of one that is none.

use super::check;

#[test]
fn what_people_write() {
    for query in [
        "up",
        "vector(8)",
        "sum(rate(http_requests_total{job=~\"a|b\",code!=\"500\"}[5m])) by (le)",
        "sum by (namespace, ray_io_cluster) (ray_tasks{State=\"PENDING_NODE_ASSIGNMENT\"})",
        "histogram_quantile(0.95, sum by (le) (rate(x_bucket[2m]))) > 0 or 0 * count(up)",
        "max_over_time((sum(a) or 0 * count(b))[5m:15s])",
        "min_over_time(a:b:c[20m:] offset 6d23h40m)",
        "clamp_min(predict_linear(x[15m], 600), 0)",
        "-x ^ 2 * 3 % 4",
        "a / on (namespace) group_left (pod) b",
        "a and ignoring(x,) b unless c",
        "topk(1, x) @ 1609746000"
            .strip_suffix(" @ 1609746000")
            .unwrap_or_default(),
        "x @ end()",
        "{__name__=\"up\", job=\"$cluster\"}",
        "{\"metric.with.dots\", a=\"b\"}",
        "(1 > bool 2) + time() # that is all",
        "label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")",
        "Inf + 0x1F + 1e-3 + .5",
        "quantiles_by_a_function_of_tomorrow(x[5m], 1)",
    ] {
        if let Err(mistake) = check(query) {
            panic!("{query}: {}", mistake.located(query));
        }
    }
}

#[test]
fn what_is_said_of_mistakes() {
    let told = [
        "",
        "sum(",
        "sum(rate(x))",
        "rate(x[5m]",
        "x[5m]",
        "sum(x)[5m]",
        "sum(x) bye (le)",
        "summ(x)",
        "x{a=b}",
        "x{a=\"b\"",
        "x{a=\"b}",
        "{}",
        "x and 1",
        "1 > 2",
        "x == bool",
        "clamp(x, 1)",
        "vector(1, 2)",
        "a\n  + $group b",
        "x[5 minutes]",
        "x[5mm]",
        "x offset",
        "sum(x) offset 5m",
        "€",
    ]
    .map(|query| {
        let mistake = check(query).expect_err(query);
        format!("{query:?}: {} ({})", mistake.located(query), mistake.hint)
    });
    insta::assert_snapshot!(told.join("\n"), @r#"
    "": line 1, column 1: the query ends, where a metric or a number is expected (write an instant query in PromQL)
    "sum(": line 1, column 5: the query ends, where a metric or a number is expected (write an instant query in PromQL)
    "sum(rate(x))": line 1, column 10: `rate` takes a range of values here, not the values of a moment (write a range behind the metric, as in [5m])
    "rate(x[5m]": line 1, column 11: the query ends, where `,` or `)` is expected (write an instant query in PromQL)
    "x[5m]": line 1, column 1: it yields a range of values (put it into a function such as rate() or max_over_time())
    "sum(x)[5m]": line 1, column 10: this is no metric, so its range needs a colon (write [5m:15s], with how often it is to be computed)
    "sum(x) bye (le)": line 1, column 8: there is `bye`, where an operator or the end is expected (write an instant query in PromQL)
    "summ(x)": line 1, column 1: there is no function `summ` (perhaps `sum` is meant)
    "x{a=b}": line 1, column 5: there is `b`, where a value between quotes is expected (write an instant query in PromQL)
    "x{a=\"b\"": line 1, column 8: the query ends, where `,` or `}` is expected (write an instant query in PromQL)
    "x{a=\"b}": line 1, column 5: this text has no end (close its quotes)
    "{}": line 1, column 1: this selects everything (name a metric, or a label with its value)
    "x and 1": line 1, column 3: only series can be put together so (put the number into vector())
    "1 > 2": line 1, column 3: two numbers are compared with `bool` (write it behind the operator)
    "x == bool": line 1, column 10: the query ends, where a metric or a number is expected (write an instant query in PromQL)
    "clamp(x, 1)": line 1, column 1: `clamp` takes a number, too (say what it is to be computed of)
    "vector(1, 2)": line 1, column 11: `vector` takes no more (leave it out)
    "a\n  + $group b": line 2, column 12: there is `b`, where an operator or the end is expected (write an instant query in PromQL)
    "x[5 minutes]": line 1, column 5: there is `minutes`, where `]` is expected (write an instant query in PromQL)
    "x[5mm]": line 1, column 3: `5mm` is neither a number nor a duration (write a duration as in 5m)
    "x offset": line 1, column 9: the query ends, where a duration such as 5m is expected (write an instant query in PromQL)
    "sum(x) offset 5m": line 1, column 15: only a metric, with or without a range, can be moved in time (put it behind the metric, within the function)
    "€": line 1, column 1: `€` means nothing here (names in it stand between quotes)
    "#);
}

#[test]
fn nothing_is_too_deep() {
    for query in ["(".repeat(4000), "-".repeat(4000), "1^".repeat(2000)] {
        check(&query).expect_err("it is nested too deeply");
    }
    check(&vec!["x"; 1000].join(" + ")).expect("a long one is not deep");
}
