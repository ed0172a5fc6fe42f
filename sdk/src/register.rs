//! The registration macros: exports, panic hook and the two custom sections of a component.
//!
//! They do nothing on native targets, so that a plugin crate is an ordinary library in its tests.

/// Makes a component of the adapter `$adapter`.
///
/// Call it once, in the root of a `cdylib` crate. The manifest is `plugin.toml` beside the crate's
/// `Cargo.toml`; `manifest = "…"` names another file, relative to that folder.
///
/// ```
/// # use parlor_sdk::{Adapter, Fault, HttpRequest, HttpResponse, Reception, register_adapter};
/// #[derive(Default)]
/// struct Quiet;
/// impl Adapter for Quiet {
///     fn receive(&self, _request: &HttpRequest) -> Result<Reception, Fault> {
///         Ok(Reception::Answer(HttpResponse::new(204)))
///     }
/// }
/// register_adapter!(Quiet);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! register_adapter {
    ($adapter:ty) => {
        $crate::register_adapter!($adapter, manifest = "plugin.toml");
    };
    ($adapter:ty, manifest = $manifest:literal) => {
        const _: fn() -> $adapter = $crate::__parlor_adapter::<$adapter>;
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type ParlorExport = $crate::guest::adapter::Export<$adapter>;
    $crate::guest::export_adapter!(ParlorExport with_types_in $crate::guest::bindings::adapter);
            $crate::__parlor_sections!($manifest);
        };
    };
}

/// Makes a component of the adapter `$adapter` that also keeps a socket: it is a
/// [`Connection`](crate::Connection). See [`register_adapter!`].
///
/// ```
/// # use parlor_sdk::{Adapter, Connection, Endpoint, Fault, Frame, HttpRequest, HttpResponse, Reception};
/// # use parlor_sdk::{connection::Outcome, register_socket_adapter};
/// #[derive(Default)]
/// struct Listener;
/// impl Adapter for Listener {
///     fn receive(&self, _request: &HttpRequest) -> Result<Reception, Fault> {
///         Ok(Reception::Answer(HttpResponse::new(204)))
///     }
/// }
/// impl Connection for Listener {
///     fn dial(&self, _memory: &[u8]) -> Result<Endpoint, Fault> {
///         Ok(Endpoint::new("wss://events.example.com/"))
///     }
///     fn hear(&self, _memory: &[u8], _frame: Frame) -> Result<Outcome, Fault> {
///         Ok(Outcome::default())
///     }
/// }
/// register_socket_adapter!(Listener);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! register_socket_adapter {
    ($adapter:ty) => {
        $crate::register_socket_adapter!($adapter, manifest = "plugin.toml");
    };
    ($adapter:ty, manifest = $manifest:literal) => {
        const _: fn() -> $adapter = $crate::__parlor_connection::<$adapter>;
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type ParlorExport = $crate::guest::adapter::Export<$adapter>;
    $crate::guest::export_adapter!(ParlorExport with_types_in $crate::guest::bindings::adapter);
    $crate::guest::export_connection!(ParlorExport with_types_in $crate::guest::bindings::connection);
            $crate::__parlor_sections!($manifest);
        };
    };
}

/// Makes a component of the pipeline `$pipeline`; see [`register_adapter!`].
///
/// ```
/// # use parlor_sdk::{Fault, Pipeline, Reply, Step, Turn, register_pipeline};
/// #[derive(Default)]
/// struct Parrot;
/// impl Pipeline for Parrot {
///     fn begin(&mut self, turn: Turn) -> Result<Step, Fault> {
///         Ok(Step::Say(Reply::new(turn.message.text)))
///     }
/// }
/// register_pipeline!(Parrot);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! register_pipeline {
    ($pipeline:ty) => {
        $crate::register_pipeline!($pipeline, manifest = "plugin.toml");
    };
    ($pipeline:ty, manifest = $manifest:literal) => {
        const _: fn() -> $pipeline = $crate::__parlor_pipeline::<$pipeline>;
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type ParlorExport = $crate::guest::pipeline::Export<$pipeline>;
    $crate::guest::export_pipeline!(ParlorExport with_types_in $crate::guest::bindings::pipeline);
            $crate::__parlor_sections!($manifest);
        };
    };
}

/// Writes `parlor:contract` and `parlor:manifest` into the core module.
#[doc(hidden)]
#[macro_export]
macro_rules! __parlor_sections {
    ($manifest:literal) => {
        #[used]
        #[unsafe(link_section = "parlor:contract")]
        static CONTRACT: [u8; $crate::CONTRACT.len()] = $crate::guest::bytes($crate::CONTRACT);
        #[used]
        #[unsafe(link_section = "parlor:manifest")]
        static MANIFEST: [u8; include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest)).len()] =
            *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));
    };
}

/// So that a native build also says what is missing, and finds the plugin in use.
#[doc(hidden)]
pub fn __parlor_adapter<T: crate::Adapter>() -> T {
    T::default()
}

/// See [`__parlor_adapter`].
#[doc(hidden)]
pub fn __parlor_connection<T: crate::Connection>() -> T {
    T::default()
}

/// See [`__parlor_adapter`].
#[doc(hidden)]
pub fn __parlor_pipeline<T: crate::Pipeline>() -> T {
    T::default()
}
