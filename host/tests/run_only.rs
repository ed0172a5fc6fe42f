//! A build without a compiler serves what another build compiled for it.
//!
//! Two builds of the same tests: the usual one compiles plugins into a data folder, and the one without the feature
//! `compile` (`cargo xtask test run-only`) serves from a copy of it.
#![cfg(unix)]

#[cfg(not(feature = "compile"))]
#[path = "support/parts.rs"]
#[allow(dead_code, unused_imports, reason = "each binary of tests uses its part of what they share")]
mod support;

use std::path::{Path, PathBuf};

/// What the one build leaves for the other.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("run-only")
}

#[cfg(feature = "compile")]
mod with_a_compiler {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// As a crate without the feature would be built: nothing that compiles is linked.
    #[test]
    fn no_part_of_the_compiler_is_in_a_build_without_it() {
        let tree = |features: &[&str]| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["tree", "--offline", "--package", "parlor", "--edges", "normal", "--prefix", "none"]);
            let output = cargo.args(features).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let compilers = |tree: &str| {
            let names = tree.lines().filter_map(|line| line.split(' ').next());
            let compiles = |name: &&str| {
                ["cranelift", "regalloc2", "winch", "wasmtime-internal-cranelift"].iter().any(|part| name.starts_with(part))
                    // Of its parts these are plain data.
                    && !["cranelift-bforest", "cranelift-bitset", "cranelift-entity"].contains(name)
            };
            names.filter(compiles).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(compilers(&tree(&["--no-default-features"])), Vec::<String>::new());
        assert!(compilers(&tree(&[])).contains(&"cranelift-codegen".to_owned()), "the search finds it");
    }

    #[test]
    fn a_plugin_is_compiled_into_the_data_folder_of_another_host() {
        let folder = shipped();
        fs::remove_dir_all(&folder).ok();
        let (data, plugins) = (folder.join("data"), folder.join("plugins"));
        fs::create_dir_all(&plugins).unwrap();
        let built = PathBuf::from(std::env::var_os("PARLOR_TEST_PLUGINS").expect("run `cargo xtask test`"));
        for name in ["webhook.wasm", "assistant.wasm"] {
            fs::copy(built.join(name), plugins.join(name)).unwrap();
            let mut parlor = Command::new(env!("CARGO_BIN_EXE_parlor"));
            parlor.args(["plugin", "compile"]).arg(plugins.join(name)).arg("--into").arg(&data);
            let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            let output = parlor.args(["--target", &target]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let laid = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
            assert!(laid.is_file() && laid.with_extension("mac").is_file(), "{}", laid.display());
        }
    }
}

#[cfg(not(feature = "compile"))]
mod without_a_compiler {
    use std::fs;

    use serde_json::json;

    use super::support::{Envelope, Host, Settings};
    use super::*;

    /// A host on a copy of what was shipped.
    fn host() -> Host {
        let plugins = shipped().join("plugins");
        assert!(plugins.is_dir(), "`{}` is missing: run `cargo xtask test tests` first", plugins.display());
        let channel = json!({ "adapter": "webhook", "pipelines": ["assistant"], "secrets": { "secret": Envelope::SECRET } });
        let settings = Settings { is_warm: false, ..Settings::new() }
            .set("plugins.folder", plugins.to_str().unwrap())
            .set("models.echo", json!({ "backend": "echo" }))
            .set("default_model", "echo")
            .set("channels.crm", channel);
        let host = Host::at_rest(&settings);
        copy(&shipped().join("data"), &host.data());
        host
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let copied = to.join(entry.file_name().unwrap());
            if entry.is_dir() { copy(&entry, &copied) } else { drop(fs::copy(&entry, copied).unwrap()) }
        }
    }

    /// Every compiled file of a host, or its seal.
    fn compiled(host: &Host, end: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(host.data().join("compiled")).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        files
    }

    fn refusal(host: &Host) -> String {
        let output = host.output(&["serve"]);
        assert_eq!(output.status.code(), Some(1), "it serves");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[tokio::test]
    async fn it_serves_plugins_that_another_build_compiled() {
        let mut host = host();
        host.run().await;
        let message = Envelope::new("m-1", "desk-canary", "canary, say something");
        let (status, answer) = message.post(&host.url("/webhook/crm")).await.unwrap();
        assert_eq!(status, 200);
        assert!(answer["reply"].as_str().unwrap().contains("canary, say something"), "{answer}");
    }

    #[tokio::test]
    async fn a_plugin_that_nobody_compiled_is_refused_with_what_to_do() {
        let host = host();
        fs::remove_dir_all(host.data().join("compiled")).unwrap();
        let told = refusal(&host);
        assert!(told.contains("this build has no compiler"), "{told}");
        assert!(told.contains("parlor plugin compile FILE --into DATA"), "{told}");
    }

    #[tokio::test]
    async fn a_compiled_file_under_another_key_is_refused() {
        let host = host();
        fs::remove_file(host.data().join("host.key")).unwrap();
        let told = refusal(&host);
        assert!(told.contains("is not sealed by this host's key, or it was changed"), "{told}");
    }

    #[tokio::test]
    async fn a_compiled_file_with_one_bit_changed_is_refused() {
        for end in ["cwasm", "mac"] {
            let host = host();
            for path in compiled(&host, end) {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }
            let told = refusal(&host);
            assert!(told.contains("is not sealed by this host's key, or it was changed"), "{told}");
        }
    }

    #[test]
    fn it_has_no_command_that_compiles() {
        let host = host();
        let output = host.output(&["plugin", "compile", "a.wasm", "--output", "b"]);
        assert_eq!(output.status.code(), Some(2));
    }
}
