//! minisign itself as the counterpart: what either tool makes the other one takes.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use parlor::plugin::signature;

use super::{parlor, text, unsigned};

fn minisign(folder: &Path, args: &[&str], input: &str) -> Output {
    let program = std::env::var_os("PARLOR_TEST_MINISIGN")
        .expect("`PARLOR_TEST_MINISIGN` names no minisign: run `cargo xtask test`");
    let mut minisign = Command::new(program);
    minisign.args(args).current_dir(folder);
    let minisign = minisign.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = minisign.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

/// A folder with a plugin that nobody signed.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hush.wasm"), unsigned()).unwrap();
        Desk(folder)
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn minisign(&self, args: &[&str], input: &str) -> Output {
        minisign(self.0.path(), args, input)
    }

    /// Lays the signed part of the plugin and its signature apart, as minisign keeps them.
    fn take_apart(&self) {
        let bytes = std::fs::read(self.at("hush.wasm")).unwrap();
        let (body, signature) = signature::split(&bytes).unwrap().expect("a signature");
        std::fs::write(self.at("body"), body).unwrap();
        std::fs::write(self.at("body.minisig"), signature.to_string()).unwrap();
    }
}

#[test]
fn what_minisign_signed_is_attached_and_verifies() {
    let desk = Desk::new();
    done(&desk.minisign(&["-G", "-W", "-p", "a.pub", "-s", "a.key"], ""));
    done(&desk.minisign(&["-S", "-s", "a.key", "-m", "hush.wasm"], ""));
    let (plugin, public) = (desk.at("hush.wasm"), desk.at("a.pub"));
    let attached = parlor(&["sign", &plugin, "--signature", &desk.at("hush.wasm.minisig")]);
    done(&attached);
    assert!(text(&attached).contains("signed by"), "{}", text(&attached));
    let verified = parlor(&["verify", &plugin, "--key", &public]);
    done(&verified);
    // minisign's own comment, with the tabs in it.
    assert!(text(&verified).contains("file:hush.wasm hashed"), "{}", text(&verified));
    done(&desk.minisign(&["-G", "-W", "-p", "b.pub", "-s", "b.key"], ""));
    let other = parlor(&["verify", &plugin, "--key", &desk.at("b.pub")]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other).contains("is none of"), "{}", text(&other));
}

#[test]
fn a_signature_of_another_file_is_attached_and_does_not_verify() {
    let desk = Desk::new();
    std::fs::write(desk.at("other"), "another file").unwrap();
    done(&desk.minisign(&["-G", "-W", "-p", "a.pub", "-s", "a.key"], ""));
    done(&desk.minisign(&["-S", "-s", "a.key", "-m", "other"], ""));
    done(&parlor(&["sign", &desk.at("hush.wasm"), "--signature", &desk.at("other.minisig")]));
    let verified = parlor(&["verify", &desk.at("hush.wasm"), "--key", &desk.at("a.pub")]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(text(&verified).contains("does not fit it"), "{}", text(&verified));
}

#[test]
fn what_parlor_signed_with_a_key_of_minisign_verifies_in_minisign() {
    let desk = Desk::new();
    done(&desk.minisign(&["-G", "-W", "-p", "a.pub", "-s", "a.key"], ""));
    done(&parlor(&["sign", &desk.at("hush.wasm"), "--key", &desk.at("a.key"), "--comment", "the first"]));
    desk.take_apart();
    let verified = desk.minisign(&["-V", "-p", "a.pub", "-m", "body"], "");
    done(&verified);
    assert!(text(&verified).contains("the first"), "{}", text(&verified));
    std::fs::write(desk.at("body"), "another").unwrap();
    assert!(!desk.minisign(&["-V", "-p", "a.pub", "-m", "body"], "").status.success());
}

#[test]
fn a_key_pair_of_parlor_without_a_password_serves_minisign() {
    let desk = Desk::new();
    done(&parlor(&["sign", "--generate", "--no-password", "--key", &desk.at("p.key")]));
    done(&desk.minisign(&["-S", "-s", "p.key", "-m", "hush.wasm"], ""));
    done(&desk.minisign(&["-V", "-p", "p.pub", "-m", "hush.wasm"], ""));
}

#[test]
fn a_key_pair_of_parlor_serves_minisign_with_its_password() {
    let desk = Desk::new();
    std::fs::write(desk.at("password"), "open sesame\n").unwrap();
    let (key, public, password) = (desk.at("p.key"), desk.at("p.pub"), desk.at("password"));
    done(&parlor(&["sign", "--generate", "--key", &key, "--password-file", &password]));
    done(&desk.minisign(&["-S", "-s", "p.key", "-m", "hush.wasm"], "open sesame\n"));
    done(&desk.minisign(&["-V", "-p", "p.pub", "-m", "hush.wasm"], ""));
    done(&parlor(&["sign", &desk.at("hush.wasm"), "--key", &key, "--password-file", &password]));
    done(&parlor(&["verify", &desk.at("hush.wasm"), "--key", &public]));
    std::fs::write(&password, "a guess").unwrap();
    let refused =
        parlor(&["sign", &desk.at("hush.wasm"), "--replace", "--key", &key, "--password-file", &password]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("Wrong password"), "{}", text(&refused));
}
