//! Names to addresses that a plugin's request may reach.
//!
//! The client connects only to what comes out of here, so an address is checked and used in one go: a name that
//! answers differently the second time gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{is_metadata, is_public};

/// Looks a name up. The network's, but for tests.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("the name does not resolve")]
    Unresolved,
    #[error("the name leads to no public address")]
    Private,
    #[error("the name leads to where a cloud hands out credentials")]
    Metadata,
}

/// Public addresses only.
#[derive(Debug)]
pub(super) struct Public(pub Arc<dyn Resolver>);

/// Any address but those of a cloud's metadata.
#[derive(Debug)]
pub(super) struct Trusted(pub Arc<dyn Resolver>);

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        checked(self.0.clone(), name, is_public, ResolveError::Private)
    }
}

impl Resolve for Trusted {
    fn resolve(&self, name: Name) -> Resolving {
        checked(self.0.clone(), name, |address| !is_metadata(address), ResolveError::Metadata)
    }
}

fn checked(
    resolver: Arc<dyn Resolver>,
    name: Name,
    is_allowed: fn(IpAddr) -> bool,
    refused: ResolveError,
) -> Resolving {
    Box::pin(async move { Ok(allowed(&*resolver, name.as_str(), is_allowed).await?.ok_or(refused)?) })
}

/// The addresses that are allowed; none if there are only others.
async fn allowed(
    resolver: &dyn Resolver,
    host: &str,
    is_allowed: fn(IpAddr) -> bool,
) -> Result<Option<Addrs>, ResolveError> {
    let found = resolver.resolve(host).await.map_err(|_| ResolveError::Unresolved)?;
    if found.is_empty() {
        return Err(ResolveError::Unresolved);
    }
    let allowed: Vec<IpAddr> = found.into_iter().filter(|address| is_allowed(*address)).collect();
    if allowed.is_empty() {
        return Ok(None);
    }
    // The client puts the port of the URL in place of 0.
    Ok(Some(Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)))))
}
