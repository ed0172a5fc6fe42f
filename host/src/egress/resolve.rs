//! Names to addresses that a plugin's request may reach.
//!
//! The client connects only to what comes out of here, so an address is checked and used in one go: a name that
//! answers differently the second time gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_public;

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
}

/// Public addresses only.
#[derive(Debug)]
pub(super) struct Checked(pub Arc<dyn Resolver>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move { Ok(public(&*resolver, name.as_str()).await?) })
    }
}

async fn public(resolver: &dyn Resolver, host: &str) -> Result<Addrs, ResolveError> {
    let found = resolver.resolve(host).await.map_err(|_| ResolveError::Unresolved)?;
    if found.is_empty() {
        return Err(ResolveError::Unresolved);
    }
    let public: Vec<IpAddr> = found.into_iter().filter(|address| is_public(*address)).collect();
    if public.is_empty() {
        return Err(ResolveError::Private);
    }
    // The client puts the port of the URL in place of 0.
    Ok(Box::new(public.into_iter().map(|address| SocketAddr::new(address, 0))))
}
