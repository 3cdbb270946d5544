//! The definitions that are shipped.

use std::path::Path;

use crate::definition::{
    Definitions, Environment, Expression, Fill, Indicator, Label, Layout, OnViolation, Over, SourceKeys,
};
use crate::model::{ServiceName, SourceName, Span, ViewName};

fn shipped() -> Definitions {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/features");
    let environment = Environment::from_iter([("MARKET_DATA".to_owned(), "/data".to_owned())]);
    Definitions::read(&directory, environment).unwrap()
}

#[test]
fn they_hold_no_mistake_and_earn_no_warning() {
    let definitions = shipped();
    assert_eq!(definitions.warnings(), []);
    for view in definitions.views().keys() {
        definitions.feature_view(view).unwrap();
    }
}

#[test]
fn the_reference_in_the_documentation_is_right() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definitions.md")).unwrap();
    let text = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let definitions = super::read_files(&[("docs/definitions.md", text)]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(definitions.warnings(), []);
}

#[test]
fn the_contract_lists_its_fifteen_features_in_order() {
    let definitions = shipped();
    let service = &definitions.services()[&ServiceName::new("observation_15d").unwrap()];
    assert_eq!(service.contract.as_deref(), Some("CTR-FEATURE-001"));
    let listed: Vec<_> = service.features.iter().map(ToString::to_string).collect();
    let views = [
        ("technical_features", "log_ret_5m log_ret_1h log_ret_4h rsi_9 atr_pct adx_14"),
        ("macro_features", "dxy_z dxy_change_1d vix_z embi_z brent_change_1d rate_spread usdmxn_change_1d"),
        ("state_features", "position time_normalized"),
    ];
    let mut wanted = Vec::new();
    for (view, features) in views {
        let defined = definitions.feature_view(&ViewName::new(view).unwrap()).unwrap();
        let names: Vec<_> = defined.features().iter().map(|feature| feature.name().to_string()).collect();
        assert_eq!(names, features.split(' ').collect::<Vec<_>>());
        wanted.extend(names.into_iter().map(|name| format!("{view}.{name}")));
    }
    assert_eq!((listed.len(), listed), (15, wanted));
}

#[test]
fn they_mean_what_they_say() {
    let definitions = shipped();
    let source = &definitions.sources()[&SourceName::new("macro_daily").unwrap()];
    let day = std::time::Duration::from_secs(86_400);
    assert_eq!(source.label, Label::Open { bar: day });
    assert_eq!(source.layout, Layout::Long { name: "series".to_owned(), value: "value".to_owned() });
    assert_eq!(source.keys, SourceKeys::None);
    assert_eq!(source.fill, Some(Fill::Last { within: 7 * day }));
    let pesos = source.valid["usdmxn"];
    assert_eq!((pesos.max, pesos.on_violation), (Some(100.0), OnViolation::Null));

    let view = &definitions.views()[&ViewName::new("technical_features").unwrap()];
    assert_eq!((view.span, view.ttl), (Span::Month, Some(day)));
    let over = Over::Time(std::time::Duration::from_secs(300));
    let first = Indicator::LogReturn { column: "close".to_owned(), over };
    assert_eq!(view.features[0].expression, Expression::Indicator(first));
}
