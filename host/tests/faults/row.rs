//! One row of the table: what was done to the host, how often, and what came of it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// Where `cargo xtask faults` collects the rows: their cells with a tab between, in the order of `close`.
const REPORT: &str = "PARLOR_TEST_FAULTS_REPORT";
/// Where it collects what the figures are made of: a JSON object a line.
const RAW: &str = "PARLOR_TEST_FAULTS_RAW";
const FORM: &str = "PARLOR_TEST_FAULTS";

pub fn is_long() -> bool {
    std::env::var_os(FORM).is_some_and(|form| form == "long")
}

/// As often as the form asks for.
pub fn rounds(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

#[derive(Debug)]
pub struct Row {
    fault: &'static str,
    what: &'static str,
    pub rounds: usize,
    pub lost: usize,
    pub doubled: usize,
    pub out_of_order: usize,
    /// What the platforms of this fault refused by their own rules, and messages that still grow there.
    platform: Option<(usize, usize)>,
    /// The longest time until the host worked again.
    pub recovery: Option<Duration>,
    figures: Vec<String>,
    broken: Vec<String>,
    is_handed_in: bool,
}

impl Row {
    pub fn new(fault: &'static str, what: &'static str) -> Row {
        Row {
            fault,
            what,
            rounds: 0,
            lost: 0,
            doubled: 0,
            out_of_order: 0,
            platform: None,
            recovery: None,
            figures: Vec::new(),
            broken: Vec::new(),
            is_handed_in: false,
        }
    }

    pub fn figure(&mut self, figure: impl Display) {
        self.figures.push(figure.to_string());
    }

    /// What has to be so.
    pub fn holds(&mut self, holds: bool, what: impl Display) {
        if !holds {
            self.broken.push(what.to_string());
        }
    }

    /// A figure that is a time, or hangs on one: judged where nothing else runs.
    pub fn in_time(&mut self, holds: bool, figure: impl Display) {
        if is_long() {
            self.holds(holds, &figure);
        }
        self.figure(figure);
    }

    /// Keeps what a figure was made of: one round's numbers, in the order in which they came.
    pub fn raw(&self, series: &str, round: usize, numbers: &[f64]) {
        let Some(raw) = std::env::var_os(RAW) else { return };
        let line = serde_json::json!({
            "fault": self.fault, "what": self.what, "series": series, "round": round, "numbers": numbers,
        });
        append(&raw, &line.to_string());
    }

    pub fn recovered(&mut self, after: Duration) {
        self.recovery = self.recovery.max(Some(after));
    }

    /// Counts what a platform itself tells, once everything has come to its end there.
    pub fn platform_tells(&mut self, refused: usize, left_open: usize) {
        let (before, open) = self.platform.unwrap_or_default();
        self.platform = Some((before + refused, open + left_open));
    }

    /// Hands the row in; fails if something does not hold.
    pub fn close(mut self) {
        let nothing = (self.lost, self.out_of_order) == (0, 0);
        self.holds(nothing, "something is lost or out of order");
        self.holds(self.platform.is_none_or(|(_, open)| open == 0), "a card is left open");
        let line = self.hand_in();
        assert!(self.broken.is_empty(), "{line}");
    }

    fn hand_in(&mut self) -> String {
        self.is_handed_in = true;
        let recovery = self.recovery.map_or_else(String::new, |time| format!("{:.2} s", time.as_secs_f64()));
        let verdict = if self.broken.is_empty() { "ok".to_owned() } else { self.broken.join("; ") };
        let counts = [self.rounds, self.lost, self.doubled, self.out_of_order].map(|count| count.to_string());
        let (refused, open) = self
            .platform
            .map_or_else(Default::default, |(refused, open)| (refused.to_string(), open.to_string()));
        let head = [self.fault, self.what].map(str::to_owned).into_iter();
        let tail = [refused, open, recovery, self.figures.join(", "), verdict];
        let cells = head.chain(counts).chain(tail);
        let line = cells.map(|cell| cell.replace(['\t', '\n'], " ")).collect::<Vec<_>>().join("\t");
        println!("{line}");
        if let Some(report) = std::env::var_os(REPORT) {
            append(&report, &line);
        }
        line
    }
}

fn append(file: &OsStr, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// A fault that could not be brought about, or whose end never came, is a row as well.
impl Drop for Row {
    fn drop(&mut self) {
        if !self.is_handed_in {
            self.holds(false, "broke off: the test's own output tells where");
            self.hand_in();
        }
    }
}

/// Times of many like things, sorted.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(mut times: Vec<Duration>) -> Times {
        times.sort();
        Times(times)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which this share of them was done.
    pub fn share(&self, share: f64) -> Duration {
        let at = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// In microseconds, for the raw figures.
    pub fn micros(&self) -> Vec<f64> {
        self.0.iter().map(|time| (time.as_secs_f64() * 1e6).round()).collect()
    }
}

/// Of an even number the upper one of the two in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Numbers by a seed, which a failure prints.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// By the variable `PARLOR_TEST_SEED`, or by the clock.
    pub fn thrown() -> Dice {
        let given = std::env::var("PARLOR_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(crate::support::now_ms);
        println!("PARLOR_TEST_SEED={seed}");
        Dice(seed)
    }

    /// Others, by a seed that hangs on this one.
    pub fn split(&mut self) -> Dice {
        Dice(self.next())
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.next() % u64::try_from(bound.as_micros()).unwrap().max(1))
    }
}
