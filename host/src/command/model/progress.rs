//! How far something long is: a bar on a terminal, a line now and then elsewhere. Both on standard error, so that
//! standard output holds the result alone.

use std::io::IsTerminal as _;
use std::sync::Mutex;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::download::Progress;

/// Without a terminal a line comes each time that so much of the whole was added.
const PERCENT_A_LINE: u64 = 10;
/// The same where nobody knows the whole.
const BYTES_A_LINE: u64 = 256 << 20;

pub struct Bar {
    bar: ProgressBar,
    is_terminal: bool,
    /// What the last line told: a step of the whole.
    told: Mutex<u64>,
}

impl Bar {
    pub fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::hidden();
        if is_terminal {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Bar { bar, is_terminal, told: Mutex::new(0) }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, has: u64) {
        let total = self.bar.length().filter(|total| *total > 0);
        let step = match total {
            Some(total) => has.saturating_mul(100) / total / PERCENT_A_LINE,
            None => has / BYTES_A_LINE,
        };
        let mut told = self.told.lock().expect("whoever holds it does not panic");
        if step <= *told {
            return;
        }
        *told = step;
        match total {
            Some(total) => {
                eprintln!("{} of {} ({} %)", HumanBytes(has), HumanBytes(total), step * PERCENT_A_LINE)
            }
            None => eprintln!("{}", HumanBytes(has)),
        }
    }
}

impl Progress for Bar {
    fn begins(&self, have: u64, total: Option<u64>) {
        let template = match total {
            Some(_) => "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            None => "{spinner} {bytes}, {bytes_per_sec}",
        };
        self.bar.set_style(ProgressStyle::with_template(template).expect("the template is fixed"));
        total.map_or_else(|| self.bar.unset_length(), |total| self.bar.set_length(total));
        self.bar.set_position(have);
        self.bar.reset_eta();
    }

    fn has(&self, bytes: u64) {
        self.bar.set_position(bytes);
        if !self.is_terminal {
            self.line(bytes);
        }
    }

    fn says(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
