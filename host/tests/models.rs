//! `parlor model pull|list|verify`, as typed, against a hub on this machine: ranges, dropped lines, wrong checksums.
#![cfg(unix)]

#[path = "models/hub.rs"]
mod hub;
#[path = "models/weights.rs"]
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use hub::{FILE, Hub, Mishap, sha256};
use serde_json::Value;
use tempfile::TempDir;
use weights::gguf;

/// Far more than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "hf_secret-canary";
const ADDRESS: &str = "hf:Org/Repo/m-q8_0.gguf";

/// A folder to pull into, and the hub to pull from.
struct Place {
    folder: TempDir,
    hub: Hub,
}

impl Place {
    async fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap(), hub: Hub::with(gguf(0)).await }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("models").join(FILE)
    }

    fn part(&self) -> PathBuf {
        self.file().with_file_name(format!("{FILE}.part"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
        command
            .arg("--config")
            .arg(self.folder.path().join("parlor.yaml"))
            .args(arguments)
            .stdin(Stdio::null());
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.hub.origin).env("MODELSCOPE_DOMAIN", &self.hub.origin);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        output(self.command(arguments)).await
    }

    async fn pull(&self, more: &[&str]) -> Output {
        self.run(&[&["model", "pull", ADDRESS], more].concat()).await
    }

    fn leftovers(&self) -> Vec<String> {
        let folder = self.folder.path().join("models");
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// The hub runs on this thread: it goes on while the command does.
async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(output: &Output) -> String {
    let told = told(output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    told
}

fn fails(output: &Output, parts: &[&str]) -> String {
    let told = told(output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in: {told}");
    }
    told
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = tokio::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn bytes_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_pulled_checked_and_told_how_to_be_used() {
    let place = Place::new().await;
    place.hub.wants_token(TOKEN);
    let mut command = place.command(&["model", "pull", ADDRESS]);
    command.env("HF_TOKEN", TOKEN);
    let told = succeeds(&output(command).await);
    assert_eq!(fs::read(place.file()).unwrap(), gguf(0));
    let digest = sha256(&gguf(0));
    for part in
        ["the one that the hub names", "  m-q8_0:\n", "path: ./models/m-q8_0.gguf", "(100 %)", &digest]
    {
        assert!(told.contains(part), "{part:?} is missing in: {told}");
    }
    assert!(!told.contains("canary"), "{told}");
    assert_eq!(place.leftovers(), [FILE.to_owned(), format!("{FILE}.sha256")]);
    assert!(place.hub.at_hub().iter().all(|seen| seen.header("authorization").is_some()));
    let stored = place.hub.at_store();
    assert!(
        stored.iter().all(|seen| seen.header("authorization").is_none()),
        "the token went to another host"
    );
    assert_eq!(stored.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_hub_s_list_of_files_tells_the_checksum() {
    let place = Place::new().await;
    let pulled = place.run(&["model", "pull", "ms:Org/Repo/m-q8_0.gguf", "--json"]).await;
    let told: Value = serde_json::from_slice(&pulled.stdout).unwrap();
    assert_eq!((&told["checked_against"], &told["sha256"]), (&"hub".into(), &sha256(&gguf(0)).into()));
    place.hub.says(Some(sha256(b"another")));
    fs::remove_file(place.file()).unwrap();
    fails(&place.run(&["model", "pull", "ms:Org/Repo/m-q8_0.gguf"]).await, &["it was deleted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_line_is_taken_up_where_it_broke() {
    let place = Place::new().await;
    place.hub.mishaps(&[Mishap::Drops(300 << 10), Mishap::Drops(200 << 10)]);
    let told = succeeds(&place.pull(&[]).await);
    assert!(told.contains("the line dropped") && told.contains("trying again"), "{told}");
    assert_eq!(fs::read(place.file()).unwrap(), gguf(0));
    let stored = place.hub.at_store();
    assert_eq!(stored.len(), 3);
    for again in &stored[1..] {
        let range = again.header("range").expect("the rest alone is asked for");
        assert_ne!(range, "bytes=0-");
        assert!(again.header("if-range").is_some(), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_goes_on_where_a_killed_one_stopped() {
    let place = Place::new().await;
    place.hub.mishaps(&[Mishap::Stalls(400 << 10)]);
    let child = begun(&place);
    eventually("a part of the file is there", || bytes_of(&place.part()) >= 300 << 10).await;
    ended(child);
    let there = bytes_of(&place.part());
    let told = succeeds(&place.pull(&[]).await);
    assert!(told.contains("are there already"), "{told}");
    assert_eq!(fs::read(place.file()).unwrap(), gguf(0));
    let last = place.hub.at_store().pop().unwrap();
    assert_eq!(last.header("range"), Some(format!("bytes={there}-").as_str()));
}

fn begun(place: &Place) -> Child {
    let mut command = place.command(&["model", "pull", ADDRESS]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn ended(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_meanwhile_begins_anew() {
    let place = Place::new().await;
    place.hub.mishaps(&[Mishap::Stalls(400 << 10)]);
    let child = begun(&place);
    eventually("a part of the file is there", || bytes_of(&place.part()) >= 300 << 10).await;
    ended(child);
    place.hub.replace(gguf(7));
    let told = succeeds(&place.pull(&[]).await);
    assert!(told.contains("beginning anew"), "{told}");
    assert_eq!(fs::read(place.file()).unwrap(), gguf(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_of_one_file_do_not_mix() {
    let place = Place::new().await;
    place.hub.mishaps(&[Mishap::Stalls(400 << 10)]);
    let child = begun(&place);
    eventually("a part of the file is there", || bytes_of(&place.part()) >= 300 << 10).await;
    fails(&place.pull(&[]).await, &["another download of", "wait for its end"]);
    ended(child);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_never_becomes_a_file() {
    let place = Place::new().await;
    let wanted = "0".repeat(64);
    let found = sha256(&gguf(0));
    fails(&place.pull(&["--sha256", &wanted]).await, &[&wanted, &found, "it was deleted"]);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    place.hub.says(Some(sha256(b"what the hub was told")));
    fails(&place.pull(&[]).await, &[&found, "it was deleted"]);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    let told = succeeds(&place.pull(&["--sha256", &found]).await);
    assert!(told.contains("is the given one"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_repository_and_its_login_page_name_the_token() {
    let place = Place::new().await;
    place.hub.mishaps(&[Mishap::Answers {
        status: 200,
        headers: vec![("content-type", "text/html".to_owned())],
        body: "<!DOCTYPE html><html><body>Sign in</body></html>",
    }]);
    fails(&place.pull(&[]).await, &["a web page and no model", "`HF_TOKEN`"]);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    place.hub.wants_token(TOKEN);
    fails(&place.pull(&[]).await, &["status 401 (GatedRepo)", "accept its licence", "`HF_TOKEN`"]);
    let mut command = place.command(&["model", "pull", ADDRESS]);
    command.env("HF_TOKEN", "hf_other-canary");
    let told = fails(&output(command).await, &["the token in `HF_TOKEN` may not read"]);
    assert!(!told.contains("canary"), "{told}");
    fails(&place.run(&["model", "pull", "hf:Org/Repo/other.gguf"]).await, &["401"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_told_as_such() {
    let place = Place::new().await;
    let told = place.run(&["model", "pull", "hf:Org/Repo/other.gguf"]).await;
    fails(&told, &["there is no such file", "404", "list of files"]);
    for address in ["hf:Org/Repo", "hf:Org/Repo/m.safetensors", "http://models.example/m.gguf"] {
        fails(&place.run(&["model", "pull", address]).await, &[address.rsplit(['/', ':']).next().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_for_which_there_is_no_room_is_not_begun() {
    let place = Place::new().await;
    place.hub.mishaps(&[Mishap::Claims(1 << 60)]);
    fails(&place.pull(&[]).await, &["the file needs 1152922 TB", "free", "`--to`"]);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_given_the_time_that_it_asks_for() {
    let place = Place::new().await;
    let busy = |seconds: &str| Mishap::Answers {
        status: 503,
        headers: vec![("retry-after", seconds.to_owned())],
        body: "",
    };
    place.hub.mishaps(&[busy("1")]);
    let told = succeeds(&place.pull(&[]).await);
    assert!(told.contains("answers with status 503; trying again in 1.0 s"), "{told}");
    fs::remove_file(place.file()).unwrap();
    place.hub.mishaps(&[busy("86400")]);
    fails(&place.pull(&[]).await, &["gave up", "asks to wait 86400 s", "run the same command again"]);
    assert!(!place.part().exists(), "nothing of it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_is_not_fetched_again_nor_written_over() {
    let place = Place::new().await;
    succeeds(&place.pull(&[]).await);
    assert!(succeeds(&place.pull(&[]).await).contains("was there already"));
    assert_eq!(place.hub.at_store().len(), 1);
    fs::write(place.file(), gguf(9)).unwrap();
    fails(&place.pull(&[]).await, &["is there already and has another SHA-256", "`--to`"]);
    assert_eq!(fs::read(place.file()).unwrap(), gguf(9));
    let to = place.folder.path().join("elsewhere.gguf");
    succeeds(&place.pull(&["--to", to.to_str().unwrap()]).await);
    assert_eq!(fs::read(to).unwrap(), gguf(0));
}

#[cfg(feature = "native")]
#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_no_sound_model_is_refused_though_nobody_knows_its_checksum() {
    let place = Place::new().await;
    let mut cut = gguf(0);
    cut.truncate(cut.len() - 1000);
    place.hub.replace(cut);
    place.hub.says(None);
    fails(&place.pull(&[]).await, &["is truncated", "deleted"]);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[cfg(feature = "native")]
fn configure(place: &Place, sha256: &str) {
    let config = format!(
        "auth: {{ jwt_secret: of no use to anybody but long enough }}\nmodels:\n  local: {{ backend: gguf, path: ./models/{FILE}, \
         sha256: {sha256} }}\n  far: {{ backend: openai, endpoint: \"https://a.example/v1\", model: big }}\n"
    );
    fs::write(place.folder.path().join("parlor.yaml"), config).unwrap();
}

#[cfg(feature = "native")]
#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_what_is_configured_what_lies_there_and_what_is_verified() {
    let place = Place::new().await;
    succeeds(&place.pull(&[]).await);
    fs::copy(place.file(), place.file().with_file_name("other.gguf")).unwrap();
    configure(&place, &sha256(&gguf(0)));
    let list = async || -> Vec<Value> {
        let listed = place.run(&["model", "list", "--json"]).await;
        succeeds(&listed);
        serde_json::from_slice(&listed.stdout).unwrap()
    };
    let rows = list().await;
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(
        (&row("far")["backend"], &row("far")["place"]),
        (&"openai".into(), &"big at https://a.example/v1".into())
    );
    let local = row("local");
    assert_eq!((&local["architecture"], &local["quantisation"]), (&"llama".into(), &"Q8_0".into()));
    assert_eq!((&local["parameters"], &local["context_trained"]), (&262_144.into(), &4096.into()));
    assert_eq!((&local["bytes"], &local["state"]), (&gguf(0).len().into(), &"verified".into()));
    let other = rows.iter().find(|row| row["name"].is_null()).unwrap();
    assert!(other["place"].as_str().unwrap().ends_with("other.gguf"), "{other}");
    assert_eq!(other["state"], "not verified");
    configure(&place, &"0".repeat(64));
    assert_eq!(list().await[1]["state"], "another file than the configuration names");
    fs::write(place.file(), &gguf(0)[..5000]).unwrap();
    let rows = list().await;
    assert_eq!(rows[1]["state"], "broken");
    assert!(rows[1]["problem"].as_str().unwrap().contains("truncated"), "{rows:?}");
    let lines = succeeds(&place.run(&["model", "list"]).await);
    assert!(lines.contains("(not configured)") && lines.contains("Q8_0"), "{lines}");
}

#[cfg(feature = "native")]
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_or_truncated_file_does_not_verify() {
    let place = Place::new().await;
    fails(&place.run(&["model", "verify"]).await, &["there is no file of a model to verify"]);
    succeeds(&place.pull(&[]).await);
    let file = place.file();
    let verify = async |more: &[&str]| place.run(&[&["model", "verify"], more].concat()).await;
    assert!(succeeds(&verify(&[]).await).contains(&sha256(&gguf(0))));
    fails(&verify(&["nobody"]).await, &["`nobody` is neither a file nor a model"]);
    configure(&place, &sha256(&gguf(0)));
    succeeds(&verify(&["local"]).await);
    fs::write(&file, gguf(3)).unwrap();
    fails(
        &verify(&["local"]).await,
        &["FAIL", &sha256(&gguf(3)), &sha256(&gguf(0)), "fetch the model again"],
    );
    fs::write(&file, &gguf(0)[..100_000]).unwrap();
    fails(&verify(&[file.to_str().unwrap()]).await, &["is truncated"]);
    let told = verify(&["--json"]).await;
    let verdicts: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&verdicts[0]["ok"], told.status.code()), (&false.into(), Some(1)));
}
