//! Whether OpenSLO's tools are told what the rules do.

use std::collections::BTreeSet;

use larder::Settings;
use serde_json::Value;

use super::routes::receivers;
use super::{Rule, alerts, alerts_dir, documents, rules};
use crate::tools::tool;

/// The windows, the burn rate and the fewest requests of a burn alert, from its expression.
fn burn(alert: &Rule) -> (Vec<String>, f64, f64) {
    let (mut windows, mut rates, mut fewest) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for clause in alert.expr().lines().map(|line| line.trim_start_matches("and ")) {
        let last = clause.rsplit(' ').next().unwrap().to_owned();
        match clause.split_once("_ratio_") {
            Some((_, rest)) => {
                windows.push(rest.split(' ').next().unwrap().to_owned());
                rates.insert(last);
            }
            None => {
                fewest.insert(last);
            }
        }
    }
    let only = |set: BTreeSet<String>| {
        assert_eq!(set.len(), 1, "{}: {set:?}", alert.title());
        set.first().unwrap().parse().unwrap()
    };
    (windows, only(rates), only(fewest))
}

#[test]
fn openslo_says_what_the_rules_say() {
    let objects = documents(alerts_dir().join("openslo.yaml"));
    assert!(objects.iter().all(|object| object["apiVersion"] == "openslo/v1"));
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let named = |kind: &str, name: &Value| of_kind(kind).iter().any(|object| object["metadata"]["name"] == *name);

    let slo = &of_kind("SLO")[0]["spec"];
    assert_eq!(slo["objectives"][0]["target"].as_f64(), Some(Settings::default().slo.objective));
    assert_eq!(slo["timeWindow"], serde_json::json!([{ "duration": "30d", "isRolling": true }]));
    assert_eq!(slo["budgetingMethod"], "Occurrences");
    assert!(named("SLI", &slo["indicatorRef"]) && named("Service", &slo["service"]));
    let sli = &of_kind("SLI")[0]["spec"]["ratioMetric"];
    let ratio = rules().into_iter().find(|rule| rule.name() == "featurestore:hit_ratio_5m").unwrap();
    for part in ["good", "total"] {
        let query = sli[part]["metricSource"]["spec"]["query"].as_str().unwrap();
        let counter = query.strip_prefix("sum by (job) (").and_then(|rest| rest.strip_suffix(')')).unwrap();
        assert!(ratio.expr().contains(&format!("sum by (job) (rate({counter}[5m]))")), "{query}");
        assert!(named("DataSource", &sli[part]["metricSource"]["metricSourceRef"]));
    }

    let amtool = tool("amtool");
    let policies = of_kind("AlertPolicy");
    let burning: Vec<_> = alerts().into_iter().filter(|alert| alert.name().contains("BudgetBurn")).collect();
    assert_eq!((slo["alertPolicies"].as_array().unwrap().len(), policies.len()), (burning.len(), burning.len()));
    for alert in burning {
        let (windows, rate, fewest) = burn(&alert);
        let policy = policies
            .iter()
            .find(|policy| policy["spec"]["conditions"][0]["spec"]["condition"]["lookbackWindow"] == windows[0])
            .unwrap_or_else(|| panic!("no policy for {}", alert.title()));
        let condition = &policy["spec"]["conditions"][0];
        assert_eq!(policy["metadata"]["annotations"]["larder.rs/alert"], alert.name());
        assert_eq!(condition["spec"]["condition"]["threshold"].as_f64(), Some(rate), "{}", alert.title());
        assert_eq!(condition["spec"]["condition"]["alertAfter"], "0m");
        assert_eq!(alert.text("for"), "", "{}", alert.title());
        assert_eq!(condition["spec"]["severity"], alert.labels()["severity"]);
        assert_eq!(condition["metadata"]["annotations"]["larder.rs/short-window"], windows[1]);
        assert_eq!(condition["metadata"]["annotations"]["larder.rs/fewest-requests"], fewest.to_string());
        assert!(
            slo["alertPolicies"]
                .as_array()
                .unwrap()
                .iter()
                .any(|name| name["alertPolicyRef"] == policy["metadata"]["name"])
        );
        let targets = policy["spec"]["notificationTargets"].as_array().unwrap();
        assert!(targets.iter().all(|target| named("AlertNotificationTarget", &target["targetRef"])));
        if let Some(amtool) = &amtool {
            let told = targets.iter().map(|target| target["targetRef"].as_str().unwrap().to_owned()).collect();
            assert_eq!(receivers(amtool, &alert), told, "{}", alert.title());
        }
    }
}
