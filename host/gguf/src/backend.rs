//! The process-wide side of llama.cpp: started once, its log sent to `tracing`, the processor checked.
//!
//! Knows no model and no request.

use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

use llama_cpp_2::llama_backend::LlamaBackend;

use crate::weights::LoadError;

/// Starts llama.cpp at the first call. It stays up as long as the process: engines come and go.
pub(crate) fn start() -> Result<&'static LlamaBackend, LoadError> {
    static BACKEND: OnceLock<Option<LlamaBackend>> = OnceLock::new();
    check_processor()?;
    let backend = BACKEND.get_or_init(|| {
        // SAFETY: the callback is a plain function without state, and it holds for the life of the process.
        unsafe { llama_cpp_sys_2::llama_log_set(Some(log), std::ptr::null_mut()) };
        LlamaBackend::init().ok()
    });
    backend.as_ref().ok_or(LoadError::Backend)
}

/// What ggml was built with, such as `AVX2 = 1`. Worth a line in the log at start: without it, prompts crawl.
pub fn system_info() -> &'static str {
    static INFO: OnceLock<String> = OnceLock::new();
    INFO.get_or_init(|| {
        // SAFETY: the call returns a NUL-terminated string that stays until the next call; `get_or_init` makes
        // this the only one, and the text is copied before it returns.
        let info = unsafe { CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) };
        info.to_string_lossy().into_owned()
    })
}

/// ggml is built for these on x86-64 (its defaults); on an older processor it would die of an illegal instruction.
#[cfg(target_arch = "x86_64")]
fn check_processor() -> Result<(), LoadError> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
    ];
    match found.into_iter().find(|(_, is_there)| !is_there) {
        Some((feature, _)) => Err(LoadError::Processor { feature }),
        None => Ok(()),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn check_processor() -> Result<(), LoadError> {
    Ok(())
}

/// Physical cores that this process may use: two threads on one core only take turns.
pub(crate) fn cores() -> u32 {
    let allowed = std::thread::available_parallelism().map_or(1, |n| n.get());
    let cores = physical_cores().unwrap_or(allowed).clamp(1, allowed);
    u32::try_from(cores).unwrap_or(1)
}

/// Each physical core shows the same list of siblings at each of its logical ones (Linux; elsewhere `None`).
fn physical_cores() -> Option<usize> {
    let folders = std::fs::read_dir("/sys/devices/system/cpu").ok()?;
    let siblings: HashSet<String> = folders
        .filter_map(|folder| {
            std::fs::read_to_string(folder.ok()?.path().join("topology/thread_siblings_list")).ok()
        })
        .collect();
    Some(siblings.len()).filter(|cores| *cores > 0)
}

/// llama.cpp's levels are its own (it calls much of its start-up INFO), so all of it is `debug` here.
unsafe extern "C" fn log(_level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _state: *mut c_void) {
    if text.is_null() || !tracing::enabled!(target: "llama.cpp", tracing::Level::DEBUG) {
        return;
    }
    // SAFETY: llama.cpp hands over a NUL-terminated string that lives until the callback returns.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    tracing::debug!(target: "llama.cpp", "{}", text.trim_end());
}
