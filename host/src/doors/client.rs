//! Who knocks: the address of a client, also behind proxies, and whether it may.
//!
//! `X-Forwarded-For` counts only from a trusted proxy, and only as far as trusted proxies wrote it: it is read
//! from the right, and the first address that is no trusted proxy's is the client's; what stands left of it
//! anybody can write. `Forwarded` (RFC 7239) is not read: proxies that set the one pass the other on unchanged.
//! An address is personal: a log gets it hashed, as it gets people.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, StatusCode};
use ipnet::IpNet;

use super::problem::Problem;
use super::server::Peer;
use crate::telemetry::{self, Metrics};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The label of what is refused before a channel is known.
const ALL_DOORS: &str = "doors";

/// The address of the client of a request: an extension of each. None: a trusted proxy wrote something that is
/// no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub Option<IpAddr>);

impl Client {
    pub fn of(extensions: &http::Extensions) -> Client {
        extensions.get().copied().unwrap_or(Client(None))
    }
}

/// Whom a door lets in by address. An empty list lets everybody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(pub Vec<IpNet>);

impl Allowed {
    /// Passes, or is refused and counted under the channel's name.
    pub fn check(&self, client: Client, channel: &str, metrics: &Metrics) -> Result<(), Problem> {
        if self.0.is_empty() || client.0.is_some_and(|address| holds(&self.0, address)) {
            return Ok(());
        }
        metrics.limited(channel, "address");
        let client = client.0.map(|address| telemetry::person(&address.to_string()));
        tracing::info!(category = "security", channel, client, "an address is not allowed");
        Err(Problem::new(StatusCode::FORBIDDEN, "address", "your address may not use this door"))
    }
}

fn holds(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// What is known of the ways to this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    pub allowed: Allowed,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
}

impl Origins {
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut client = peer.to_canonical();
        for hop in hops(headers).rev() {
            if !holds(&self.trusted_proxies, client) {
                break;
            }
            let Some(address) = hop.and_then(address) else { return Client(None) };
            client = address;
        }
        Client(Some(client))
    }
}

/// The entries of all lines, as if they were one; none for one that is not text.
fn hops(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = Option<&str>> {
    headers.get_all(X_FORWARDED_FOR).iter().flat_map(|line| match line.to_str() {
        Ok(line) => line.split(',').map(Some).collect::<Vec<_>>(),
        Err(_) => vec![None],
    })
}

/// `192.0.2.1`, `2001:db8::1`, either with a port: `192.0.2.1:80`, `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address =
        bare.parse::<IpAddr>().or_else(|_| bare.parse().map(|with: std::net::SocketAddr| with.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// What `admit` needs.
#[derive(Debug, Clone)]
pub struct Gate {
    pub origins: Arc<Origins>,
    pub metrics: Arc<Metrics>,
}

/// Finds out the client of a request, and refuses one that no door is open to.
pub async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let client = peer.map_or(Client(None), |peer| gate.origins.client(peer, request.headers()));
    gate.origins.allowed.check(client, ALL_DOORS, &gate.metrics)?;
    request.extensions_mut().insert(client);
    Ok(next.run(request).await)
}

/// A door with a list of its own, beside that of all doors.
#[derive(Debug, Clone)]
pub struct OwnGate {
    pub allowed: Arc<Allowed>,
    pub channel: &'static str,
    pub metrics: Arc<Metrics>,
}

/// Refuses a client that this door is not open to.
pub async fn admit_to_own(
    State(gate): State<OwnGate>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    gate.allowed.check(Client::of(request.extensions()), gate.channel, &gate.metrics)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[&[u8]]) -> Option<String> {
        let trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let origins = Origins { allowed: Allowed::default(), trusted_proxies };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, http::HeaderValue::from_bytes(line).unwrap());
        }
        origins.client(peer.parse().unwrap(), &headers).0.map(|address| address.to_string())
    }

    fn is(address: &str) -> Option<String> {
        Some(address.to_owned())
    }

    #[test]
    fn a_header_counts_from_a_trusted_proxy_alone() {
        let forged: &[&[u8]] = &[b"203.0.113.7"];
        assert_eq!(client(&[], "198.51.100.1", forged), is("198.51.100.1"));
        assert_eq!(client(&["10.0.0.0/8"], "198.51.100.1", forged), is("198.51.100.1"));
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", forged), is("203.0.113.7"));
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[]), is("10.0.0.1"));
    }

    #[test]
    fn the_rightmost_address_that_no_proxy_has_is_the_clients() {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"];
        for (lines, expected) in [
            (&[&b"192.0.2.9, 203.0.113.7, 10.0.0.2"[..]][..], "203.0.113.7"),
            (&[b"192.0.2.9", b"203.0.113.7", b"10.0.0.2,10.1.1.1"], "203.0.113.7"),
            (&[b"203.0.113.7,2001:db8:1::5"], "203.0.113.7"),
            (&[b"10.9.9.9, 10.0.0.2"], "10.9.9.9"),
            (&[b"nonsense, 203.0.113.7"], "203.0.113.7"),
            (&[b"203.0.113.7:4711"], "203.0.113.7"),
            (&[b"[2001:db8::7]:4711"], "2001:db8::7"),
            (&[b"[2001:db8::7]"], "2001:db8::7"),
            (&[b"::ffff:203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(client(&trusted, "10.0.0.1", lines), is(expected), "{lines:?}");
            assert_eq!(client(&trusted, "::ffff:10.0.0.1", lines), is(expected), "{lines:?}");
        }
    }

    #[test]
    fn what_a_trusted_proxy_cannot_have_meant_is_nobody() {
        for line in [&b"unknown"[..], b"", b"203.0.113.7,", b"_hidden", b"203.0.113.\xff", b"1.2.3.4 5.6.7.8"]
        {
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[line]), None, "{line:?}");
        }
    }

    #[test]
    fn nobody_passes_no_list_and_everybody_an_empty_one() {
        let metrics = Metrics::new();
        let passes = |nets: &[&str], client| {
            let allowed = Allowed(nets.iter().map(|net| net.parse().unwrap()).collect());
            allowed.check(Client(client), "team", &metrics).is_ok()
        };
        let address = Some("2001:db8::7".parse().unwrap());
        assert!(passes(&[], None) && passes(&[], address) && passes(&["2001:db8::/32"], address));
        assert!(!passes(&["10.0.0.0/8"], None) && !passes(&["10.0.0.0/8"], address));
        assert!(metrics.encode().contains("parlor_limited_total{channel=\"other\",limit=\"address\"} 2"));
    }
}
