//! `parlor plugin test`: the built adapters that ship, in the real host, against what the platforms' own SDKs made.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Where its sources are, and where the built one is.
fn places(adapter: &str) -> (&'static str, &'static str) {
    match adapter {
        "telegram" => ("scripted", "PARLOR_TEST_SCRIPTED"),
        _ => ("adapters", "PARLOR_TEST_PLUGINS"),
    }
}

fn plugin(name: &str) -> PathBuf {
    let (_, variable) = places(name);
    let folder =
        std::env::var(variable).unwrap_or_else(|_| panic!("`{variable}` is not set; run `cargo xtask test`"));
    Path::new(&folder).join(format!("{name}.wasm"))
}

fn fixture(adapter: &str, file: &str) -> PathBuf {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    plugins.join(places(adapter).0).join(adapter).join("tests/fixtures").join(file)
}

fn judge(adapter: &str, vectors: &Path) -> Output {
    let mut parlor = Command::new(env!("CARGO_BIN_EXE_parlor"));
    parlor.args(["plugin", "test"]).arg(plugin(adapter)).arg("--vectors").arg(vectors);
    parlor.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The rows of a file, changed, as a file of their own.
fn changed(file: &Path, change: impl FnOnce(&mut Vec<Value>)) -> tempfile::NamedTempFile {
    let mut vectors: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(vectors["vectors"].as_array_mut().unwrap());
    let new = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(new.path(), vectors.to_string()).unwrap();
    new
}

#[test]
fn every_row_of_the_shipped_adapters_comes_out_as_expected() {
    let files = [
        ("dingtalk", "dingtalk.json"),
        ("feishu", "feishu.json"),
        ("webhook", "generic.json"),
        ("telegram", "telegram.json"),
    ];
    // Rows about a door that this release does not have: Feishu's long connection.
    let skipped = |row: &Value| row["algo"] == "feishu-ws-pbbp2";
    for (adapter, file) in files {
        let file = fixture(adapter, file);
        let rows: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let rows = rows["vectors"].as_array().unwrap();
        let output = judge(adapter, &file);
        let told = text(&output);
        assert!(output.status.success(), "{told}");
        for row in rows {
            let (id, word) = (row["id"].as_str().unwrap(), if skipped(row) { "skip" } else { "ok  " });
            assert_eq!(
                told.matches(&format!("{word}  {id}  ")).count(),
                1,
                "one verdict on `{id}` in: {told}"
            );
        }
        let skips = rows.iter().filter(|row| skipped(row)).count();
        let counts = format!("{} passed, 0 failed, {skips} skipped", rows.len() - skips);
        assert!(told.contains(&counts), "{counts} in: {told}");
    }
}

#[test]
fn a_mismatch_is_named_and_fails() {
    let file = changed(&fixture("dingtalk", "dingtalk.json"), |rows| {
        rows.retain(|row| row["id"] == "cb-ok");
        rows[0]["expected"]["accept"] = json!(false);
    });
    let output = judge("dingtalk", file.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("FAIL  cb-ok  expected: refused  got: accepted (200)"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_signature_that_differs_from_the_one_sent_is_a_mismatch() {
    let file = changed(&fixture("dingtalk", "dingtalk.json"), |rows| {
        rows.retain(|row| row["id"] == "hmac-1");
        let url = rows[0]["expected"]["outgoing_url"].as_str().unwrap().replace("sign=D", "sign=E");
        rows[0]["expected"] = json!({ "outgoing_url": url });
    });
    let output = judge("dingtalk", file.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("FAIL  hmac-1  expected: https://"), "{}", text(&output));
}

/// What the host answered is compared too, not only that it accepted.
#[test]
fn a_challenge_that_is_answered_by_another_text_is_a_mismatch() {
    let file = changed(&fixture("feishu", "feishu.json"), |rows| {
        rows.retain(|row| row["id"] == "challenge-encrypted-no-signature");
        rows[0]["expected"]["response"]["challenge"] = json!("another");
    });
    let output = judge("feishu", file.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("expected: another  got: ajls384kdjx98XX"), "{}", text(&output));
}

/// HTTP knows no case in names, so neither may the rule that reads a row.
#[test]
fn a_row_may_write_the_names_of_its_headers_in_any_case() {
    for write in [str::to_lowercase, str::to_uppercase] {
        let file = changed(&fixture("feishu", "feishu.json"), |rows| {
            rows.retain(|row| row["id"] == "evt-body-spaced-json");
            let headers = rows[0]["inputs"]["headers"].as_object().unwrap();
            let renamed = headers.iter().map(|(name, value)| (write(name), value.clone()));
            rows[0]["inputs"]["headers"] = Value::Object(renamed.collect());
        });
        let output = judge("feishu", file.path());
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn an_algorithm_that_nobody_knows_fails() {
    let file = changed(&fixture("webhook", "generic.json"), |rows| {
        rows.truncate(1);
        rows[0]["algo"] = json!("no-such-scheme");
    });
    let output = judge("webhook", file.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("unknown algo `no-such-scheme`"), "{}", text(&output));
}
