//! Plugins in JavaScript and Python: a pinned toolchain makes a component, which gets its manifest.
//!
//! Such a plugin is a folder below `plugins/scripted` that lists its toolchain: `package.json` with its lock file, or
//! `requirements.txt` with hashes. The built ones go into a folder of their own, since each brings an interpreter along
//! and takes a host seconds to compile. What is unchanged is not built again. It knows no plugin by name.

use crate::workspace::{Language, Scripted, Workspace};
use crate::{clients, command, pip};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONTRACT: &str = "wit/0.1";

/// The paths of the built plugins.
pub fn plugins(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let plugins = workspace.scripted()?;
    fs::create_dir_all(workspace.scripted_folder())?;
    plugins.iter().map(|plugin| build(workspace, plugin)).collect()
}

fn build(workspace: &Workspace, plugin: &Scripted) -> Result<PathBuf> {
    let placed = workspace.scripted_folder().join(format!("{}.wasm", plugin.name));
    let stamp = work_folder(workspace, plugin).join("built-from.txt");
    let sources = sources(workspace, plugin)?;
    if placed.is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == sources) {
        return Ok(placed);
    }
    eprintln!("building {} from {}", plugin.name, plugin.language.name());
    let component = work_folder(workspace, plugin).join("component.wasm");
    match plugin.language {
        Language::JavaScript => from_javascript(workspace, plugin, &component)?,
        Language::Python => from_python(workspace, plugin, &component)?,
    }
    pack(plugin, &component, &placed)?;
    fs::write(&stamp, sources).with_context(|| format!("cannot write `{}`", stamp.display()))?;
    Ok(placed)
}

/// Toolchain, component and stamp of one plugin.
fn work_folder(workspace: &Workspace, plugin: &Scripted) -> PathBuf {
    workspace.scripted_folder().join(format!(".{}", plugin.name))
}

/// All that a plugin is made of, as one text.
fn sources(workspace: &Workspace, plugin: &Scripted) -> Result<String> {
    let mut paths = vec![plugin.folder.join("plugin.toml")];
    paths.extend(plugin.language.lists().iter().map(|list| plugin.folder.join(list)));
    for folder in [plugin.folder.join("src"), workspace.root.join(CONTRACT)] {
        paths.extend(files(&folder)?);
    }
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(format!("── {}\n{text}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// In the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn from_javascript(workspace: &Workspace, plugin: &Scripted, component: &Path) -> Result<()> {
    let node = clients::node(workspace)?;
    let tools = work_folder(workspace, plugin).join("node");
    clients::ensure(&plugin.folder, plugin.language.lists(), &tools, |_, to| {
        clients::npm_packages(&node, to)
    })?;
    let source = plugin.folder.join("src");
    let mut tool = Command::new(node);
    tool.arg(tools.join("node_modules/componentize-qjs/bin/componentize-qjs"));
    tool.arg("--wit").arg(workspace.root.join(CONTRACT)).args(["--world", plugin.world()]);
    tool.arg("--js").arg(source.join(format!("{}.js", plugin.name))).arg("--module-root").arg(source);
    // Worlds are synchronous, and so is a host that serves them.
    command::run(tool.arg("--sync").arg("--output").arg(component))
}

fn from_python(workspace: &Workspace, plugin: &Scripted, component: &Path) -> Result<()> {
    let tools = work_folder(workspace, plugin).join("python");
    clients::ensure(&plugin.folder, plugin.language.lists(), &tools, |lists, to| {
        pip::ensure_pip()?;
        pip::install_list(&lists.join("requirements.txt"), to)
    })?;
    // The tool leaves bytecode beside the sources.
    let copy = work_folder(workspace, plugin).join("src");
    copy_files(&plugin.folder.join("src"), &copy)?;
    let mut tool = Command::new("python3");
    tool.arg(tools.join("bin/componentize-py")).env("PYTHONPATH", &tools);
    tool.arg("--wit-path").arg(workspace.root.join(CONTRACT)).args(["--world", plugin.world(), "--quiet"]);
    tool.args(["componentize", "app", "--python-path"]).arg(copy);
    command::run(tool.arg("--output").arg(component))
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove `{}`", to.display()))?;
    }
    fs::create_dir_all(to)?;
    for file in files(from)? {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(&file, to.join(name)).with_context(|| format!("cannot copy `{}`", file.display()))?;
    }
    Ok(())
}

/// Contract and manifest as custom sections behind all others, as the host wants them.
fn pack(plugin: &Scripted, component: &Path, to: &Path) -> Result<()> {
    let mut bytes = fs::read(component).with_context(|| format!("cannot read `{}`", component.display()))?;
    let manifest = fs::read(plugin.folder.join("plugin.toml"))?;
    let contract = CONTRACT.trim_start_matches("wit/");
    bytes.extend(section("parlor:contract", contract.as_bytes()));
    bytes.extend(section("parlor:manifest", &manifest));
    let new = to.with_extension("new");
    fs::write(&new, bytes).with_context(|| format!("cannot write `{}`", new.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot rename to `{}`", to.display()))
}

/// Of kind 0: its length, the length of its name, its name, and what is in it.
fn section(name: &str, data: &[u8]) -> Vec<u8> {
    let content = [&length(name.len()), name.as_bytes(), data].concat();
    [&[0], &*length(content.len()), &*content].concat()
}

/// Seven bits a byte, the lowest first.
fn length(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_tells_its_lengths() {
        assert_eq!(section("ab", b"c"), [0, 4, 2, b'a', b'b', b'c']);
        assert_eq!(length(300), [0xac, 0x02]);
    }
}
