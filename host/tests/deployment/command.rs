//! `parlor plugin …` at the door of a host that serves.

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::fickle;
use crate::{Stage, greedy};

impl Stage {
    /// `parlor plugin …` at this host's door.
    fn plugin(&self, arguments: &[&str]) -> Output {
        let door = self.host.admin_url("/");
        self.host.output(&[&["plugin"], arguments, &["--url", &door]].concat())
    }

    /// What a command that is done says on stdout.
    #[track_caller]
    fn does(&self, arguments: &[&str]) -> String {
        let output = self.plugin(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that fails with this code says on stderr.
    #[track_caller]
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.plugin(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A file to install, outside of the plugin folder.
    fn draft(&self, bytes: &[u8]) -> String {
        let path = self.host.folder().join("draft.wasm");
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The cells of the list's line about a release, by how it stands.
fn listed(list: &str, standing: &str) -> Option<Vec<String>> {
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    list.lines().map(cells).find(|cells: &Vec<String>| cells.iter().any(|cell| cell == standing))
}

#[tokio::test]
async fn the_command_line_brings_a_release_tries_it_and_goes_back() {
    let stage = Stage::start().await;
    let second = stage.draft(&fickle::release("second", "sound"));
    let told = stage.does(&["install", &second, "--weight", "30"]);
    assert!(told.contains("30 of a hundred") && told.contains("parlor plugin promote fickle"), "{told}");
    let list = stage.does(&["list"]);
    let stable = listed(&list, "stable").expect(&list);
    assert_eq!(stable[..3], ["fickle", "adapter", "0.1.0"], "{list}");
    assert_eq!(stable[5..], ["nobody trusted", "team"], "{list}");
    let candidate = listed(&list, "candidate, 30 %").expect(&list);
    let json: Value = serde_json::from_str(&stage.does(&["list", "--json"])).unwrap();
    let digest = json["plugins"][0]["deployment"]["candidate"]["digest"].as_str().unwrap();
    assert_eq!((candidate[3].as_str(), digest.len()), (&digest[..12], 64));
    assert!(stage.does(&["candidate", "fickle", "--shadow"]).contains("a shadow"));
    assert!(stage.does(&["candidate", "fickle", "--weight", "0"]).contains("0 of a hundred"));
    assert_eq!(stage.say("c1", "m1").await, "first");
    assert!(stage.does(&["promote", "fickle"]).contains(&digest[..12]));
    assert_eq!(stage.say("c1", "m2").await, "second");
    assert!(listed(&stage.does(&["list"]), "previous").is_some());
    assert!(stage.does(&["rollback", "fickle"]).contains(&stable[3]));
    assert_eq!(stage.say("c1", "m3").await, "first");
    let entries = stage.ask(Method::GET, "/audit", None).await.1.to_string();
    assert!(entries.contains("command line") && entries.contains("rollback"), "{entries}");
    for (command, why) in [("rollback", "no release before this one"), ("promote", "has no candidate")] {
        let told = stage.fails(1, &[command, "fickle"]);
        assert!(told.contains(why) && told.contains("parlor plugin list"), "{told}");
    }
    stage.does(&["install", &second, "--shadow"]);
    stage.does(&["candidate", "fickle", "--withdraw"]);
    assert_eq!(stage.deployment().await["candidate"], Value::Null);
    let told = stage.fails(1, &["candidate", "fickle", "--weight", "5"]);
    assert!(told.contains("no release on trial"), "{told}");
}

#[tokio::test]
async fn at_the_command_line_a_yes_is_to_what_was_seen() {
    let stage = Stage::start().await;
    let greedy = stage.draft(&greedy());
    let output = stage.plugin(&["install", &greedy]);
    let (told, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "it does not serve yet: {output:?}");
    assert!(told.contains("\n  + ") && told.contains("api.example.com"), "{told}");
    let list = stage.does(&["list"]);
    let digest = listed(&list, "waiting").expect(&list)[2].clone();
    assert!(error.contains(&format!("parlor plugin approve fickle {digest}")), "{error}");
    assert!(list.contains("api.example.com"), "{list}");
    for arguments in [&["approve", "fickle"][..], &["approve", "fickle", "0000"], &["approve", "fickle", ""]]
    {
        let told = stage.fails(1, arguments);
        assert!(told.contains(&digest), "{told}");
    }
    assert_eq!(stage.say("c1", "m1").await, "first");
    assert!(stage.does(&["approve", "fickle", &digest]).contains(&digest));
    assert_eq!(stage.say("c1", "m2").await, "greedy");
    stage.does(&["rollback", "fickle"]);
    let told = stage.fails(1, &["approve", "fickle", &digest]);
    assert!(told.contains("waits for a yes"), "{told}");
}

#[tokio::test]
async fn a_yes_that_comes_along_keeps_the_trial() {
    let stage = Stage::start().await;
    let greedy = stage.draft(&greedy());
    let told = stage.fails(1, &["install", &greedy, "--weight", "0"]);
    assert!(told.contains("--approve"), "{told}");
    stage.does(&["install", &greedy, "--weight", "0", "--approve"]);
    assert_eq!(stage.deployment().await["candidate"]["weight"], 0);
    assert_eq!(stage.say("c1", "m1").await, "first");
}

#[tokio::test]
async fn what_the_command_line_cannot_do_it_says() {
    let mut stage = Stage::start().await;
    let second = stage.draft(&fickle::release("second", "sound"));
    let viewer = stage.host.token_with(&["--role", "viewer"]);
    stage.does(&["list", "--token", &viewer]);
    for (token, status) in [(viewer.as_str(), "403"), ("no.token.atall", "401")] {
        for arguments in [&["promote", "fickle"][..], &["install", &second]] {
            let told = stage.fails(1, &[arguments, &["--token", token]].concat());
            assert!(told.contains(status) && told.contains("parlor token --role"), "{told}");
        }
    }
    let told = stage.fails(1, &["rollback", "nobody"]);
    assert!(told.contains("no such plugin") && told.contains("parlor plugin list"), "{told}");
    let text = stage.draft(b"no plugin at all");
    let told = stage.fails(1, &["install", &text]);
    assert!(told.contains("409") && told.contains("not a WebAssembly file"), "{told}");
    assert!(stage.fails(1, &["install", "none.wasm"]).contains("cannot read `none.wasm`"));
    stage.fails(2, &["install", &second, "--weight", "101"]);
    stage.fails(2, &["install", &second, "--weight", "5", "--shadow"]);
    stage.fails(2, &["candidate", "fickle"]);
    assert_eq!(stage.deployment().await["previous"], json!([]), "nothing was changed");
    let door = stage.host.admin_url("/");
    stage.host.kill();
    let output = stage.host.output(&["plugin", "list", "--url", &door]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("does not answer"), "{output:?}");
    assert!(told.contains("parlor serve") && told.contains("--url"), "{told}");
}

/// Without a name, the door and the token are the configuration's; with both there need be none.
#[tokio::test]
async fn the_command_line_finds_the_door_by_the_configuration() {
    let stage = Stage::start().await;
    let text = std::fs::read_to_string(stage.host.config_file()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let door = stage.host.admin_url("/");
    let address = door.trim_start_matches("http://").trim_end_matches('/');
    // As it would stand there if it were not the test's: the host chose the port.
    config["admin"]["listen"] = address.replace("127.0.0.1", "0.0.0.0").into();
    std::fs::write(stage.host.config_file(), config.to_string()).unwrap();
    let list = stage.host.output(&["plugin", "list"]);
    assert!(list.status.success() && String::from_utf8_lossy(&list.stdout).contains("fickle"), "{list:?}");
    config["admin"]["enabled"] = false.into();
    std::fs::write(stage.host.config_file(), config.to_string()).unwrap();
    let told = stage.host.output(&["plugin", "list"]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("admin.enabled"), "{told:?}");
    std::fs::remove_file(stage.host.config_file()).unwrap();
    let mut by_token = stage.host.command(&["plugin", "list", "--url", &door]);
    let list = by_token.env("PARLOR_ADMIN_TOKEN", &stage.admin).output().unwrap();
    assert!(list.status.success(), "{list:?}");
}
