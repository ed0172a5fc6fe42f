//! The memories of guests, lent by the host in place of the pool's, so that a test can look through them after each
//! call: whether a secret ever came into one.
//!
//! Only with the feature `failpoints`, and only if `PARLOR_MEMORIES_REPORT` names a file, to which each call adds a
//! line. What is looked for are the secrets of the call itself and the texts of `PARLOR_MEMORIES_SEEK` (with commas
//! between), each in the forms that it could be turned back from. A secret that serves `equals` is left out: the
//! platform itself says it in each request. So is what stands in a plugin's own file, such as a golden request's. Guests run the code that they run elsewhere, with memories of the same
//! size and guards; only what a memory begins with is copied instead of mapped, so that they are compiled anew.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use wasmtime::{Config, LinearMemory, MemoryCreator, MemoryType};

use crate::plugin::services::Services;

/// Shorter than this a text stands in memories by chance.
const SOUGHT_BYTES_MIN: usize = 12;
/// Two pointers of a guest, where a piece of memory is free.
const FREED_BYTES: usize = 8;

const VARIABLE: &str = "PARLOR_MEMORIES_REPORT";
static REPORT: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(VARIABLE).map(PathBuf::from));
static LENT: Mutex<Vec<Weak<Region>>> = Mutex::new(Vec::new());
static PUBLISHED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Whether a test looks through memories.
pub fn are_lent() -> bool {
    REPORT.is_some()
}

/// What compiling and running must have in common for it.
pub fn fit(config: &mut Config) {
    if are_lent() {
        config.with_host_memory(Arc::new(Lender)).memory_init_cow(false);
    }
}

/// Tells a child that compiles.
#[cfg(feature = "compile")]
pub fn hand_on(command: &mut tokio::process::Command) {
    if let Some(report) = REPORT.as_ref() {
        command.env(VARIABLE, report);
    }
}

/// Takes note of a plugin's file: what stands in it is no secret.
pub fn publish(file: &[u8]) {
    if are_lent() {
        PUBLISHED.lock().unwrap_or_else(PoisonError::into_inner).push(file.to_owned());
    }
}

fn is_published(form: &[u8]) -> bool {
    let published = PUBLISHED.lock().unwrap_or_else(PoisonError::into_inner);
    published.iter().any(|file| holds(file, form))
}

/// Looks through all memories that live at the end of a call, and writes down what was found.
pub fn look_through(plugin: &str, function: &str, services: &Services) {
    let Some(report) = REPORT.as_ref() else { return };
    let sought = sought(services);
    let (mut bytes, mut found) = (0, Vec::new());
    for region in lent() {
        let memory = region.read();
        bytes += memory.len();
        let is_there = |(_, form): &&(String, Vec<u8>)| holds(&memory, form) && !is_published(form);
        found.extend(sought.iter().filter(is_there).map(|(name, _)| name.clone()));
    }
    let line = serde_json::json!({
        "plugin": plugin, "function": function, "bytes": bytes, "sought": sought.len(), "found": found,
    });
    let file = OpenOptions::new().create(true).append(true).open(report);
    let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    written.expect("a test gives a file that can be written");
}

fn lent() -> Vec<Arc<Region>> {
    let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    lent.retain(|region| region.strong_count() > 0);
    lent.iter().filter_map(Weak::upgrade).collect()
}

/// Each secret under its name, in each form.
fn sought(services: &Services) -> Vec<(String, Vec<u8>)> {
    let secrets = services.secrets.exposed().filter(|(_, value)| value.len() >= SOUGHT_BYTES_MIN);
    let of_one =
        |(name, value): (&str, &str)| forms(value).into_iter().map(|form| (name.to_owned(), form)).collect();
    let secrets: Vec<(String, Vec<u8>)> = secrets.flat_map::<Vec<_>, _>(of_one).collect();
    let more = std::env::var("PARLOR_MEMORIES_SEEK").unwrap_or_default();
    let more = more.split(',').filter(|text| text.len() >= SOUGHT_BYTES_MIN);
    secrets.into_iter().chain(more.map(|text| (text.to_owned(), text.as_bytes().to_vec()))).collect()
}

fn forms(value: &str) -> Vec<Vec<u8>> {
    let digest = ring::digest::digest(&ring::digest::SHA256, value.as_bytes());
    let decoded = STANDARD.decode(value).or_else(|_| STANDARD_NO_PAD.decode(value)).unwrap_or_default();
    let forms = vec![
        value.as_bytes().to_vec(),
        value.bytes().rev().collect(),
        hex::encode(value).into_bytes(),
        STANDARD_NO_PAD.encode(value).into_bytes(),
        digest.as_ref().to_vec(),
        decoded,
    ];
    forms.into_iter().filter(|form| form.len() >= SOUGHT_BYTES_MIN).map(kept).collect()
}

/// What stays of a form in memory that was given back: an allocator writes into its first bytes.
fn kept(mut form: Vec<u8>) -> Vec<u8> {
    form.drain(..FREED_BYTES.min(form.len() - SOUGHT_BYTES_MIN));
    form
}

fn holds(memory: &[u8], form: &[u8]) -> bool {
    let (first, last) = (form[0], memory.len().saturating_sub(form.len()));
    let mut from = 0;
    while let Some(step) =
        memory.get(from..=last).and_then(|rest| rest.iter().position(|byte| *byte == first))
    {
        from += step;
        if memory[from..].starts_with(form) {
            return true;
        }
        from += 1;
    }
    false
}

struct Lender;

/// Address space for one memory; what has grown of it can be read and written.
struct Region {
    base: usize,
    /// Without the guard.
    capacity: usize,
    mapped: usize,
    size: AtomicUsize,
}

struct Lent(Arc<Region>);

// SAFETY: as wasmtime asks, each memory is zeroed, does not move while it grows, and is followed by address space that
// nobody can read or write, at least as much as its reservation and its guard together. Nobody else writes into it.
unsafe impl MemoryCreator for Lender {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.or(maximum).unwrap_or(super::engine::MEMORY_BYTES_MAX).max(minimum);
        let mapped = capacity + guard;
        let (none, private) = (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: the kernel chooses an address that nothing else has.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), mapped, none, private) };
        let base = base.map_err(|error| error.to_string())? as usize;
        let mut lent = Lent(Arc::new(Region { base, capacity, mapped, size: AtomicUsize::new(0) }));
        lent.grow_to(minimum).map_err(|error| error.to_string())?;
        LENT.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lent.0));
        Ok(Box::new(lent))
    }
}

// SAFETY: size, capacity and base are those of one mapping that lives as long as this does.
unsafe impl LinearMemory for Lent {
    fn byte_size(&self) -> usize {
        self.0.size.load(Ordering::Acquire)
    }

    fn byte_capacity(&self) -> usize {
        self.0.capacity
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: it lies within the mapping, which only this memory uses.
        unsafe { mprotect(self.as_ptr().cast(), size, access) }.map_err(std::io::Error::from)?;
        self.0.size.store(size, Ordering::Release);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base as *mut u8
    }
}

impl Region {
    /// Its bytes as they are now, read by way of the kernel: another guest may be writing into it.
    fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size.load(Ordering::Acquire)];
        let memory = File::open("/proc/self/mem").expect("the kernel shows a process its own memory");
        memory.read_exact_at(&mut bytes, self.base as u64).expect("what has grown of a memory can be read");
        bytes
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the memory is gone, and nothing points into its mapping any more.
        let unmapped = unsafe { munmap(self.base as *mut _, self.mapped) };
        debug_assert!(unmapped.is_ok(), "the mapping was made here");
    }
}
