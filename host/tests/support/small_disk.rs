//! A small disk below a host's data, in a mount namespace that ends with the host: real blocks that run out.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use super::Host;

pub struct SmallDisk;

impl SmallDisk {
    /// Whether this machine lets a test mount anything.
    pub fn is_possible() -> bool {
        let tried = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
        let may_mount = tried.is_ok_and(|output| output.status.success());
        let as_root = Command::new("unshare").args(["--mount", "true"]).output();
        may_mount || as_root.is_ok_and(|output| output.status.success())
    }

    /// The host on a disk with room for four megabytes more than it begins with.
    pub fn command(host: &Host) -> Command {
        Self::command_with_room(host, 4096)
    }

    pub fn command_with_room(host: &Host, kilobytes: u32) -> Command {
        let serve = host.command(&["serve"]);
        let data = host.data();
        let script = r#"data=$1; room=$2; shift 2; mkdir "$data.was"; cp -r "$data/." "$data.was/"
            size=$(( $(du -sk "$data.was" | cut -f1) + room ))
            mount -t tmpfs -o "size=${size}k" tmpfs "$data"; cp -r "$data.was/." "$data/"; chmod 700 "$data"; exec "$@""#;
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--mount", "sh", "-ec", script, "sh"]).arg(data);
        unshare.arg(kilobytes.to_string()).arg(serve.get_program());
        unshare.args(serve.get_args());
        unshare
    }

    /// The data folder as the host's namespace has it.
    pub fn data(host: &Host) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", host.process_id()));
        root.join(host.data().strip_prefix("/").unwrap())
    }

    /// Takes all the room that there is at this moment.
    pub fn fill(host: &Host) {
        let filler = Self::data(host).join("filler");
        let mut filler = OpenOptions::new().create(true).append(true).open(filler).unwrap();
        let block = [0; 4096];
        while filler.write_all(&block).is_ok() {}
    }

    pub fn free(host: &Host) {
        fs::remove_file(Self::data(host).join("filler")).unwrap();
    }
}
