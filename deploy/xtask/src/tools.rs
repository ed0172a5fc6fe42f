//! cmake and libclang, which llama.cpp's build needs: pinned wheels in `target/tools`, the same on every machine.
//!
//! A machine that has its own is not looked at, so that everybody builds with the same ones; who wants another says
//! so by `CMAKE` or `LIBCLANG_PATH`. Once the folder holds what is pinned here, neither pip nor the network is
//! touched. It knows neither compilers nor Rust targets; those are in `setup`.

use crate::command;
use crate::pip::{self, Wheel};
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

// In each list: Linux on x86_64 and on aarch64 (glibc), then macOS.
const CMAKE: Wheel = Wheel {
    name: "cmake",
    version: "4.4.4",
    sha256: &[
        "f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238",
        "b3029f586853e01ddf2824c1ff124a1c5284f8ae897994758e9c4eeb45903b58",
        "883962a72b1b3a16ff445427f24c8caca9797dd9e563bbe208cbcd89e877f9d3",
    ],
};
const LIBCLANG: Wheel = Wheel {
    name: "libclang",
    version: "18.1.1",
    sha256: &[
        "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b",
        "54dda940a4a0491a9d1532bf071ea3ef26e6dbaf03b5000ed94dd7174e8f9592",
        "0b2e143f0fac830156feb56f9231ff8338c20aecfe72b4ffe96f19e5a1dbb69a",
        "6f14c3f194704e5d09769108f03185fce7acaf1d1ae4bbb2f30a72c2400cb7c5",
    ],
};
/// Only where `make` is missing: gcc and g++ do not bring it.
const NINJA: Wheel = Wheel {
    name: "ninja",
    version: "1.13.0",
    sha256: &[
        "fb46acf6b93b8dd0322adc3a4945452a4e774b75b91293bafcc7b7f8e6517dfa",
        "3d00c692fb717fd511abeb44b8c5d00340c36938c12d6538ba989fe764e79630",
        "fa2a8bfc62e31b08f83127d1613d10821775a0eb334197154c4d6067b7068ff1",
    ],
};

/// The variables that make a child cargo find the tools.
pub fn variables(workspace: &Workspace) -> Result<Vec<(&'static str, OsString)>> {
    let wheels = wanted(|name| std::env::var_os(name), command::succeeds("make", &["--version"]));
    let folder = workspace.target.join("tools");
    ensure_installed(&wheels, &folder)?;

    let has = |wheel: &Wheel| wheels.iter().any(|wanted| wanted.name == wheel.name);
    let mut variables = vec![("PATH", path_with(&[folder.join("cmake/data/bin"), folder.join("bin")])?)];
    if has(&LIBCLANG) {
        variables.push(("LIBCLANG_PATH", folder.join("clang/native").into()));
        variables
            .push(("BINDGEN_EXTRA_CLANG_ARGS", bindgen_args(std::env::var_os("BINDGEN_EXTRA_CLANG_ARGS"))?));
    }
    if has(&NINJA) {
        variables.push(("CMAKE_GENERATOR", "Ninja".into()));
    }
    Ok(variables)
}

fn wanted(variable: impl Fn(&str) -> Option<OsString>, has_make: bool) -> Vec<&'static Wheel> {
    let unset = |name: &str| variable(name).is_none_or(|value| value.is_empty());
    let mut wheels = Vec::new();
    if unset("CMAKE") {
        wheels.push(&CMAKE);
    }
    if unset("LIBCLANG_PATH") {
        wheels.push(&LIBCLANG);
    }
    if unset("CMAKE_GENERATOR") && !has_make {
        wheels.push(&NINJA);
    }
    wheels
}

fn ensure_installed(wheels: &[&Wheel], folder: &Path) -> Result<()> {
    let parent = folder.parent().context("the tools lie below the target folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
    // Two commands started together install once; the lock goes with the file.
    let lock = File::create(parent.join("tools.lock"))?;
    lock.lock()?;
    if !is_installed(wheels, folder) {
        install(wheels, folder)?;
    }
    Ok(())
}

/// The stamp is the requirements file: it comes into place with the last rename, after everything that it names.
fn is_installed(wheels: &[&Wheel], folder: &Path) -> bool {
    let stamp = fs::read_to_string(folder.join("requirements.txt")).unwrap_or_default();
    wheels.iter().all(|wheel| stamp.contains(&pip::requirements(&[wheel])))
}

fn install(wheels: &[&Wheel], folder: &Path) -> Result<()> {
    pip::ensure_pip()?;
    let names: Vec<&str> = wheels.iter().map(|wheel| wheel.name).collect();
    eprintln!("getting {} into {} (about 55 MB, once)", names.join(" and "), folder.display());
    let new = folder.with_extension("new");
    remove(&new)?;
    pip::install(wheels, &new).context(
        "if there are no wheels for this platform, install cmake and libclang and set `CMAKE` to the program and \
         `LIBCLANG_PATH` to the folder of libclang",
    )?;
    if names.contains(&CMAKE.name) {
        ensure!(
            command::succeeds(&new.join("cmake/data/bin/cmake").to_string_lossy(), &["--version"]),
            "the cmake that pip installed does not start: set `CMAKE` to one that does"
        );
    }
    remove(folder)?;
    fs::rename(&new, folder).with_context(|| format!("cannot rename to `{}`", folder.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}

fn path_with(folders: &[PathBuf]) -> Result<OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(std::env::split_paths(&old));
    std::env::join_paths(all).context("a folder on the way to the target folder has a `:` in its name")
}

/// The wheel has the library but none of the compiler's own headers (`stddef.h` and the like), so it borrows the
/// ones of the compiler that is there.
fn bindgen_args(before: Option<OsString>) -> Result<OsString> {
    let headers = if cfg!(target_os = "macos") {
        command::output(Command::new("cc").arg("-print-resource-dir"))? + "/include"
    } else {
        command::output(Command::new("gcc").arg("-print-file-name=include"))?
    };
    let mut args = before.unwrap_or_default();
    if !args.is_empty() {
        args.push(" ");
    }
    args.push(format!("-I{headers}"));
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(variables: &[&str], has_make: bool) -> Vec<&'static str> {
        let get = |name: &str| variables.contains(&name).then(|| "/somewhere".into());
        wanted(get, has_make).iter().map(|wheel| wheel.name).collect()
    }

    #[test]
    fn what_the_user_names_is_not_downloaded() {
        assert_eq!(names(&[], true), ["cmake", "libclang"]);
        assert_eq!(names(&["LIBCLANG_PATH"], true), ["cmake"]);
        assert_eq!(names(&["LIBCLANG_PATH", "CMAKE"], true), [""; 0]);
        assert_eq!(names(&[], false), ["cmake", "libclang", "ninja"]);
        assert_eq!(names(&["CMAKE_GENERATOR"], false), ["cmake", "libclang"]);
    }

    #[test]
    fn a_folder_of_other_versions_does_not_count() {
        let folder = std::env::temp_dir().join(format!("parlor-tools-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(!is_installed(&[&CMAKE], &folder));
        fs::write(folder.join("requirements.txt"), pip::requirements(&[&CMAKE, &LIBCLANG])).unwrap();
        assert!(is_installed(&[&CMAKE], &folder));
        assert!(!is_installed(&[&CMAKE, &NINJA], &folder));
        let newer = Wheel { version: "5.0.0", ..CMAKE };
        assert!(!is_installed(&[&newer], &folder));
        remove(&folder).unwrap();
    }
}
