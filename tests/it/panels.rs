//! Every query of the dashboard has an answer where a service lives.

use serde_json::Value;

use crate::dashboard::{MAY_BE_EMPTY, queries_over};
use crate::gameday::http;
use crate::gameday::service::{Load, Orders, Service, warm};
use crate::gameday::stack::{PATIENCE, Pace, Programs, SCRAPED, Stack, free_address, until};

/// So much has to have been scraped before the panels are looked at.
const SECONDS: f64 = 20.0;

/// The points of a query over the last seconds, series by series.
fn points(stack: &Stack, expr: &str, now: f64) -> Result<Vec<Vec<f64>>, String> {
    let query = format!("query={}&start={}&end={now}&step=1", http::escaped(expr), now - 5.0);
    let (status, body) = http::get(stack.prometheus, &format!("/api/v1/query_range?{query}")).unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    if status != 200 || answer["status"] != "success" {
        return Err(format!("status {status}: {body}"));
    }
    let value = |point: &Value| point[1].as_str().unwrap().parse().unwrap();
    let series = answer["data"]["result"].as_array().unwrap();
    Ok(series.iter().map(|series| series["values"].as_array().unwrap().iter().map(value).collect()).collect())
}

#[test]
fn every_query_of_the_dashboard_has_finite_answers_from_a_living_service() {
    let Some(programs) = Programs::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (cache, address) = (dir.path().join("cache"), free_address());
    let load = Load { rate: 60, hot: 40, new_every: 30, live_every: 7, ..Load::default() };
    warm(&cache, &load);
    let settings = [SCRAPED, ("LARDER_MANIFEST__FOLD_INTERVAL", "200ms"), ("LARDER_MEMORY__MAX_MB", "1")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let faults = dir.path().join("faults");
    let stack = Stack::start(&programs, address, Pace::Hurry);
    let mut service = Service::started(&Orders { cache, load, serve: Some(address), settings, faults });
    let now = until("enough scrapes", PATIENCE, || {
        let age = stack.value("max(time() - min_over_time(timestamp(featurestore_build_info)[5m:500ms]))");
        match age {
            Some(age) if age > SECONDS => Ok(stack.value("vector(time())").unwrap()),
            other => Err(format!("scraped for {other:?} s")),
        }
    });
    let queries = queries_over("5s");
    let mut wrong = Vec::new();
    for (name, expr) in &queries {
        let may_be_empty = MAY_BE_EMPTY.iter().any(|(empty, _)| empty == name);
        match points(&stack, expr, now) {
            Ok(series) if series.is_empty() && may_be_empty => println!("empty, as it may be: {name}"),
            Ok(series) if series.is_empty() => wrong.push(format!("{name}: no series: {expr}")),
            Ok(series) if series.iter().flatten().any(|value| !value.is_finite()) => {
                wrong.push(format!("{name}: {series:?}: {expr}"));
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    println!("{} queries were asked", queries.len());
    assert!(queries.len() > 20 && wrong.is_empty(), "{} of {}:\n{}", wrong.len(), queries.len(), wrong.join("\n"));
    assert!(service.process().ended().is_none());
}
