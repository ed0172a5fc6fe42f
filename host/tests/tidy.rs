//! Rules of the tree that no compiler checks, each a test that names file and line.
//!
//! It reads files and knows nothing of what the code does. A rule is a function from text to findings, and for
//! each rule over the tree there is a test that plants a fault and sees it found. The rules come from STYLE: data flows
//! one way, a vendor's name stays in `plugins/`, generated types stay in one module, a dependency has a reason.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/finding.rs"]
mod finding;
#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;

use code::code_of;
use finding::{at, lines, none};
use manifest::{dependencies_without_reason, own_crates, own_crates_allowed};
use modules::{Reference, host_references, host_sources, module_path, reaches, references};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use text::{bare_todos, binding_names, machine_paths, unwanted_crates, vendors};
use tree::{TEXT, files, manifests, read, root};

/// Rules that quote what they forbid are not held against these files.
fn is_tidy(file: &str) -> bool {
    file == "host/tests/tidy.rs" || file.starts_with("host/tests/tidy/")
}

/// The stages of a turn; only `turn` and `app` know more than one.
const STAGES: [&str; 6] = ["ingress", "adapter", "conversation", "pipeline", "model", "egress"];

/// Tests name vendors where they drive the adapters that ship; what is linked into the host never does.
#[test]
fn no_vendor_is_named_in_the_host() {
    let mut findings = Vec::new();
    for file in files(&["rs", "toml", "html", "js", "css"]) {
        if file.starts_with("host/") && !file.contains("/tests/") {
            findings.extend(at(&file, vendors(&read(&file))));
        }
    }
    none(findings, "a vendor's name in host/: the contract lacks a word, change that first");
}

#[test]
fn no_module_of_the_host_is_in_a_cycle() {
    let references = host_references();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for reference in &references {
        edges.entry(&reference.from).or_default().insert(&reference.to);
    }
    let findings = references
        .iter()
        .filter(|reference| reaches(&edges, &reference.to, &reference.from))
        .map(Reference::show);
    none(findings.collect(), "these references close a cycle: arrows point down, see STYLE");
}

#[test]
fn the_stages_do_not_import_each_other() {
    let is_stage = |module: &String| STAGES.contains(&module.as_str());
    let references = host_references();
    let findings = references.iter().filter(|reference| is_stage(&reference.from) && is_stage(&reference.to));
    none(findings.map(Reference::show).collect(), "only `turn` and `app` know more than one stage");
}

#[test]
fn generated_types_stay_in_the_plugin_module() {
    let mut findings = Vec::new();
    for file in host_sources() {
        if module_path(&file).first().is_some_and(|module| module != "plugin")
            || module_path(&file).is_empty()
        {
            findings.extend(at(&file, binding_names(&code_of(&read(&file)))));
        }
    }
    none(findings, "generated WIT types are converted in host/src/plugin and named nowhere else");
}

#[test]
fn every_rust_file_says_what_it_is() {
    let opens = |file: &String| read(file).starts_with("//!");
    let findings = files(&["rs"]).into_iter().filter(|file| !opens(file)).map(|file| format!("{file}:1"));
    none(
        findings.collect(),
        "open the file with `//!`: what it is, what it does not know, where to look next",
    );
}

#[test]
fn every_file_has_a_name_that_says_something() {
    const EMPTY: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];
    let stem = |file: &str| Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let findings = files(&["rs"]).into_iter().filter(|file| EMPTY.contains(&stem(file).as_str()));
    none(findings.collect(), "what has no name yet is not understood yet");
}

#[test]
fn modules_are_a_file_with_a_folder_beside_it() {
    let findings = files(&["rs"]).into_iter().filter(|file| file.ends_with("/mod.rs"));
    none(findings.collect(), "`foo.rs` with `foo/` beside it, never `foo/mod.rs`");
}

#[test]
fn our_crates_depend_in_one_direction() {
    let mut findings = Vec::new();
    for file in manifests() {
        let allowed = own_crates_allowed(&file);
        findings.extend(at(&file, own_crates(&read(&file), allowed)));
    }
    none(
        findings,
        "sdk on wit alone, plugins on sdk, host on gguf and never on sdk, gguf and xtask on nothing; bench on all",
    );
}

#[test]
fn no_unwanted_crate_is_in_the_lock_file() {
    none(
        at("Cargo.lock", unwanted_crates(&read("Cargo.lock"))),
        "ring is the only TLS, serde-saphyr the only YAML",
    );
}

#[test]
fn every_dependency_has_a_reason() {
    let root = read("Cargo.toml");
    let mut findings = Vec::new();
    for file in manifests() {
        findings.extend(at(&file, dependencies_without_reason(&read(&file), &root)));
    }
    none(findings, "say in a comment above or beside it why this dependency is there");
}

#[test]
fn no_path_of_a_developers_machine_is_committed() {
    let checkout = root().to_string_lossy().into_owned();
    let mut findings = Vec::new();
    for file in files(&TEXT) {
        if !is_tidy(&file) {
            findings.extend(at(&file, machine_paths(&read(&file), &checkout)));
        }
    }
    none(findings, "a path that exists on one machine only");
}

#[test]
fn what_is_left_to_do_says_why() {
    let mut findings = Vec::new();
    for file in files(&TEXT) {
        if !is_tidy(&file) {
            findings.extend(at(&file, bare_todos(&read(&file))));
        }
    }
    none(findings, "write `TODO: ` and the reason, in a sentence, or do it");
}

#[test]
fn a_planted_vendor_is_found() {
    assert_eq!(
        lines(vendors("let a = 1;\n// for DingTalk\nlet qq_id = 2;\nfn send_wecom() {}\n")),
        [2, 3, 4]
    );
    assert_eq!(lines(vendors("\"Lark\"\nSLACK_TOKEN\nWeChatUser\n")), [1, 2, 3]);
    assert!(vendors("skylark slackening aqqb base64 telegraph slack").len() == 1);
}

#[test]
fn a_planted_cycle_is_found_however_it_is_written() {
    let modules: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    let to = |file: &str, text: &str| -> Vec<(String, usize)> {
        let found = references(file, &code_of(text), &modules);
        found.into_iter().map(|reference| (reference.to, reference.line)).collect()
    };
    let b = |line| vec![("b".to_owned(), line)];
    assert_eq!(to("host/src/a.rs", "\nuse crate::b::Thing;"), b(2));
    assert_eq!(to("host/src/a.rs", "use crate::{a::X,\n  b::{Y, c}};"), b(2));
    assert_eq!(to("host/src/a.rs", "use super::b;"), b(1));
    assert_eq!(to("host/src/a/deep.rs", "use super::super::b;"), b(1));
    assert_eq!(to("host/src/a/deep.rs", "use super::b;"), []);
    assert_eq!(
        to("host/src/a.rs", "// crate::b\nlet s = \"crate::b\"; let c = '\"'; let d = crate::b::X;"),
        b(2)
    );
    assert_eq!(to("host/src/a.rs", "#[cfg(test)]\nmod tests {\n  use crate::c;\n}\nuse crate::b;"), b(5));
    assert_eq!(
        to("host/src/a.rs", "#[cfg(test)]\nfn f(_: [u8; 2]) {\n  crate::c::g()\n}\nuse crate::b;"),
        b(5)
    );
    assert_eq!(to("host/src/a.rs", "#[cfg(test)]\nmod tests;\nuse crate::b;"), b(3));
    assert_eq!(to("host/src/a.rs", "pub(crate) fn f<'a>(x: &'a str) -> crate::b::T<'a> {}"), b(1));

    let edges = BTreeMap::from([("a", BTreeSet::from(["b"])), ("b", BTreeSet::from(["c"]))]);
    assert!(reaches(&edges, "a", "c") && !reaches(&edges, "c", "a"));
}

#[test]
fn a_planted_generated_type_is_found() {
    assert_eq!(lines(binding_names("\nuse crate::plugin::bindings::Message;\nlet key_bindings = 1;")), [2]);
    assert_eq!(lines(binding_names("use crate::plugin::{bindings, Other};")), [1]);
}

#[test]
fn a_planted_dependency_is_found() {
    let root = "[workspace.dependencies]\n# why\nserde = \"1\"\n\nown = { path = \"own\" }\nbare = \"1\"\n";
    let file = "[package]\nname = \"x\"\n\n[dependencies]\nserde.workspace = true\nown.workspace = true\n\
                bare.workspace = true\n# one reason\nb = \"1\"\nc = \"1\"\n\nd = \"1\"\ne = \"1\" # beside\n\
                [target.'cfg(unix)'.dependencies]\nf = { version = \"1\", features = [\n  \"x\",\n] }\n\
                [dev-dependencies]\ng = \"1\"\n\n# y\n[build-dependencies]\ni = \"1\"\n\n[dependencies.h]\nversion = \"1\"\n";
    assert_eq!(lines(dependencies_without_reason(file, root)), [7, 12, 15, 25]);
}

#[test]
fn a_planted_crate_is_found() {
    let lock =
        "[[package]]\nname = \"serde_yaml\"\nversion = \"0.9\"\n\n[[package]]\nname = \"openssl-probe\"\n";
    assert_eq!(lines(unwanted_crates(lock)), [2]);
    let sdk = "[dependencies]\nparlor = \"1\"\n[dev-dependencies]\nhost = { package = \"parlor-gguf\" }\n";
    assert_eq!(lines(own_crates(sdk, &[])), [2, 4]);
    assert_eq!(lines(own_crates("[dependencies]\nparlor-sdk.workspace = true\n", &["parlor-sdk"])), []);
}

#[test]
fn a_planted_path_and_a_bare_todo_are_found() {
    let text = "see /home/me/x\n\"/Users/me\"\na/home/b https://x.example/home/\n`/srv/me/parlor/host`\n/srv/me/other\n";
    assert_eq!(lines(machine_paths(text, "/srv/me/parlor")), [1, 2, 4]);
    let text =
        "// TODO\n// TODO: x\n// TODO: the platform has no key for this yet\nMETODO todos\n# FIXME later\n";
    assert_eq!(lines(bare_todos(text)), [1, 2, 5]);
}
