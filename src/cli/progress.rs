//! A bar on stderr for what takes longer than a second, and the ear for Ctrl-C in it.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::interrupt::Interrupt;
use crate::upkeep::Progress;

const PATIENCE: Duration = Duration::from_secs(1);
const TEMPLATE: &str = "{msg} {wide_bar} {human_pos}/{human_len} {eta}";

/// Watches one long task. The bar goes away when it is dropped.
pub struct Watch {
    label: &'static str,
    interrupt: Interrupt,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Watch {
    /// Begins to watch a task of this name.
    pub fn begin(label: &'static str, interrupt: &Interrupt) -> Self {
        Self { label, interrupt: interrupt.clone(), began: Instant::now(), bar: None }
    }

    fn show(&mut self, done: u64, total: Option<u64>) {
        if self.bar.is_none() && self.began.elapsed() >= PATIENCE && stderr().is_terminal() {
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = total.map_or_else(ProgressBar::new_spinner, |total| ProgressBar::new(total).with_style(style));
            self.bar = Some(bar.with_message(self.label).with_elapsed(self.began.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

impl Progress for Watch {
    fn advance(&mut self, done: u64, total: Option<u64>) -> bool {
        self.show(done, total);
        !self.interrupt.is_raised()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
