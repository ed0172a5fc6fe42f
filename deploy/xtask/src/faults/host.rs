//! The host under test: a process with a configuration of its own, and what `/proc` tells of it.

use crate::command;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Plugins that are not in the cache are compiled within this.
const START_TIME_MAX: Duration = Duration::from_secs(300);
/// No answer takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Open connections that it takes.
pub const CONNECTIONS: usize = 10_500;
/// A clock tick in `/proc`: a hundredth of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

pub struct Host {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    pub token: String,
}

impl Host {
    /// Serves when this returns.
    pub fn start(parlor: &Path, plugins: &Path, folder: &Path) -> Result<Host> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty `{}`", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        let port = TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port();
        let config = folder.join("parlor.yaml");
        fs::write(&config, config_text(port, folder, plugins)).context("cannot write the configuration")?;
        let mut token = Command::new(parlor);
        let token = command::output(token.arg("token").arg("--config").arg(&config))?;
        let log = File::create(folder.join("parlor.log")).context("cannot write the log")?;
        let mut serve = Command::new(parlor);
        serve.arg("serve").arg("--config").arg(&config);
        serve.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = serve.spawn().with_context(|| format!("cannot run `{}`", parlor.display()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut host = Host { child, address, folder: folder.to_path_buf(), token };
        host.serves().with_context(|| format!("see `{}`", folder.join("parlor.log").display()))?;
        Ok(host)
    }

    fn serves(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if self.says("GET /health HTTP/1.0\r\n\r\n").is_ok_and(|said| said.starts_with("HTTP/1.0 200")) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the host ended ({status})");
            }
            sleep(Duration::from_millis(20));
        }
        bail!("the host does not serve")
    }

    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// What it answers on a connection that it closes.
    pub fn says(&self, request: &str) -> Result<String> {
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        let mut said = Vec::new();
        // A reset after the last byte is an end as well.
        let ended = stream.read_to_end(&mut said);
        ensure!(ended.is_ok() || !said.is_empty(), "no answer: {ended:?}");
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Bytes of its memory.
    pub fn resident(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.context("no `VmRSS` in `/proc/PID/status`")? * 1024)
    }

    /// Open files, connections among them.
    pub fn descriptors(&self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.child.id());
        Ok(fs::read_dir(&path).with_context(|| format!("cannot read `{path}`"))?.count())
    }

    /// CPU time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("no name in `/proc/PID/stat`")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        Ok(TICK * ticks.map(|ticks| ticks.parse::<u32>().unwrap_or_default()).sum::<u32>())
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))
    }

    pub fn log_lines_with(&self, text: &str) -> Result<usize> {
        let log = fs::read(self.folder.join("parlor.log")).context("cannot read the log")?;
        Ok(String::from_utf8_lossy(&log).lines().filter(|line| line.contains(text)).count())
    }

    /// As an operator would.
    pub fn stop(mut self) -> Result<()> {
        command::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the host ended badly ({status})");
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_text(port: u16, folder: &Path, plugins: &Path) -> String {
    let (data, plugins) = (folder.join("data"), plugins.display());
    let data = data.display();
    format!(
        r#"listen: 127.0.0.1:{port}
admin: {{ enabled: false }}
data: '{data}'
auth: {{ jwt_secret: "no door but this one is opened with this secret" }}
plugins: {{ folder: '{plugins}', allow_unsigned: true }}
default_model: echo
models: {{ echo: {{ backend: echo }} }}
chat: {{ pipelines: [assistant] }}
channels: {{ hook: {{ adapter: webhook, pipelines: [assistant], secrets: {{ secret: "of this folder alone" }} }} }}
limits: {{ connections: {CONNECTIONS} }}
"#
    )
}
