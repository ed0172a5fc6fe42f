//! Files that are no model: each its own error, and the process lives on.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use parlor_gguf::{Config, Engine, LoadError, inspect};

use crate::{alone, config, model_path};

/// SmolLM2-135M-Instruct.Q4_1.gguf, as `cargo xtask` checks it.
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// Its whole header and the first tensors.
const HEADER_BYTES: u64 = 2 << 20;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("parlor-gguf-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        File::create(&path)
            .and_then(|mut file| file.write_all(bytes))
            .expect("the temporary folder is writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path) -> LoadError {
    Engine::load(&Config { path: path.into(), ..config() }).err().expect("this is no model")
}

fn beginning(bytes: u64) -> Vec<u8> {
    let mut beginning = Vec::new();
    File::open(model_path())
        .expect("it is there")
        .take(bytes)
        .read_to_end(&mut beginning)
        .expect("it is readable");
    beginning
}

fn sha256() -> [u8; 32] {
    std::array::from_fn(|n| u8::from_str_radix(&SHA256[2 * n..2 * n + 2], 16).expect("it is hex"))
}

#[test]
fn what_is_no_file_is_told_apart() {
    let folder = Folder::new("no-file");
    assert!(matches!(refusal(&folder.0.join("nothing.gguf")), LoadError::Missing { .. }));
    assert!(matches!(refusal(&folder.0), LoadError::NotAFile { .. }));
    assert!(matches!(refusal(&folder.file("empty.gguf", b"")), LoadError::Empty { .. }));
}

#[test]
fn a_text_is_not_gguf() {
    let folder = Folder::new("text");
    let error = refusal(&folder.file("page.gguf", b"<!DOCTYPE html><title>404</title>"));
    assert!(matches!(error, LoadError::NotGguf { .. }));
    assert!(error.to_string().contains("is not a GGUF file"), "{error}");
    assert!(matches!(refusal(&folder.file("short.gguf", b"GG")), LoadError::NotGguf { .. }));
}

#[test]
fn a_download_that_broke_off_is_truncated_wherever_it_broke() {
    let folder = Folder::new("truncated");
    // In the first word, in the keys, in the vocabulary, in the tensors' list, in their data.
    let whole = beginning(HEADER_BYTES);
    for bytes in [4, 7, 20, 30, 200, 100_000, 900_000, whole.len()] {
        match refusal(&folder.file("cut.gguf", &whole[..bytes])) {
            LoadError::Truncated { file_bytes, needed_bytes, .. } => {
                assert!(
                    file_bytes == bytes as u64 && needed_bytes > file_bytes,
                    "{file_bytes} of {needed_bytes}"
                );
            }
            other => panic!("{bytes} bytes: {other}"),
        }
    }
    // The last byte of all counts.
    let path = folder.0.join("almost.gguf");
    fs::copy(model_path(), &path).expect("there is room");
    let file_bytes = fs::metadata(&path).expect("it is there").len();
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(file_bytes - 1))
        .expect("it can be cut");
    assert!(
        matches!(refusal(&path), LoadError::Truncated { needed_bytes, .. } if needed_bytes == file_bytes)
    );
}

#[test]
fn a_header_that_lies_is_refused_before_it_costs_anything() {
    let folder = Folder::new("lies");
    let header = |version: u32, tensors: u64, keys: u64, rest: &[u8]| {
        let counts = [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()];
        folder.file("lie.gguf", &[&counts.concat(), rest].concat())
    };
    let key = |kind: u32, value: &[u8]| [&1_u64.to_le_bytes()[..], b"k", &kind.to_le_bytes(), value].concat();
    let array = |kind: u32, count: u64| key(9, &[&kind.to_le_bytes()[..], &count.to_le_bytes()].concat());
    assert!(matches!(refusal(&header(1, 1, 1, b"")), LoadError::Version { version: 1, .. }));
    assert!(matches!(refusal(&header(3 << 24, 1, 1, b"")), LoadError::Version { .. }));
    for path in [
        header(3, u64::MAX, 1, b""),
        header(3, 1, u64::MAX, b""),
        header(3, 0, 0, b""),
        header(3, 1, 1, &u64::MAX.to_le_bytes()),
        header(3, 1, 1, &key(99, &[0; 8])),
        header(3, 1, 1, &array(10, u64::MAX)),
    ] {
        let error = refusal(&path);
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
    }
    // Lengths that no such short file can hold.
    for path in [
        header(3, 1, 1, &array(8, 1 << 40)),
        header(3, 1, 1, &array(0, 1 << 40)),
        header(3, 1, 1, &key(8, &(1_u64 << 60).to_le_bytes())),
    ] {
        let error = refusal(&path);
        assert!(matches!(error, LoadError::Truncated { .. }), "{error}");
    }
}

#[test]
fn any_flipped_byte_of_the_header_is_an_error_or_a_model_and_never_the_end() {
    let _alone = alone();
    let folder = Folder::new("flipped");
    let path = folder.0.join("flipped.gguf");
    fs::copy(model_path(), &path).expect("there is room");
    let whole = beginning(HEADER_BYTES);
    // Counts, keys and types at the start, where a wrong byte changes what the rest means.
    for at in [4, 8, 16, 24, 33, 60, 70, 90, 130, 180, 250] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x41;
        File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&flipped))
            .expect("it is writable");
        let _ = Engine::load(&Config { path: path.clone(), ..config() });
    }
}

#[test]
fn the_hash_is_checked_and_both_are_shown() {
    let _alone = alone();
    let mut wrong = sha256();
    wrong[0] ^= 1;
    let error = Engine::load(&Config { sha256: Some(wrong), ..config() }).err().expect("the hash differs");
    assert!(matches!(error, LoadError::HashMismatch { .. }));
    let text = error.to_string();
    let wrong = format!("b0{}", &SHA256[2..]);
    assert!(text.contains(SHA256) && text.contains(&wrong), "{text}");
    Engine::load(&Config { sha256: Some(sha256()), ..config() }).map(drop).expect("the hash is right");
}

#[test]
fn a_configuration_out_of_bounds_names_its_field() {
    let field = |config: Config| match Engine::load(&config).err() {
        Some(LoadError::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(Config { sequences_max: 0, ..config() }), "sequences_max");
    assert_eq!(field(Config { sequences_max: 257, ..config() }), "sequences_max");
    assert_eq!(field(Config { chunk_tokens: 1, ..config() }), "chunk_tokens");
    assert_eq!(field(Config { threads: Some(0), ..config() }), "threads");
    assert_eq!(field(Config { queue_max: 0, ..config() }), "queue_max");
    assert_eq!(field(Config { context_tokens: 0, ..config() }), "context_tokens");
    let _alone = alone();
    let long = Engine::load(&Config { context_tokens: 1 << 20, ..config() }).err();
    assert!(matches!(long, Some(LoadError::ContextTooLong { .. })), "{long:?}");
}

#[test]
fn a_header_tells_what_a_model_is_without_loading_it() {
    let told = inspect(&model_path()).expect("it is sound");
    assert_eq!((told.architecture.as_str(), told.quantisation.as_deref()), ("llama", Some("Q4_1")));
    assert_eq!((told.parameters, told.context_trained), (134_515_008, Some(8192)));
    // 30 layers of 3 heads with 64 keys and 64 values each, two bytes a number.
    assert_eq!(told.cache_bytes_per_token, Some(30 * 3 * (64 + 64) * 2));
    let bytes = fs::metadata(model_path()).expect("it is there").len();
    assert_eq!(told.weights_bytes, bytes, "the file ends with its last tensor");
}
