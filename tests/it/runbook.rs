//! The runbook: every alert has its section, and every command in it runs as it is printed.

use std::collections::BTreeSet;

use larder::Timestamp;
use larder::inspect::health::ManifestState;
use larder::inspect::{RUNBOOK, SilentFacts};
use larder::server::page::render_silent;

use crate::gameday::http;
use crate::gameday::service::{Load, Orders, Service, warm};
use crate::gameday::stack::{PATIENCE, Pace, Process, Programs, SCRAPED, Stack, free_address, shipped, until};
use crate::gameday::units::{Machine, Places};

const PARTS: [&str; 6] = ["What it means", "First five minutes", "Causes", "Fix", "Verify", "Escalate"];

/// Commands of the runbook that belong together.
#[derive(Debug)]
pub struct Block {
    /// The heading above it.
    pub section: String,
    /// The line of its fence.
    pub line: usize,
    /// What it mends, where the page marks it as the fix of a cause.
    pub fix: Option<String>,
    /// The exit status that the page promises.
    pub exit: i32,
    pub commands: String,
}

/// Every block; one that is not understood is a failure.
pub fn blocks() -> Vec<Block> {
    parse(&shipped("docs/runbook.md"))
}

fn parse(page: &str) -> Vec<Block> {
    let (mut section, mut note) = (String::new(), "");
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.to_owned();
        } else if let Some(language) = line.strip_prefix("```") {
            assert_eq!(language, "sh", "line {}: nobody knows how to run this", at + 1);
            let commands: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let (fix, exit) = annotation(note, at);
            blocks.push(Block { section: section.clone(), line: at + 1, fix, exit, commands: commands.join("\n") });
        }
        note = line;
    }
    blocks
}

/// What the line before a block says: `<!-- fix: NAME -->`, or `<!-- exit N: why -->`.
fn annotation(line: &str, at: usize) -> (Option<String>, i32) {
    let Some(note) = line.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) else { return (None, 0) };
    match note.trim().split_once(' ') {
        Some(("fix:", name)) => (Some(name.to_owned()), 0),
        Some(("exit", rest)) => (None, rest.split_once(':').unwrap().0.parse().unwrap()),
        _ => panic!("line {at}: an annotation that nobody knows: {note}"),
    }
}

/// The fix of a section for one cause.
pub fn fix(section: &str, name: &str) -> Block {
    let mut fixes: Vec<_> = blocks();
    fixes.retain(|block| block.section == section && block.fix.as_deref() == Some(name));
    assert_eq!(fixes.len(), 1, "fixes {name:?} of {section}");
    fixes.remove(0)
}

/// The anchors that a link to the page may have.
pub fn anchors() -> BTreeSet<String> {
    let page = shipped("docs/runbook.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")));
    headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect()
}

fn alerts() -> BTreeSet<String> {
    let rules = shipped("alerts/alerts.yml");
    let names: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn the_page_without_figures_leads_to_sections_that_exist() {
    let why = String::new;
    for manifest in [ManifestState::Held(why()), ManifestState::Damaged(why()), ManifestState::Unreadable(why())] {
        let facts = SilentFacts { version: "", now: Timestamp::from_secs(0), manifest, checks: Vec::new() };
        let page = render_silent(&facts, "/");
        let sections: Vec<_> =
            page.split(&format!("{RUNBOOK}#")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(sections.len() == 1 && anchors().contains(sections[0]), "{sections:?}");
    }
}

#[test]
fn every_alert_has_a_section_with_its_six_parts_in_their_order() {
    let page = shipped("docs/runbook.md");
    let sections: Vec<(&str, &str)> = page.split("\n## ").skip(1).filter_map(|text| text.split_once('\n')).collect();
    let of_alerts: BTreeSet<String> = sections
        .iter()
        .map(|(heading, _)| (*heading).to_owned())
        .filter(|heading| heading.starts_with("FeatureStore"))
        .collect();
    assert_eq!(of_alerts, alerts());
    for (heading, text) in sections.iter().filter(|(heading, _)| of_alerts.contains(*heading)) {
        let found: Vec<_> = PARTS.iter().map(|part| text.find(&format!("\n**{part}"))).collect();
        assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{heading}: {PARTS:?} at {found:?}");
    }
}

#[test]
fn links_lead_somewhere() {
    let anchors = anchors();
    for path in ["docs/runbook.md", "alerts/alerts.yml"] {
        let text = shipped(path);
        let local = text.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).map(|(anchor, _)| anchor);
        let urls = text.split("docs/runbook.md#").skip(1).map(|rest| rest.split_whitespace().next().unwrap());
        let missing: Vec<_> = local.chain(urls).filter(|anchor| !anchors.contains(*anchor)).collect();
        assert!(missing.is_empty(), "{path} links to {missing:?}");
    }
}

#[test]
fn a_block_that_nobody_knows_how_to_run_is_a_failure() {
    for page in ["```\nls\n```", "```bash\nls\n```", "<!-- maybe -->\n```sh\nls\n```"] {
        assert!(std::panic::catch_unwind(|| parse(page)).is_err(), "{page}");
    }
    let block = parse("## A\n<!-- exit 1: always -->\n```sh\nfalse\ntrue\n```").remove(0);
    assert_eq!((block.section.as_str(), block.exit, block.commands.as_str()), ("A", 1, "false\ntrue"));
}

/// Runs every command on a machine with a cache, a trading service, a real `larder serve`, Prometheus and Alertmanager.
#[test]
fn every_command_runs_as_it_is_printed() {
    let Some(programs) = Programs::find() else { return };
    for name in ["curl", "jq", "amtool", "promtool", "lslocks", "findmnt"] {
        if crate::tools::tool(name).is_none() {
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let settings = [SCRAPED, ("LARDER_MANIFEST__FOLD_INTERVAL", "500ms"), ("LARDER_DISK__RESERVE_GB", "0.01")];
    let settings: Vec<_> = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let load = Load { rate: 200, hot: 20, ..Load::default() };
    warm(&cache, &load);
    // Whose view the commands about one are then given.
    let demo = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["demo", "--symbols", "2"])
        .env("FEATURE_CACHE_DIR", &cache)
        .output()
        .unwrap();
    assert!(demo.status.success());
    let address = free_address();
    let stack = Stack::start(&programs, address, Pace::Hurry);
    let places = Places {
        larder: address,
        prometheus: stack.prometheus,
        alertmanager: stack.alertmanager,
        config: stack.config(),
    };
    let for_commands = [settings.as_slice(), &[("VIEW".to_owned(), "demo_features".to_owned())]].concat();
    let machine = Machine::new(dir.path(), &cache, &places, &for_commands);
    let orders =
        Orders { cache: cache.clone(), load, serve: None, settings: settings.clone(), faults: dir.path().to_owned() };
    let mut service = Service::started(&orders);
    let serve = || {
        let larder = std::path::Path::new(env!("CARGO_BIN_EXE_larder"));
        let process = Process::start(larder, |command| {
            command.args(["serve", "--listen", &address.to_string(), "--cache-dir"]).arg(&cache);
            command.envs(settings.iter().map(|(key, value)| (key, value)));
            command.envs(machine.drop_ins("feature-cache.service"));
        });
        // Its first look at what others have counted takes a moment.
        until("larder serve", PATIENCE, || match http::get(address, "/metrics") {
            Ok((200, text)) if text.contains("\nfeaturestore_hit_ratio ") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        process
    };
    let serving = std::cell::RefCell::new(Some(serve()));
    // The first requests for everything were misses, and `larder slo` is to be content.
    until("requests in Prometheus", PATIENCE, || match stack.value("sum(featurestore_requests_total)") {
        Some(requests) if requests > 1000.0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let blocks = blocks();
    let mut failed = Vec::new();
    for block in &blocks {
        let output = machine.run(&block.commands, &[], |verb, unit| {
            if unit == "feature-cache.service" {
                serving.borrow_mut().take();
                if verb != "stop" {
                    serving.borrow_mut().replace(serve());
                }
            }
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        println!("line {}: {:?}: {}", block.line, output.status.code(), block.commands.replace('\n', "\n  "));
        if output.status.code() != Some(block.exit) {
            let said = text(&output.stdout) + &text(&output.stderr);
            failed.push(format!("line {} ({}): {}\n{said}", block.line, block.section, output.status));
        }
    }
    println!("{} blocks of the runbook were run", blocks.len());
    assert!(failed.is_empty(), "{} of {} blocks failed:\n{}", failed.len(), blocks.len(), failed.join("\n"));
    assert!(service.process().ended().is_none(), "the service served a wrong value");
    // What was switched off has to be on again.
    let calls = machine.calls();
    assert!(calls.iter().any(|call| call == "systemctl stop feature-cache-cleanup.timer"), "{calls:?}");
}
