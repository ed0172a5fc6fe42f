//! The scripts that the chat page takes from others are those that their note names: nobody has edited them.

use std::path::Path;

use sha2::{Digest, Sha256};

#[test]
fn each_vendored_script_has_the_sum_that_its_note_tells() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doors/page/vendor");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let note = read("README.md");
    let scripts: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".js"))
        .collect();
    assert_eq!(scripts.len(), 2, "{scripts:?}");
    for script in scripts {
        let sum = hex::encode(Sha256::digest(read(&script)));
        let row = note.lines().find(|line| line.starts_with(&format!("| `{script}` |")));
        assert!(row.is_some_and(|row| row.contains(&sum)), "`{script}` is {sum}: {row:?}");
    }
}
