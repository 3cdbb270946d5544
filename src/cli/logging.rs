//! Logs on stderr, as much of them as `LARDER_LOG` asks for.

use std::io;

use tracing_subscriber::EnvFilter;

/// The variable with the filter, such as `debug` or `larder::cache=debug`.
const VARIABLE: &str = "LARDER_LOG";

/// Sends logs to stderr: warnings and errors, unless `LARDER_LOG` says otherwise.
pub fn start() {
    let wanted = std::env::var(VARIABLE).ok().filter(|filter| !filter.is_empty());
    let parsed = wanted.as_deref().map(EnvFilter::try_new);
    let wrong = matches!(parsed, Some(Err(_)));
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new("warn"));
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    // Fails where the program around this one logs already, and then that one's choice stands.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).try_init();
    if wrong {
        tracing::warn!(target: "larder::cli", "{VARIABLE} is not understood: use error, warn, info, debug or trace, or target=level pairs");
    }
}
