//! Ctrl-C: a wish to stop, honoured between units of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::Exit;

/// Whether Ctrl-C was pressed, or the process was asked to terminate.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen. A second Ctrl-C ends the process at once: a cache survives that too.
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let raised = Arc::clone(&interrupt.0);
        let listening = ctrlc::set_handler(move || {
            // Relaxed: nothing else is read on account of it.
            if raised.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted.code().into());
            }
        });
        if let Err(error) = listening {
            tracing::warn!(target: "larder::cli", %error, "Ctrl-C ends this command at once");
        }
        interrupt
    }

    /// Whether to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
