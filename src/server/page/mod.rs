//! The status page: one HTML document without scripts and without anything from outside.
//!
//! | part | |
//! |---|---|
//! | `headline` | whether we are fine, in words |
//! | `silent` | the same while the manifest does not answer |
//! | `budget` | ratios, burn rates and how the budget went |
//! | `requests` | the last day by outcome |
//! | `views` | one line per view |
//! | `upkeep` | disk, invalidations, checks |
//! | `chart`, `times`, `words` | facts as pictures and as words |
//!
//! Every text passes through maud, which escapes it, or is a number. The alternative, a template with a
//! language of its own (askama), would parse at build time what the compiler checks here.

mod budget;
mod chart;
mod headline;
mod requests;
mod silent;
#[cfg(test)]
mod testing;
mod times;
mod upkeep;
mod views;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::router::endpoints;
use crate::inspect::{SilentFacts, StatusFacts};
use crate::model::Timestamp;

/// What the page may load: nothing but the empty icon that stands in it. To be sent with it as
/// `Content-Security-Policy`.
///
/// The style stands in the page itself. It is allowed as a whole and not by its hash, because nothing on the
/// page that came from elsewhere can begin a style, and a style could load nothing.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// So many seconds after it was made the page asks for its successor.
const REFRESH: u32 = 30;

const STYLE: &str = include_str!("style.css");

/// The page as a whole; `path` is where it stands, below which the other endpoints are.
pub fn render(facts: &StatusFacts, path: &str) -> String {
    let body = html! {
        (headline::headline(facts))
        main {
            (budget::budget(facts))
            (requests::requests(facts))
            (views::views(facts))
            (upkeep::disk(facts))
            (upkeep::invalidations(facts))
            (upkeep::checks(&facts.checks))
        }
        (foot(facts.version, facts.now, path.trim_end_matches('/')))
    };
    document(&headline::title(facts), &body).into_string()
}

/// The page while the manifest does not answer.
pub fn render_silent(facts: &SilentFacts, path: &str) -> String {
    let body = html! {
        (silent::headline(facts))
        main { (upkeep::checks(&facts.checks)) }
        (foot(facts.version, facts.now, path.trim_end_matches('/')))
    };
    document(silent::TITLE, &body).into_string()
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex";
                meta http-equiv="refresh" content=(REFRESH);
                // Without it browsers ask for a favicon of their own accord.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

fn foot(version: &str, now: Timestamp, base: &str) -> Markup {
    html! {
        footer {
            p {
                "Larder " (version) " · made " time datetime=(now) { (words::instant(now)) }
                " · made anew every " (REFRESH) " s · all times are UTC"
            }
            nav aria-label="Other endpoints" {
                @for path in endpoints().filter(|path| *path != "/") {
                    a href={ (base) (path) } { (path) }
                }
            }
        }
    }
}

/// What a figure means, as a class of the style sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{NASTY, empty, facts, one_request, overspent};
    use super::*;

    #[test]
    fn foreign_text_is_shown_and_never_understood() {
        let page = render(&facts(3), "/");
        assert!(NASTY.contains("<script>") && !page.contains("<script"), "a script");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("&quot;&gt;&lt;img src=x onerror=alert(2)&gt;"));
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        let page = render(&facts(3), "/");
        for forbidden in ["src=", "<script", "<iframe", "<object", "@import", "url(", "style=\"", "onload", "xmlns"] {
            assert!(!page.replace("&lt;img src=x", "").contains(forbidden), "{forbidden}");
        }
        for (at, _) in page.match_indices("://") {
            let before = &page[at.saturating_sub(30)..at];
            assert!(before.ends_with("href=\"https"), "an address that is no link: {before}");
        }
    }

    #[test]
    fn the_page_of_fifty_views_is_small() {
        let facts = facts(50);
        let page = render(&facts, "/");
        assert!(page.len() < 200_000, "{} bytes", page.len());
    }

    #[test]
    fn whatever_the_facts_the_page_holds_no_nonsense() {
        for facts in [empty(), one_request(), overspent(), facts(60)] {
            let page = render(&facts, "/");
            for nonsense in ["NaN", "inf%", "inf ", ">inf", "-0 %", "None", "Some("] {
                assert!(!page.contains(nonsense), "{nonsense}: {page}");
            }
            assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">") && page.ends_with("</html>"));
        }
    }

    #[test]
    fn without_requests_sentences_stand_where_charts_would() {
        let page = render(&empty(), "/");
        assert!(!page.contains("<polyline") && !page.contains("<polygon"));
        assert!(page.contains("No requests in the last 24 hours."));
        assert!(page.contains("No view has blocks or was asked for yet."));
        assert!(page.contains("Nothing was invalidated yet."));
    }

    #[test]
    fn what_is_too_little_to_judge_has_no_burn_down() {
        let page = render(&one_request(), "/");
        assert!(!page.contains("burn-down-title") && page.contains("1 of 1 request missed, 0.1 may."), "{page}");
    }

    #[test]
    fn an_overspent_budget_is_told_with_its_size() {
        let page = render(&overspent(), "/");
        assert!(page.contains("overspent by 500 %"), "{page}");
        assert!(page.contains("500 % over") || page.contains("400 % over"), "the axis goes below nothing");
        for other in ["-500", "600 %"] {
            assert!(!page.contains(other), "one figure, not {other}: {page}");
        }
    }
}
