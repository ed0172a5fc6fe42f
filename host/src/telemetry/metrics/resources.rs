//! What the process itself uses, read at each scrape: processor, memory, files, threads, its start.
//!
//! By the names that every Prometheus client has. Where there is no `/proc` it says nothing.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// `/proc` counts processor time in ticks of `USER_HZ`, which is 100 on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct Resources;

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(usage) = Usage::read() else { return Ok(()) };
        counter(&mut encoder, "process_cpu_seconds", "Processor time used", usage.cpu_seconds)?;
        gauge(&mut encoder, "process_resident_memory_bytes", "Memory in use", usage.resident_bytes)?;
        gauge(&mut encoder, "process_open_fds", "Open file descriptors", usage.open_files)?;
        gauge(&mut encoder, "process_threads", "Threads", usage.threads)?;
        gauge(
            &mut encoder,
            "process_start_time_seconds",
            "Start, in seconds since the epoch",
            usage.start_seconds,
        )
    }
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    counter.encode(metric)
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    gauge.encode(metric)
}

struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    open_files: f64,
    threads: f64,
    start_seconds: f64,
}

impl Usage {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // Fields count from 1, proc_pid_stat(5); the second is a name in parentheses that may hold anything.
        let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| after_name.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            start_seconds: boot_seconds()? + field(22)? / TICKS_PER_SECOND,
            resident_bytes: resident_bytes()?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
        })
    }
}

fn boot_seconds() -> Option<f64> {
    labelled(&fs::read_to_string("/proc/stat").ok()?, "btime ")
}

/// In kilobytes there, whatever the size of a page.
fn resident_bytes() -> Option<f64> {
    labelled(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(|kilobytes| kilobytes * 1024.0)
}

fn labelled(text: &str, label: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}
