//! Where things are: the checkout, the target folder, the cache, and the plugins that the tree holds.
//!
//! Reads folders and `Cargo.toml` names; builds nothing and downloads nothing.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf, absolute};

pub struct Workspace {
    pub root: PathBuf,
    /// Absolute, and handed to every child, so that all of them share one.
    pub target: PathBuf,
}

/// A crate that becomes a component, by its folder and by its name in cargo.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plugin {
    pub name: String,
    pub package: String,
}

/// A plugin in an interpreted language.
pub struct Scripted {
    pub name: String,
    pub folder: PathBuf,
    pub language: Language,
    is_adapter: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    JavaScript,
    Python,
}

impl Scripted {
    /// The world of the contract that it is built for.
    pub fn world(&self) -> &'static str {
        if self.is_adapter { "webhook-adapter" } else { "prompt-pipeline" }
    }
}

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }

    /// The files that pin its toolchain; the first one tells the language.
    pub fn lists(self) -> &'static [&'static str] {
        match self {
            Self::JavaScript => &["package.json", "package-lock.json"],
            Self::Python => &["requirements.txt"],
        }
    }
}

impl Workspace {
    pub fn find() -> Result<Self> {
        // Where cargo runs it, not where it was built: a folder that was moved is not built anew.
        let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = here
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
            .ancestors()
            .nth(2)
            .context("xtask no longer lies two folders below the root of the workspace")?
            .to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => absolute(folder)?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    pub fn plugins_folder(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Not the plugins' folder: no server may load what is in it.
    pub fn test_guests_folder(&self) -> PathBuf {
        self.target.join("test-guests")
    }

    /// Not the plugins' folder: each brings an interpreter along.
    pub fn scripted_folder(&self) -> PathBuf {
        self.target.join("scripted")
    }

    /// Every folder under `plugins/scripted`, in the order of their names.
    pub fn scripted(&self) -> Result<Vec<Scripted>> {
        let mut folders = folders(&self.root.join("plugins/scripted"))?;
        folders.sort();
        folders.iter().map(|folder| scripted_at(folder)).collect()
    }

    /// Plugins for tests of the host alone: every crate under `host/tests/guests`.
    pub fn test_guests(&self) -> Result<Vec<Plugin>> {
        folders(&self.root.join("host/tests/guests"))?.iter().map(|folder| plugin_at(folder)).collect()
    }

    /// Every crate under `plugins/*/*`, in the order of their names.
    pub fn plugins(&self) -> Result<Vec<Plugin>> {
        let mut plugins = Vec::new();
        for kind in folders(&self.root.join("plugins"))? {
            for folder in folders(&kind)? {
                if folder.join("Cargo.toml").is_file() {
                    plugins.push(plugin_at(&folder)?);
                }
            }
        }
        plugins.sort();
        if let Some(pair) = plugins.windows(2).find(|pair| pair[0].name == pair[1].name) {
            bail!("two plugins are called `{}`: rename one of the folders below plugins/", pair[0].name);
        }
        Ok(plugins)
    }
}

/// `$PARLOR_CACHE`, else `$XDG_CACHE_HOME/parlor`, else `~/.cache/parlor`.
pub fn cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("PARLOR_CACHE") {
        return Ok(absolute(folder)?);
    }
    // The XDG rules ignore a relative path.
    if let Some(folder) = set("XDG_CACHE_HOME").filter(|folder| folder.is_absolute()) {
        return Ok(folder.join("parlor"));
    }
    let home = set("HOME").context("no `HOME` to keep the cache in: set `PARLOR_CACHE` to a folder")?;
    Ok(home.join(".cache").join("parlor"))
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(parent).with_context(|| format!("cannot list `{}`", parent.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

fn plugin_at(folder: &Path) -> Result<Plugin> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let package =
        package_name(&text).with_context(|| format!("no `name` under [package] in `{}`", file.display()))?;
    let name = folder.file_name().context("the folder of a plugin has a name")?;
    Ok(Plugin { name: name.to_string_lossy().into_owned(), package })
}

fn scripted_at(folder: &Path) -> Result<Scripted> {
    let languages = [Language::JavaScript, Language::Python];
    let language = languages.into_iter().find(|language| folder.join(language.lists()[0]).is_file());
    let language = language.with_context(|| {
        format!("`{}` lists no toolchain: add `package.json` or `requirements.txt`", folder.display())
    })?;
    let manifest = folder.join("plugin.toml");
    let manifest =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read `{}`", manifest.display()))?;
    let is_adapter = manifest.lines().any(|line| line.trim() == "kind = \"adapter\"");
    let name = folder.file_name().context("the folder of a plugin has a name")?;
    Ok(Scripted {
        name: name.to_string_lossy().into_owned(),
        folder: folder.to_owned(),
        language,
        is_adapter,
    })
}

fn package_name(cargo_toml: &str) -> Option<String> {
    let package = cargo_toml.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1);
    let line = package.take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "name").then_some(value)
    })?;
    Some(line.split('"').nth(1)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        cache_folder(get).ok()
    }

    #[test]
    fn the_cache_is_where_the_user_says_else_where_the_platform_says() {
        let home = ("HOME", "/h");
        assert_eq!(cache(&[("PARLOR_CACHE", "/p"), ("XDG_CACHE_HOME", "/x"), home]), Some("/p".into()));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), home]), Some("/x/parlor".into()));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "x"), home]), Some("/h/.cache/parlor".into()));
        assert_eq!(cache(&[("PARLOR_CACHE", ""), home]), Some("/h/.cache/parlor".into()));
        assert_eq!(cache(&[]), None);
    }

    #[test]
    fn every_plugin_folder_is_found_with_the_name_that_cargo_knows() {
        let plugins = Workspace::find().unwrap().plugins().unwrap();
        assert!(plugins.contains(&Plugin { name: "webhook".into(), package: "parlor-webhook".into() }));
        assert!(plugins.contains(&Plugin { name: "assistant".into(), package: "parlor-assistant".into() }));
    }

    #[test]
    fn a_plugin_in_another_language_is_known_by_its_list() {
        let scripted = Workspace::find().unwrap().scripted().unwrap();
        let known = |name: &str| {
            let plugin = scripted.iter().find(|plugin| plugin.name == name).unwrap();
            (plugin.language, plugin.world())
        };
        assert_eq!(known("telegram"), (Language::JavaScript, "webhook-adapter"));
        assert_eq!(known("translator"), (Language::Python, "prompt-pipeline"));
    }

    #[test]
    fn a_guest_that_misbehaves_is_no_plugin() {
        let workspace = Workspace::find().unwrap();
        let unruly = Plugin { name: "unruly".into(), package: "parlor-unruly".into() };
        assert!(workspace.test_guests().unwrap().contains(&unruly));
        assert!(!workspace.plugins().unwrap().contains(&unruly));
        assert_ne!(workspace.test_guests_folder(), workspace.plugins_folder());
    }

    #[test]
    fn a_package_name_is_read_from_its_own_table() {
        assert_eq!(
            package_name("[lib]\nname = \"no\"\n[package]\nname = \"yes\" # x\n"),
            Some("yes".to_owned())
        );
        assert_eq!(package_name("[package]\nversion = \"1\"\n[lib]\nname = \"no\"\n"), None);
    }
}
