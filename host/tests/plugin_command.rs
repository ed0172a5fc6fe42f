//! `parlor plugin …`: what its author and its operator type, and what they read.

use std::path::Path;
use std::process::{Command, Output};

use parlor::plugin::package::Package;
use parlor::plugin::sections;
use parlor::plugin::signature::{self, Trust};
use serde_json::{Value, json};

const MANIFEST: &str = r#"
name = "hush"
version = "1.2.3"
kind = "pipeline"
contract = "0.1"
license = "MIT"
description = "Packed by a test"
"#;

/// A folder that commands run in, with a plugin that nobody signed and a key pair without a password.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let guests = std::env::var("PARLOR_TEST_GUESTS")
            .expect("`PARLOR_TEST_GUESTS` names no folder of built test guests: run `cargo xtask test`");
        let desk = Desk(tempfile::tempdir().unwrap());
        std::fs::copy(Path::new(&guests).join("hush.wasm"), desk.path().join("hush.wasm")).unwrap();
        desk
    }

    fn with_keys() -> Desk {
        let desk = Desk::new();
        desk.does("sign --generate --no-password --key a.key");
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    fn public_key(&self) -> String {
        String::from_utf8(self.read("a.pub")).unwrap().lines().nth(1).unwrap().to_owned()
    }

    fn configure(&self, plugins: &Value) {
        let config =
            json!({ "auth": { "jwt_secret": "of no use to anybody, but long enough" }, "plugins": plugins });
        self.write("parlor.yaml", config.to_string());
    }

    fn run(&self, args: &str) -> Output {
        let mut parlor = Command::new(env!("CARGO_BIN_EXE_parlor"));
        parlor.arg("plugin").args(args.split(' ')).current_dir(self.path());
        parlor.env_remove("PARLOR_CONFIG").env("MINISIGN_CONFIG_DIR", self.path().join("home"));
        parlor.output().unwrap()
    }

    /// What a command that is done says on stdout.
    fn does(&self, args: &str) -> String {
        let output = self.run(args);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{args}: {told}{}", String::from_utf8_lossy(&output.stderr));
        told
    }

    /// What a command that fails with this code says on stderr.
    fn fails(&self, code: i32, args: &str) -> String {
        let output = self.run(args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args}: {told}");
        told
    }
}

#[track_caller]
fn assert_told(told: &str, wanted: &[&str]) {
    for words in wanted {
        assert!(told.contains(words), "`{words}` is not in: {told}");
    }
}

#[test]
fn a_key_pair_is_made_for_this_user_alone_and_never_overwritten() {
    let desk = Desk::new();
    let told = desk.does("sign --generate --no-password --key keys/a.key");
    let public = String::from_utf8(desk.read("keys/a.pub")).unwrap();
    let key = public.lines().nth(1).unwrap();
    assert_told(
        &told,
        &["secret key  keys/a.key", "public key  keys/a.pub", &format!("trusted_keys: [\"{key}\"]")],
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(desk.path().join("keys/a.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let secret = desk.read("keys/a.key");
    assert_told(
        &desk.fails(1, "sign --generate --no-password --key keys/a.key"),
        &["is there already", "--key"],
    );
    assert_eq!(desk.read("keys/a.key"), secret);
    // A password is wanted, and nobody is there to give one.
    assert_told(
        &desk.fails(1, "sign --generate --key b.key"),
        &["no terminal", "--password-file", "--no-password"],
    );
    assert!(!desk.path().join("b.key").exists());
    // minisign's own place is where it is looked for.
    desk.does("sign --generate --no-password");
    assert!(desk.path().join("home/minisign.key").is_file());
    desk.does("sign hush.wasm");
}

#[test]
fn a_file_is_signed_in_its_place_and_verified() {
    let desk = Desk::with_keys();
    let body = desk.read("hush.wasm");
    let key = desk.public_key();
    let told = desk.does("sign hush.wasm --key a.key");
    assert_told(&told, &["hush.wasm: signed by", "hush 0.1.0, 20", &key, "plugins.trusted_keys"]);
    assert_eq!(signature::split(&desk.read("hush.wasm")).unwrap().unwrap().0, body);
    for named in [key.as_str(), "a.pub"] {
        assert_told(&desk.does(&format!("verify hush.wasm --key {named}")), &["signed by", "hush 0.1.0"]);
    }
    let json: Value = serde_json::from_str(&desk.does("verify hush.wasm --key a.pub --json")).unwrap();
    assert_eq!(json["state"], "signed");
    // With a configuration its keys count, whatever it lets in.
    assert_told(
        &desk.fails(1, "verify hush.wasm"),
        &["no key to verify with", "--key", "plugins.trusted_keys"],
    );
    desk.configure(&json!({ "trusted_keys": [key], "allow_unsigned": true }));
    desk.does("verify hush.wasm");
    desk.write("plain.wasm", &body);
    assert_told(&desk.fails(1, "verify plain.wasm"), &["not signed", "parlor plugin sign"]);
}

#[test]
fn a_signed_file_is_signed_anew_only_if_asked() {
    let desk = Desk::with_keys();
    desk.does("sign hush.wasm --key a.key --comment first");
    let told = desk.fails(1, "sign hush.wasm --key a.key --comment second");
    assert_told(&told, &["signed already", "first", "--replace"]);
    desk.does("sign hush.wasm --key a.key --comment second --replace -o other.wasm");
    assert_told(&desk.does("verify other.wasm --key a.pub"), &["second"]);
    assert_told(&desk.does("verify hush.wasm --key a.pub"), &["first"]);
}

#[test]
fn what_cannot_be_signed_says_why() {
    let desk = Desk::with_keys();
    desk.write("text.wasm", "no component");
    assert_told(&desk.fails(1, "sign text.wasm --key a.key"), &["`text.wasm`", "not a WebAssembly file"]);
    assert_told(&desk.fails(1, "sign none.wasm --key a.key"), &["cannot read `none.wasm`"]);
    assert_told(&desk.fails(1, "sign hush.wasm"), &["minisign.key", "--generate", "--key"]);
    assert_told(&desk.fails(1, "sign hush.wasm --key a.pub"), &["no minisign secret key"]);
    assert_told(&desk.fails(1, "sign hush.wasm --signature a.pub"), &["its signature cannot be read"]);
    assert_told(&desk.fails(2, "sign"), &["<FILE>"]);
}

#[test]
fn a_component_of_any_tool_is_packed() {
    let desk = Desk::with_keys();
    // As another language's tools leave it: without our sections. Those inside of a module stay, and do not count.
    let bare: Vec<u8> = bare(&desk.read("hush.wasm"));
    desk.write("app.wasm", &bare);
    assert_told(&desk.fails(1, "pack app.wasm"), &["there is no `plugin.toml`", "--manifest"]);
    desk.write("plugin.toml", MANIFEST);
    let told = desk.does("pack app.wasm -o packed.wasm");
    assert_told(&told, &["packed.wasm: the plugin hush 1.2.3", "not signed", "parlor plugin sign"]);
    assert_eq!(desk.read("app.wasm"), bare);
    let package = Package::read(&desk.path().join("packed.wasm"), &Trust::anybody()).unwrap();
    assert_eq!(package.manifest.description, "Packed by a test");
    // Packed once more it has one of each, the new one.
    desk.write("plugin.toml", MANIFEST.replace("1.2.3", "1.2.4"));
    desk.does("pack packed.wasm");
    let packed = desk.read("packed.wasm");
    let names = sections::outermost(&packed).unwrap().into_iter().filter_map(|section| section.name);
    let own: Vec<&str> = names.filter(|name| name.starts_with("parlor:")).collect();
    assert_eq!(own, ["parlor:contract", "parlor:manifest"]);
    assert_eq!(package.bytes.len(), packed.len());
    let json: Value = serde_json::from_str(&desk.does("pack packed.wasm --json")).unwrap();
    assert_eq!(json["version"], "1.2.4");
}

/// The component without our sections around it.
fn bare(bytes: &[u8]) -> Vec<u8> {
    let sections = sections::outermost(bytes).unwrap();
    let own = |name: Option<&str>| name.is_some_and(|name| name.starts_with("parlor:"));
    let kept = sections.iter().filter(|section| !own(section.name));
    let mut bare = bytes[..8].to_vec();
    kept.for_each(|section| bare.extend_from_slice(&bytes[section.range.clone()]));
    bare
}

#[test]
fn a_signed_file_is_packed_only_if_asked() {
    let desk = Desk::with_keys();
    desk.write("plugin.toml", MANIFEST);
    desk.does("sign hush.wasm --key a.key");
    let signed = desk.read("hush.wasm");
    assert_told(&desk.fails(1, "pack hush.wasm"), &["is signed", "--unsign"]);
    assert_eq!(desk.read("hush.wasm"), signed);
    desk.does("pack hush.wasm --unsign");
    assert!(signature::split(&desk.read("hush.wasm")).unwrap().is_none());
}

#[test]
fn what_no_host_could_load_is_not_packed() {
    let desk = Desk::new();
    desk.write("plugin.toml", MANIFEST.replace("\"pipeline\"", "\"adapter\""));
    assert_told(
        &desk.fails(1, "pack hush.wasm -o new.wasm"),
        &["calls it an adapter, but it does not export"],
    );
    desk.write("plugin.toml", MANIFEST.replace("kind", "kynd"));
    assert_told(&desk.fails(1, "pack hush.wasm -o new.wasm"), &["plugin.toml: line 4: unknown key `kynd`"]);
    desk.write("module.wasm", b"\0asm\x01\0\0\0");
    desk.write("plugin.toml", MANIFEST);
    assert_told(&desk.fails(1, "pack module.wasm -o new.wasm"), &["a core module, not a component"]);
    assert!(!desk.path().join("new.wasm").exists());
}

const ASKING: &str = r#"
[limits]
memory = "32MiB"
[[secrets]]
name = "key"
why = "opens the door"
uses = ["egress"]
public-until = ":"
[[egress]]
host = "api.example.com"
methods = ["POST"]
places = ["secret:key@header:authorization"]
rate = "20/1m"
"#;

#[test]
fn check_says_what_a_file_may_do_and_whether_it_would_serve() {
    let desk = Desk::with_keys();
    let told = desk.does("check hush.wasm");
    assert_told(
        &told,
        &[
            "hush 0.1.0, a pipeline",
            "anybody may have made it",
            "log: writes lines into",
            "it would serve here",
        ],
    );
    assert_told(&told, &["signatures were not judged", "`parlor.yaml`"]);
    desk.configure(&json!({ "trusted_keys": [desk.public_key()] }));
    let refused = desk.run("check hush.wasm");
    assert_eq!(refused.status.code(), Some(1));
    // What it would be allowed is told all the same.
    assert_told(&String::from_utf8_lossy(&refused.stdout), &["hush 0.1.0, a pipeline", "egress     none"]);
    assert_told(&String::from_utf8_lossy(&refused.stderr), &["would not serve here", "not signed"]);
    desk.does("sign hush.wasm --key a.key");
    assert_told(&desk.does("check hush.wasm"), &["by the trusted key", "it would serve here"]);
    desk.write("text.wasm", "no component");
    assert_told(&desk.fails(1, "check text.wasm"), &["not a WebAssembly file"]);
}

#[test]
fn check_compares_two_releases() {
    let desk = Desk::new();
    desk.write("plugin.toml", format!("{MANIFEST}{ASKING}"));
    desk.does("pack hush.wasm -o new.wasm");
    let told = desk.does("check new.wasm --against hush.wasm");
    assert_told(
        &told,
        &[
            "`key` for egress, public up to its first `:`: opens the door",
            "POST to `https://api.example.com/`, 20/1m of one limit key",
            "with the secret `key` in the header `authorization`",
            "it asks for more",
            "+ uses the secret `key` for egress: opens the door",
            "+ sees the secret `key` up to its first `:` in what is answered",
            "+ sends POST to `https://api.example.com/`",
            "+ takes 32 MiB of memory, so far 16 MiB",
        ],
    );
    assert_told(&desk.does("check hush.wasm --against new.wasm"), &["asks for nothing more"]);
    let json: Value = serde_json::from_str(&desk.does("check new.wasm --against hush.wasm --json")).unwrap();
    assert_eq!((&json["serves"], json["asks_for_more"].as_array().unwrap().len()), (&json!(true), 5));
    assert_eq!(json["manifest"]["egress"][0]["to"], "https://api.example.com/");
    assert_eq!(json["manifest"]["secrets"][0]["public_until"], ":");
}

#[test]
fn inspect_tells_of_files_that_no_host_would_load() {
    let desk = Desk::new();
    let json: Value = serde_json::from_str(&desk.does("inspect hush.wasm --json")).unwrap();
    assert_eq!(json["manifest"]["name"], "hush");
    assert_eq!(json["contract"], "0.1");
    assert_eq!(json["signature"]["state"], "unsigned");
    assert_eq!(json["bytes"], desk.read("hush.wasm").len());
    let mut old = bare(&desk.read("hush.wasm"));
    old.extend(sections::custom("parlor:contract", b"9.9"));
    desk.write("old.wasm", old);
    assert_told(&desk.does("inspect old.wasm"), &["contract   9.9"]);
    assert_told(&desk.fails(1, "check old.wasm"), &["built for contract `9.9`"]);
    desk.write("text.wasm", "no component");
    assert_told(&desk.does("inspect text.wasm"), &["no plugin", "not a WebAssembly file"]);
    assert_told(&desk.fails(1, "inspect none.wasm"), &["cannot read `none.wasm`"]);
}

#[test]
fn a_plugin_is_tried_without_vectors_too() {
    let desk = Desk::new();
    assert_told(&desk.does("test hush.wasm"), &["ok    hush loads", "no golden requests"]);
}

#[test]
fn colours_are_for_terminals() {
    let desk = Desk::new();
    assert!(!desk.does("check hush.wasm").contains('\x1b'));
}
