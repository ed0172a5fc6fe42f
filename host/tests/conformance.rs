//! The conformance suite: every plugin that ships keeps every case of its kind, whatever it is written in; and
//! each case is broken by a plugin that does wrong what the case looks for.
//!
//! The wrong-doers are `guests/wayward` and `guests/truant`: the same code with another setting for each sin.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use parlor::conformance::{self, Bench, Case};
use parlor::plugin::manifest::{Kind, Place, Placeholder, Spot};
use parlor::trial::Trial;
use serde_json::json;

/// What a sinner does, and the case that tells.
const ADAPTER_SINS: [(&str, &str); 27] = [
    ("brings nothing", "a golden request brings a message that says who wrote what, and where"),
    ("takes ids from the clock", "the same request a second later is the same message"),
    ("believes everybody", "a request that was made with other secrets is refused as unauthorized"),
    (
        "reads headers that nobody signs",
        "a request without one of its headers, or with another value in it, is refused or means the same",
    ),
    ("chokes on other methods", "a request of another method, path or query is answered"),
    ("believes that all is JSON", "a body that is cut short or has one byte changed is answered"),
    ("takes anything", "a body that is no request of the platform's brings no message"),
    ("waits for others", "receiving asks for neither HTTP nor memory"),
    ("dawdles", "receiving a megabyte takes no longer than the manifest's time"),
    ("changes ids", "enriching hands a message on, or tells of trouble that passes"),
    ("locates anything", "locating what there is not is told as a fault"),
    ("says a short thing twice", "a short reply reaches the platform whole, by one message"),
    ("sends one part", "a long reply reaches it in parts that it takes, none of it lost, in its order"),
    ("loses the end", "a long reply reaches it in parts that it takes, none of it lost, in its order"),
    ("sends the end first", "a long reply reaches it in parts that it takes, none of it lost, in its order"),
    ("sends two at once", "a delivery has one outward effect a call at most"),
    ("goes one back", "a delivery that goes on from any checkpoint sends what is left, and nothing twice"),
    ("leaves out what was shown", "a reply that grew is finished from the last checkpoint, and whole"),
    ("does not wait", "a platform that says to slow down is told as throttled, with its wait"),
    ("gives up unreached", "a platform that is not reached is told as unavailable"),
    (
        "gives up a broken line",
        "a connection that breaks behind the request is told as trouble that may pass",
    ),
    ("believes the platform", "whatever the platform answers, a call ends with an answer"),
    ("trusts checkpoints", "an address or checkpoint of somebody else's is answered"),
    ("cuts bytes", "whatever people and models write is delivered"),
    ("has a place in the text", "text with placeholders in it takes no secret along"),
    ("presents a half", "a reply in the response is whole, and an inquiry that nobody knows is answered"),
    ("keeps secrets badly", "no secret is in what the plugin answers, keeps or logs"),
];
const PIPELINE_SINS: [(&str, &str); 11] = [
    (
        "never has enough",
        "a message comes to an answer, to silence or to the next stage within eight questions",
    ),
    ("asks nothing", "what it asks has something to answer and names bounds that a model knows"),
    ("cuts bytes", "whatever people write, a step comes of it"),
    ("fills its memory", "a megabyte of text is answered or refused"),
    ("fears attachments", "a long history, quotes, attachments and other people's talk are answered"),
    ("says how it was cut", "text that streams by comes to the same reply however it is cut"),
    ("counts on words", "whatever a model writes, a reply comes of it"),
    ("blames itself", "a model that fails is no defect of the stage"),
    ("counts on a stop", "a model that is silent, cut off or calls a tool that nobody offered is answered"),
    ("counts on its order", "calls out of their order end with an answer"),
    ("keeps secrets badly", "no secret is in what it asks, says or logs"),
];

fn folder(variable: &str) -> PathBuf {
    PathBuf::from(
        std::env::var_os(variable)
            .unwrap_or_else(|| panic!("`{variable}` is not set; run `cargo xtask test`")),
    )
}

/// A folder that is kept from run to run, so that what is unchanged is not compiled again.
fn kept(plugin: &Path) -> PathBuf {
    let name = plugin.file_stem().unwrap();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance").join(name)
}

async fn loaded(plugin: &Path) -> Trial {
    let compiler = PathBuf::from(env!("CARGO_BIN_EXE_parlor"));
    Trial::new(plugin, &kept(plugin), compiler).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Runs every case of its kind, shows the list, and names what failed.
async fn failures(plugin: &Path) -> Vec<String> {
    let bench = Bench::new(loaded(plugin).await.release().clone());
    let mut failures = Vec::new();
    for case in conformance::cases_of(bench.manifest.kind) {
        let outcome = case.try_on(&bench).await;
        println!("{}: {}: {outcome:?}", plugin.display(), case.name);
        failures.extend(outcome.err().map(|what| format!("{}: {what}", case.name)));
    }
    failures
}

async fn keeps_all(plugins: impl IntoIterator<Item = PathBuf>) {
    for plugin in plugins {
        let failures = failures(&plugin).await;
        assert!(failures.is_empty(), "{}:\n{}", plugin.display(), failures.join("\n"));
    }
}

/// Every built plugin of the folder, so that none is left out.
fn shipped(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let plugins: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "wasm")).collect();
    assert!(!plugins.is_empty(), "{} is empty", folder.display());
    plugins
}

#[tokio::test]
async fn the_plugins_in_rust_keep_the_contract() {
    keeps_all(shipped(&folder("PARLOR_TEST_PLUGINS"))).await;
}

#[tokio::test]
async fn the_plugins_in_other_languages_keep_the_contract() {
    keeps_all(shipped(&folder("PARLOR_TEST_SCRIPTED"))).await;
}

/// The guest, sinning as its setting says.
fn sinner(trial: &Trial, sin: &str) -> Bench {
    let mut bench = Bench::new(trial.release().clone());
    bench.manifest.trial.settings.insert("sin".to_owned(), json!(sin));
    if sin == "has a place in the text" {
        let what = Placeholder::Secret("word".to_owned());
        bench.manifest.egress[0].places.push(Place { what, at: Spot::Json("/text".to_owned()) });
    }
    bench
}

fn case(kind: Kind, name: &str) -> &'static Case {
    let mut cases = conformance::cases_of(kind).into_iter();
    cases.find(|case| case.name == name).unwrap_or_else(|| panic!("there is no case `{name}`"))
}

/// Without a sin every case passes, with each sin its case does not, and no case is without a sinner.
async fn tells_sins(guest: &str, kind: Kind, sins: &[(&str, &str)]) {
    let trial = loaded(&folder("PARLOR_TEST_GUESTS").join(format!("{guest}.wasm"))).await;
    let innocent = Bench::new(trial.release().clone());
    for case in conformance::cases_of(kind) {
        let outcome = case.try_on(&innocent).await;
        assert_eq!(outcome, Ok(()), "{}", case.name);
        assert!(sins.iter().any(|(_, name)| *name == case.name), "nobody sins against: {}", case.name);
    }
    for (sin, name) in sins {
        let told = case(kind, name).try_on(&sinner(&trial, sin)).await;
        assert!(told.is_err(), "`{name}` is passed by one who {sin}");
        println!("{sin}: {}", told.unwrap_err());
    }
}

#[tokio::test]
async fn each_case_of_adapters_tells_who_breaks_it() {
    tells_sins("wayward", Kind::Adapter, &ADAPTER_SINS).await;
}

#[tokio::test]
async fn each_case_of_pipelines_tells_who_breaks_it() {
    tells_sins("truant", Kind::Pipeline, &PIPELINE_SINS).await;
}

fn plugin_test(plugin: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parlor"))
        .args(["plugin", "test", "--conformance"])
        .arg(plugin)
        .output()
        .unwrap()
}

/// What a third party types.
#[test]
fn the_command_prints_the_list_and_fails_with_it() {
    let output = plugin_test(&folder("PARLOR_TEST_PLUGINS").join("assistant.wasm"));
    let told = String::from_utf8_lossy(&output.stdout);
    let wanted: String =
        conformance::cases_of(Kind::Pipeline).iter().map(|case| format!("ok    {}\n", case.name)).collect();
    assert!(output.status.success() && told.contains(&wanted), "{told}");
    // It has no golden request at all.
    let output = plugin_test(&folder("PARLOR_TEST_GUESTS").join("unruly.wasm"));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("FAIL  ") && told.contains("no `[[selftest]]` expects a message"), "{told}");
}
