//! `cargo xtask freeze CONTRACT`: from now on this contract never changes, and plugins of today serve as witnesses.
//!
//! It writes the marker `wit/CONTRACT/.frozen`, the SHA-256 of each file, and lays the small plugins that are built from
//! this tree into `host/tests/archive/CONTRACT`. Both are kept by `host/tests/contract.rs`. Nothing unfreezes.

use crate::workspace::Workspace;
use crate::{build, setup};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

const MARKER: &str = ".frozen";
const ARCHIVE: &str = "host/tests/archive";
/// The archive is in the repository for good: interpreters stay out of it.
const ARCHIVED_BYTES_MAX: u64 = 512 << 10;

pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    let [contract] = args else { bail!("name the contract to freeze, such as `freeze 0.1`") };
    let folder = workspace.root.join("wit").join(contract);
    let marker = folder.join(MARKER);
    ensure!(folder.is_dir(), "there is no `{}`", folder.display());
    ensure!(!marker.exists(), "`{}` is there: this contract is frozen already", marker.display());
    let plugins = build::plugins(workspace, &setup::prepare(workspace)?)?;
    let archived = archive(&plugins, &workspace.root.join(ARCHIVE).join(contract))?;
    let frozen = hashes(&folder)?;
    fs::write(&marker, &frozen).with_context(|| format!("cannot write `{}`", marker.display()))?;
    print!("{frozen}");
    archived.iter().for_each(|path| println!("{}", path.display()));
    println!("frozen; commit `{}` and `{ARCHIVE}/{contract}` together", marker.display());
    Ok(())
}

/// A line for each file: its SHA-256 and its name, as `sha256sum` has it.
fn hashes(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    let mut names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.retain(|name| name != MARKER);
    names.sort();
    let line = |name: &String| {
        let path = folder.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{hash}  {name}\n"))
    };
    names.iter().map(line).collect()
}

fn archive(plugins: &[PathBuf], to: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(to).with_context(|| format!("cannot create `{}`", to.display()))?;
    let mut archived = Vec::new();
    for plugin in plugins {
        let name = plugin.file_name().context("a built plugin has a name")?;
        if fs::metadata(plugin)?.len() <= ARCHIVED_BYTES_MAX {
            let kept = to.join(name);
            fs::copy(plugin, &kept).with_context(|| format!("cannot write `{}`", kept.display()))?;
            archived.push(kept);
        }
    }
    ensure!(!archived.is_empty(), "no plugin is as small as {} KiB", ARCHIVED_BYTES_MAX >> 10);
    Ok(archived)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_names_every_file_but_itself() {
        let folder = std::env::temp_dir().join(format!("parlor-freeze-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("b.wit"), "").unwrap();
        fs::write(folder.join("a.wit"), "abc").unwrap();
        fs::write(folder.join(MARKER), "old").unwrap();
        let hashes = hashes(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.wit\n";
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b.wit\n";
        assert_eq!(hashes, format!("{abc}{empty}"));
    }

    #[test]
    fn large_plugins_are_not_archived() {
        let scratch = std::env::temp_dir().join(format!("parlor-archive-{}", std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let (small, large) = (scratch.join("small.wasm"), scratch.join("large.wasm"));
        fs::write(&small, [0; 9]).unwrap();
        fs::write(&large, vec![0; 1 << 20]).unwrap();
        let to = scratch.join("to");
        let archived = archive(&[small, large.clone()], &to).unwrap();
        assert_eq!(archived, [to.join("small.wasm")]);
        assert!(archive(&[large], &to).is_err());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
