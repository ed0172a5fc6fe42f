//! One bit of a file changed, at every class of place: none is let in, and nothing of it is read first.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use parlor::plugin::compile::Cache;
use parlor::plugin::engine;
use parlor::plugin::package::{Package, PackageError};
use parlor::plugin::sections;
use parlor::plugin::signature::Trust;
use wasmparser::{Parser, Payload};

use super::{guest, pair, read, signed, trusting, unsigned};

/// Flips of each class, spread over it; a smaller class is flipped in all of its bits.
const FLIPS: usize = 120;

/// Bytes of a file by what they are.
type Classes = BTreeMap<&'static str, Vec<usize>>;

fn add(classes: &mut Classes, class: &'static str, range: Range<usize>) {
    classes.entry(class).or_default().extend(range);
}

/// Every byte of a signed component.
fn classes(bytes: &[u8]) -> Classes {
    let mut classes = Classes::new();
    add(&mut classes, "preamble", 0..8);
    let outermost = sections::outermost(bytes).unwrap();
    for section in &outermost {
        let header = section.range.end - section.data.len();
        let class = match section.name {
            Some("parlor:signature") => "signature's name and length",
            Some(_) => "custom section's name and length",
            None => "section's id and length",
        };
        add(&mut classes, class, section.range.start..header);
        match section.name {
            Some("parlor:signature") => signature_lines(bytes, header..section.range.end, &mut classes),
            Some(_) => add(&mut classes, "custom section", header..section.range.end),
            None => add(&mut classes, "component's own sections", header..section.range.end),
        }
    }
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::CodeSectionStart { range, .. } => add(&mut classes, "code", range),
            Payload::DataSection(section) => add(&mut classes, "data", section.range()),
            Payload::TypeSection(section) => add(&mut classes, "types", section.range()),
            Payload::ImportSection(section) => add(&mut classes, "module's imports", section.range()),
            Payload::ComponentImportSection(section) => add(&mut classes, "imports", section.range()),
            Payload::ComponentExportSection(section) => add(&mut classes, "exports", section.range()),
            Payload::CustomSection(section) if section.name() == "parlor:manifest" => {
                add(
                    &mut classes,
                    "manifest",
                    section.data_offset()..section.data_offset() + section.data().len(),
                );
            }
            Payload::CustomSection(section) if section.name() == "parlor:contract" => {
                add(
                    &mut classes,
                    "contract",
                    section.data_offset()..section.data_offset() + section.data().len(),
                );
            }
            _ => {}
        }
    }
    classes
}

fn signature_lines(bytes: &[u8], range: Range<usize>, classes: &mut Classes) {
    let names = ["signature's first line", "signature", "signature's comment", "signature of the comment"];
    let mut names = names.into_iter();
    let mut start = range.start;
    for end in range.clone().filter(|at| bytes[*at] == b'\n') {
        add(classes, names.next().expect("four lines"), start..end + 1);
        start = end + 1;
    }
    assert_eq!((start, names.next()), (range.end, None), "four lines and nothing behind them");
}

/// Places and bits of a class, spread evenly.
fn flips(places: &[usize]) -> impl Iterator<Item = (usize, u8)> + '_ {
    let bits = places.len() * 8;
    let count = bits.min(FLIPS);
    (0..count).map(move |number| {
        let bit = number * bits / count + number % (bits / count).max(1);
        (places[bit / 8], 1 << (bit % 8))
    })
}

#[test]
fn no_bit_of_a_signed_file_can_be_changed() {
    let pair = pair();
    let (whole, trust) = (signed(&pair), trusting(&pair));
    assert!(read(&whole, &trust).is_ok());
    let classes = classes(&whole);
    let mut count = 0;
    for (class, places) in &classes {
        let mut of_class = 0;
        for (at, bit) in flips(places) {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            let outcome = read(&bytes, &trust).map(drop);
            assert!(
                matches!(outcome, Err(PackageError::Signature(_))),
                "{class}: byte {at}, bit {bit}: {outcome:?}"
            );
            of_class += 1;
        }
        println!("{class}: {of_class} flips in {} bytes, all refused", places.len());
        count += of_class;
    }
    println!("{count} flips in {} classes", classes.len());
    for class in ["preamble", "code", "data", "manifest", "contract", "signature", "signature of the comment"]
    {
        assert!(classes.contains_key(class), "no byte is of the class `{class}`");
    }
    assert!(count >= 1000, "{count}");
}

#[test]
fn no_signed_file_can_be_cut_short() {
    let pair = pair();
    let (whole, trust) = (signed(&pair), trusting(&pair));
    let from = unsigned().len();
    let ends = (0..from).step_by(from / 200).chain(from..whole.len());
    for end in ends {
        let outcome = read(&whole[..end], &trust).map(drop);
        assert!(matches!(outcome, Err(PackageError::Signature(_))), "{end}: {outcome:?}");
    }
}

#[tokio::test]
async fn no_bit_of_a_compiled_file_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let built = engine::build().unwrap();
    let package = Package::read(&guest("hush"), &Trust::anybody()).unwrap();
    let cache = |compiler: &str| Cache::open(folder.path(), [7; 32], compiler.into()).unwrap();
    let path = cache(env!("CARGO_BIN_EXE_parlor")).compiled(&built.engine, &package).await.unwrap();
    // What is not taken as it is would be compiled anew: here by a compiler that fails.
    let cache = cache("/bin/false");
    assert!(cache.compiled(&built.engine, &package).await.is_ok());
    let mut count = 0;
    for file in [path.clone(), path.with_extension("mac")] {
        let whole = std::fs::read(&file).unwrap();
        let places: Vec<usize> = (0..whole.len()).collect();
        for (at, bit) in flips(&places) {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            write(&file, &bytes);
            assert!(cache.compiled(&built.engine, &package).await.is_err(), "{}: byte {at}", file.display());
            count += 1;
        }
        for end in [0, 1, whole.len() / 2, whole.len() - 1] {
            write(&file, &whole[..end]);
            assert!(
                cache.compiled(&built.engine, &package).await.is_err(),
                "{}: cut at {end}",
                file.display()
            );
        }
        write(&file, &whole);
    }
    println!("{count} flips of compiled code and its seal, all refused");
    assert!(cache.compiled(&built.engine, &package).await.is_ok());
    // Sealed by another host.
    let other = Cache::open(folder.path(), [8; 32], "/bin/false".into()).unwrap();
    assert!(other.compiled(&built.engine, &package).await.is_err());
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
