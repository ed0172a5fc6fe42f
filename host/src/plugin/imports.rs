//! What every plugin may import, of whatever kind it is: made once for an engine, and shared by all releases.

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::adapter::WebhookAdapter;
use super::guest::Guest;

/// The host's side of the contract, and WASI's for the standard libraries' sake.
pub type Imports = Linker<Guest>;

/// # Errors
/// If two of them have one name.
pub fn imports(engine: &Engine) -> wasmtime::Result<Imports> {
    let mut imports = Imports::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut imports)?;
    WebhookAdapter::add_to_linker::<_, HasSelf<_>>(&mut imports, |guest| guest)?;
    Ok(imports)
}
