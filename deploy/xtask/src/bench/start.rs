//! Starts of the host: from the process to the first `/health` 200, and what it holds when nobody asks anything.
//!
//! The model is the one that echoes, so that no weights are in the figures. CPU is read from `/proc`, hence Linux.

use crate::command;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Plugins that are not in the cache are compiled within this.
const START_TIME_MAX: Duration = Duration::from_secs(300);
/// As often as the port is tried until it is bound; a failed attempt costs the host nothing.
const CONNECT_INTERVAL: Duration = Duration::from_millis(1);
/// Then every thread has gone to sleep.
const IDLE: Duration = Duration::from_secs(2);
/// A clock tick in `/proc`: a hundredth of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// One start.
#[derive(Debug, Default, Clone, Copy)]
pub struct Start {
    /// To the first 200.
    pub cpu: Duration,
    pub wall: Duration,
    /// Kilobytes, after a while without a request.
    pub resident: u64,
    pub anonymous: u64,
    pub file: u64,
    pub threads: u64,
    /// Of `IDLE`, after as long a rest.
    pub idle_cpu: Duration,
}

/// The first one, which compiles the plugins, and those that find them in the cache.
pub struct Starts {
    pub first: Start,
    pub warm: Vec<Start>,
}

pub fn starts(parlor: &Path, plugins: &Path, folder: &Path, number: usize) -> Result<Starts> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let first = start(parlor, plugins, folder)?;
    let warm = (0..number).map(|_| start(parlor, plugins, folder)).collect::<Result<_>>()?;
    Ok(Starts { first, warm })
}

/// The machine code of a plugin, by the digest of its file.
pub fn compiled(folder: &Path, plugin: &Path) -> Result<PathBuf> {
    let bytes = fs::read(plugin).with_context(|| format!("cannot read `{}`", plugin.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let cache = folder.join("data").join("compiled");
    for entry in fs::read_dir(&cache).with_context(|| format!("cannot list `{}`", cache.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&digest) && name.ends_with(".cwasm") {
            return Ok(path);
        }
    }
    bail!("`{}` is not in the cache of compiled plugins", plugin.display())
}

fn start(parlor: &Path, plugins: &Path, folder: &Path) -> Result<Start> {
    let port = free_port()?;
    let config = folder.join("parlor.yaml");
    fs::write(&config, config_text(port, folder, plugins)).context("cannot write the configuration")?;
    let log = File::create(folder.join("parlor.log")).context("cannot write the log")?;
    let mut serve = Command::new(parlor);
    serve.arg("serve").arg("--config").arg(&config);
    serve.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let began = Instant::now();
    let mut host = Host(serve.spawn().with_context(|| format!("cannot run `{}`", parlor.display()))?);
    let mut start = host
        .first_answer(port, began)
        .with_context(|| format!("no answer from the host; see `{}`", folder.join("parlor.log").display()))?;
    host.rest(&mut start)?;
    host.stop()?;
    Ok(start)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}

fn config_text(port: u16, folder: &Path, plugins: &Path) -> String {
    let (data, plugins) = (folder.join("data"), plugins.display());
    let data = data.display();
    format!(
        r#"listen: 127.0.0.1:{port}
admin: {{ enabled: false }}
data: '{data}'
auth: {{ jwt_secret: "no door is opened with this secret", audience: parlor }}
plugins: {{ folder: '{plugins}', allow_unsigned: true }}
default_model: echo
models: {{ echo: {{ backend: echo }} }}
chat: {{ pipelines: [assistant] }}
channels:
  team:
    adapter: dingtalk
    pipelines: [assistant]
    settings: {{ robot_code: bench }}
    secrets: {{ app_secret: bench }}
"#
    )
}

/// A running host, which does not outlive this.
struct Host(Child);

impl Host {
    /// One request: it waits in the socket's queue from the moment that the port is bound.
    fn first_answer(&mut self, port: u16, began: Instant) -> Result<Start> {
        let mut stream = self.connect(port, began)?;
        stream.set_read_timeout(Some(START_TIME_MAX))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        let (wall, cpu) = (began.elapsed(), self.cpu()?);
        ensure!(&status == b"HTTP/1.1 200", "it answered `{}`", String::from_utf8_lossy(&status));
        Ok(Start { cpu, wall, ..Start::default() })
    }

    fn connect(&mut self, port: u16, began: Instant) -> Result<TcpStream> {
        while began.elapsed() < START_TIME_MAX {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                return Ok(stream);
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("the host ended ({status})");
            }
            sleep(CONNECT_INTERVAL);
        }
        bail!("the port was not bound")
    }

    fn rest(&self, start: &mut Start) -> Result<()> {
        sleep(IDLE);
        let before = self.cpu()?;
        sleep(IDLE);
        start.idle_cpu = self.cpu()?.saturating_sub(before);
        let status = self.proc("status")?;
        start.resident = field(&status, "VmRSS")?;
        start.anonymous = field(&status, "RssAnon")?;
        start.file = field(&status, "RssFile")? + field(&status, "RssShmem")?;
        start.threads = field(&status, "Threads")?;
        Ok(())
    }

    /// User and system time of all threads. The scheduler's own count is exact but for threads that have ended; the
    /// count in ticks has these too.
    fn cpu(&self) -> Result<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).context("the host has ended")?;
        let mut exact = Duration::ZERO;
        for task in tasks {
            // A thread may end meanwhile.
            let counts = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            exact += counts
                .split(' ')
                .next()
                .and_then(|ns| ns.parse().ok())
                .map_or(Duration::ZERO, Duration::from_nanos);
        }
        Ok(exact.max(ticks(&self.proc("stat")?)?))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))
    }

    /// As an operator would, so that the next start finds nothing to repair.
    fn stop(mut self) -> Result<()> {
        command::run(Command::new("kill").args(["-TERM", &self.0.id().to_string()]))?;
        let status = self.0.wait()?;
        ensure!(status.success(), "the host ended badly ({status})");
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, whose second one is a name in parentheses.
fn ticks(stat: &str) -> Result<Duration> {
    let (_, fields) = stat.rsplit_once(')').context("no name in `/proc/PID/stat`")?;
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = times.map(|ticks| ticks.parse::<u32>().unwrap_or_default()).sum();
    Ok(TICK * ticks)
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("no `{name}` in `/proc/PID/status`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_proc() {
        let status = "Name:\tparlor\nVmRSS:\t   20480 kB\nThreads:\t5\n";
        assert_eq!((field(status, "VmRSS").unwrap(), field(status, "Threads").unwrap()), (20480, 5));
        assert!(field(status, "RssAnon").is_err());
        let stat = "7 (a) b) S 1 7 7 0 -1 0 10 0 0 0 12 3 0 0 20 0 5 0";
        assert_eq!(ticks(stat).unwrap(), Duration::from_millis(150));
    }
}
