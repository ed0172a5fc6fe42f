//! Figures as a table for people and as JSON for programs.

use super::start::{Start, Starts};
use super::worker::Series;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What the ratios are of.
const BASELINE: (&str, &str) = ("native", "plugin profile");

/// What a case is, for those who read the table alone.
const CASES: [(&str, &str); 6] = [
    ("native", "the same code without a sandbox"),
    ("fresh", "as in production: store, instance, call"),
    ("kept", "call on an instance that is kept"),
    ("instance", "store and instance, no call"),
    ("store", "store alone"),
    ("bare", "wasmtime's store and instance alone"),
];

pub struct Report {
    pub calls: Vec<Series>,
    pub starts: Starts,
    pub sizes: Vec<(String, u64)>,
}

impl Report {
    /// Writes the raw figures and the table, and prints the table.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let table = self.table();
        for (name, text) in [
            ("calls.json", self.calls_json()),
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
        self.calls_table(&mut text);
        self.starts_table(&mut text);
        text.push_str("| file | bytes |\n|---|--:|\n");
        for (name, bytes) in &self.sizes {
            let _ = writeln!(text, "| {name} | {bytes} |");
        }
        text
    }

    fn calls_table(&self, text: &mut String) {
        let baseline = self.calls.iter().find(|series| (series.case.as_str(), series.worker) == BASELINE);
        let baseline = baseline.map(|series| median(&series.cpu_of_a_call()));
        text.push_str("| call | CPU µs, median | least | most | wall µs, median | × native |\n");
        text.push_str("|---|--:|--:|--:|--:|--:|\n");
        for series in &self.calls {
            let (cpu, wall) = (series.cpu_of_a_call(), series.wall_of_a_call());
            let middle = median(&cpu);
            let ratio = baseline.map_or_else(String::new, |baseline| format!("{:.1}", middle / baseline));
            let ((least, most), wall, name) = (range(&cpu), median(&wall), series.name());
            let _ = writeln!(text, "| {name} | {middle:.2} | {least:.2} | {most:.2} | {wall:.2} | {ratio} |");
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

    fn calls_json(&self) -> String {
        let series = self.calls.iter().map(|series| {
            let rounds: Vec<String> =
                series.rounds.iter().map(|(cpu, wall)| format!("[{cpu},{wall}]")).collect();
            let (case, worker, calls, rounds) = (&series.case, series.worker, series.calls, rounds.join(","));
            format!(r#"{{"case":"{case}","worker":"{worker}","calls":{calls},"cpu_wall_ns":[{rounds}]}}"#)
        });
        list(series)
    }

    fn starts_json(&self) -> String {
        let one = |start: &Start| {
            let figures = FIGURES.iter().map(|(name, figure)| format!(r#""{name}":{}"#, figure(start)));
            format!("{{{}}}", figures.collect::<Vec<_>>().join(","))
        };
        list(std::iter::once(&self.starts.first).chain(&self.starts.warm).map(one))
    }
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
            sizes: vec![("parlor".to_owned(), 7)],
        }
    }

    #[test]
    fn ratios_are_of_medians() {
        let table = report().table();
        assert!(table.contains("sandbox | 3.00 | 3.00 | 27.00 | 3.00 | 1.0 |"), "{table}");
        assert!(
            table.contains(
                "| kept (wasm): call on an instance that is kept | 12.00 | 12.00 | 108.00 | 12.00 | 4.0 |"
            ),
            "{table}"
        );
        assert!(table.contains("| CPU ms to the first /health 200 | 40.0 | 40.0 | 40.0 | 40.0 |"), "{table}");
        assert!(table.contains("| idle RSS, MiB | 20.0 |"), "{table}");
        assert!(table.contains("| parlor | 7 |"), "{table}");
        assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), 2.5);
    }

    #[test]
    fn raw_rounds_are_kept() {
        let json = report().calls_json();
        let row = r#"{"case":"kept","worker":"wasm","calls":10,"cpu_wall_ns":[[120000,120000],[120000,120000],[1080000,120000]]}"#;
        assert!(json.contains(row), "{json}");
        assert!(report().starts_json().contains(r#""idle RSS, MiB":20,"#));
    }
}
