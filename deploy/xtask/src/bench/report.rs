//! Figures as a table for people and as JSON for programs.

use super::start::{Start, Starts};
use super::worker::Series;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What all calls are compared with.
const BASELINE: (&str, &str) = ("native", "plugin profile");

/// What a case is, for those who read the table alone.
const CASES: [(&str, &str); 16] = [
    ("native", "the same code without a sandbox"),
    ("native-long", "the same of 16 KiB"),
    ("fresh", "as in production: store, instance, call"),
    ("fresh-long", "the same of 16 KiB"),
    ("kept", "call on an instance that is kept"),
    ("kept-long", "the same of 16 KiB"),
    ("bare", "wasmtime's own loop: store, instance, call"),
    ("bounded", "the same with the host's bounds"),
    ("unbounded", "the same without epochs either"),
    ("instance", "store and instance, no call"),
    ("store", "store alone"),
    ("empty", "wasmtime's store and instance alone"),
    ("door-native", "a request, the library behind the door"),
    ("door-wasm", "a request, the component behind the door"),
    ("inbox-native", "the same and stored"),
    ("inbox-wasm", "the same and stored"),
];

/// One thing over another, and what the project aims at.
struct Ratio {
    about: &'static str,
    over: (&'static str, &'static str),
    under: (&'static str, &'static str),
    measure: fn(&Series) -> Vec<f64>,
    aim: &'static str,
}

const RATIOS: [Ratio; 7] = [
    calls("warm call, component / library", "kept", BASELINE, "≤ 3"),
    calls("the same with a message of 16 KiB", "kept-long", ("native-long", "plugin profile"), "≤ 1.5"),
    calls("fresh store and call / warm call", "fresh", ("kept", "wasm"), "≤ 3"),
    calls("our way / wasmtime's bare loop", "fresh", ("bare", "wasm"), "≤ 1.10"),
    calls("epochs and limits on / off", "bounded", ("unbounded", "wasm"), "≤ 1.10"),
    requests("requests a second, component / library", "inbox-native", "inbox-wasm", "≥ 0.80"),
    requests("the same and nothing stored", "door-native", "door-wasm", "≥ 0.80"),
];

const fn calls(
    about: &'static str,
    over: &'static str,
    under: (&'static str, &'static str),
    aim: &'static str,
) -> Ratio {
    Ratio { about, over: (over, "wasm"), under, measure: Series::cpu_of_a_call, aim }
}

/// The time of one over the other's is the other's number in a second over the one's.
const fn requests(about: &'static str, over: &'static str, under: &'static str, aim: &'static str) -> Ratio {
    Ratio { about, over: (over, "door"), under: (under, "door"), measure: Series::wall_of_a_call, aim }
}

pub struct Report {
    pub calls: Vec<Series>,
    pub requests: Vec<Series>,
    /// Of a call, by case.
    pub instructions: Vec<(String, f64)>,
    pub starts: Starts,
    pub sizes: Vec<(String, u64)>,
}

impl Report {
    /// Writes the raw figures and the table, and prints the table.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let table = self.table();
        for (name, text) in [
            ("calls.json", series_json(&self.calls)),
            ("requests.json", series_json(&self.requests)),
            ("instructions.json", self.instructions_json()),
            ("starts.json", self.starts_json()),
            ("plugins.md", table.clone()),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        println!("{table}");
        eprintln!("raw figures: {}", folder.display());
        Ok(())
    }

    fn table(&self) -> String {
        let mut text = format!("{}\n\n", machine());
        self.ratios_table(&mut text);
        self.calls_table(&mut text);
        self.starts_table(&mut text);
        text.push_str("| file | bytes |\n|---|--:|\n");
        for (name, bytes) in &self.sizes {
            let _ = writeln!(text, "| {name} | {bytes} |");
        }
        text
    }

    /// Each round's own ratio, since what slows one round down slows all of its cases down.
    fn ratios_table(&self, text: &mut String) {
        text.push_str(
            "| ratio | median | least | most | aim | of instructions |\n|---|--:|--:|--:|--:|--:|\n",
        );
        for ratio in &RATIOS {
            let Ratio { about, aim, .. } = ratio;
            let Some((over, under)) = self.series(ratio.over).zip(self.series(ratio.under)) else { continue };
            let rounds = (ratio.measure)(over).into_iter().zip((ratio.measure)(under));
            let rounds: Vec<f64> = rounds.map(|(over, under)| over / under).collect();
            let ((least, most), middle) = (range(&rounds), median(&rounds));
            let instructions = self.instructions_of(ratio.over.0).zip(self.instructions_of(ratio.under.0));
            let instructions =
                instructions.map_or_else(String::new, |(over, under)| format!("{:.2}", over / under));
            let _ =
                writeln!(text, "| {about} | {middle:.2} | {least:.2} | {most:.2} | {aim} | {instructions} |");
        }
        text.push('\n');
    }

    fn series(&self, (case, worker): (&str, &str)) -> Option<&Series> {
        let mut all = self.calls.iter().chain(&self.requests);
        all.find(|series| (series.case.as_str(), series.worker) == (case, worker))
    }

    fn instructions_of(&self, case: &str) -> Option<f64> {
        self.instructions.iter().find(|(counted, _)| counted == case).map(|(_, instructions)| *instructions)
    }

    fn calls_table(&self, text: &mut String) {
        let baseline = self.series(BASELINE).map(|series| median(&series.cpu_of_a_call()));
        text.push_str(
            "| call | CPU µs, median | least | most | wall µs, median | × native | instructions |\n",
        );
        text.push_str("|---|--:|--:|--:|--:|--:|--:|\n");
        for series in self.calls.iter().chain(&self.requests) {
            let (cpu, wall) = (series.cpu_of_a_call(), series.wall_of_a_call());
            let middle = median(&cpu);
            let ratio = baseline.map_or_else(String::new, |baseline| format!("{:.1}", middle / baseline));
            let ((least, most), wall, name) = (range(&cpu), median(&wall), series.name());
            // Those of the library are counted at its component's optimisation alone.
            let counted = self.instructions_of(&series.case).filter(|_| series.worker != "release profile");
            let counted = counted.map_or_else(String::new, |instructions| format!("{instructions:.0}"));
            let _ = writeln!(
                text,
                "| {name} | {middle:.2} | {least:.2} | {most:.2} | {wall:.2} | {ratio} | {counted} |"
            );
        }
        text.push('\n');
    }

    fn starts_table(&self, text: &mut String) {
        text.push_str(
            "| host | median | least | most | first start, which compiles |\n|---|--:|--:|--:|--:|\n",
        );
        for (name, figure) in FIGURES {
            let all: Vec<f64> = self.starts.warm.iter().map(figure).collect();
            let ((least, most), middle, first) = (range(&all), median(&all), figure(&self.starts.first));
            let _ = writeln!(text, "| {name} | {middle:.1} | {least:.1} | {most:.1} | {first:.1} |");
        }
        text.push('\n');
    }

    fn instructions_json(&self) -> String {
        list(
            self.instructions
                .iter()
                .map(|(case, counted)| format!(r#"{{"case":"{case}","of_a_call":{counted}}}"#)),
        )
    }

    fn starts_json(&self) -> String {
        let one = |start: &Start| {
            let figures = FIGURES.iter().map(|(name, figure)| format!(r#""{name}":{}"#, figure(start)));
            format!("{{{}}}", figures.collect::<Vec<_>>().join(","))
        };
        list(std::iter::once(&self.starts.first).chain(&self.starts.warm).map(one))
    }
}

fn series_json(all: &[Series]) -> String {
    list(all.iter().map(|series| {
        let rounds: Vec<String> = series.rounds.iter().map(|(cpu, wall)| format!("[{cpu},{wall}]")).collect();
        let (case, worker, calls, rounds) = (&series.case, series.worker, series.calls, rounds.join(","));
        format!(r#"{{"case":"{case}","worker":"{worker}","calls":{calls},"cpu_wall_ns":[{rounds}]}}"#)
    }))
}

type Figure = (&'static str, fn(&Start) -> f64);

const FIGURES: [Figure; 7] = [
    ("CPU ms to the first /health 200", |start| milliseconds(start.cpu)),
    ("wall ms to the first /health 200", |start| milliseconds(start.wall)),
    ("idle RSS, MiB", |start| mebibytes(start.resident)),
    ("of which anonymous, MiB", |start| mebibytes(start.anonymous)),
    ("of which files, MiB", |start| mebibytes(start.file)),
    ("threads", |start| start.threads as f64),
    ("CPU ms of two idle seconds", |start| milliseconds(start.idle_cpu)),
];

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mebibytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[\n{}\n]\n", items.collect::<Vec<_>>().join(",\n"))
}

/// Of which machine the figures are; without its SHA instructions they are other ones.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        info.lines().find(|line| line.starts_with(name))?.split_once(": ").map(|(_, value)| value)
    };
    let has = value("flags").or(value("Features")).unwrap_or_default();
    let sha = if has.split(' ').any(|flag| ["sha_ni", "sha2"].contains(&flag)) { "with" } else { "without" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, {sha} SHA instructions",
        value("model name").unwrap_or("an unnamed processor")
    )
}

impl Series {
    fn name(&self) -> String {
        let about = CASES.iter().find(|(case, _)| *case == self.case).map_or("", |(_, about)| about);
        format!("{} ({}): {about}", self.case, self.worker)
    }

    /// Microseconds, a round each.
    fn cpu_of_a_call(&self) -> Vec<f64> {
        self.rounds.iter().map(|(cpu, _)| self.of_a_call(*cpu)).collect()
    }

    fn wall_of_a_call(&self) -> Vec<f64> {
        self.rounds.iter().map(|(_, wall)| self.of_a_call(*wall)).collect()
    }

    fn of_a_call(&self, ns: u64) -> f64 {
        ns as f64 / f64::from(self.calls) / 1000.0
    }
}

fn range(figures: &[f64]) -> (f64, f64) {
    let figures = || figures.iter().copied();
    (figures().fold(f64::INFINITY, f64::min), figures().fold(f64::NEG_INFINITY, f64::max))
}

/// Of an even number the mean of the two in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(case: &str, worker: &'static str, ns: u64) -> Series {
        Series { case: case.to_owned(), worker, calls: 10, rounds: vec![(ns, ns), (ns, ns), (9 * ns, ns)] }
    }

    fn report() -> Report {
        let start = Start { cpu: Duration::from_millis(40), resident: 20480, ..Start::default() };
        Report {
            calls: vec![series("native", "plugin profile", 30_000), series("kept", "wasm", 120_000)],
            starts: Starts { first: start, warm: vec![start] },
            requests: vec![series("inbox-native", "door", 40_000), series("inbox-wasm", "door", 50_000)],
            instructions: vec![("native".to_owned(), 1000.0), ("kept".to_owned(), 2500.0)],
            sizes: vec![("parlor".to_owned(), 7)],
        }
    }

    #[test]
    fn ratios_are_of_medians() {
        let table = report().table();
        let rows = [
            "| native (plugin profile): the same code without a sandbox | 3.00 | 3.00 | 27.00 | 3.00 | 1.0 | 1000 |",
            "| kept (wasm): call on an instance that is kept | 12.00 | 12.00 | 108.00 | 12.00 | 4.0 | 2500 |",
            "| warm call, component / library | 4.00 | 4.00 | 4.00 | ≤ 3 | 2.50 |",
            "| requests a second, component / library | 0.80 | 0.80 | 0.80 | ≥ 0.80 |  |",
        ];
        for row in rows {
            assert!(table.contains(row), "{row} is not in {table}");
        }
        assert!(table.contains("| CPU ms to the first /health 200 | 40.0 | 40.0 | 40.0 | 40.0 |"), "{table}");
        assert!(table.contains("| idle RSS, MiB | 20.0 |"), "{table}");
        assert!(table.contains("| parlor | 7 |"), "{table}");
        assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), 2.5);
    }

    #[test]
    fn raw_rounds_are_kept() {
        let json = series_json(&report().calls);
        let row = r#"{"case":"kept","worker":"wasm","calls":10,"cpu_wall_ns":[[120000,120000],[120000,120000],[1080000,120000]]}"#;
        assert!(json.contains(row), "{json}");
        assert!(report().starts_json().contains(r#""idle RSS, MiB":20,"#));
    }
}
