//! Which addresses are public: every other one is refused, after a name was resolved.
//!
//! It knows addresses only. `::ffff:`, 6to4, Teredo and NAT64 carry an IPv4 address inside and are refused or
//! looked into, so that none of them leads back into the house.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a plugin's request may be sent to this address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// After the IANA special-purpose registry.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = match a {
        // This network; multicast, reserved and broadcast.
        0 | 224..=255 => true,
        // Shared by carriers: some clouds keep their metadata here.
        100 => (64..128).contains(&b),
        // Protocol assignments, documentation, the old relay of 6to4.
        192 => (b, c) == (0, 0) || (b, c) == (0, 2) || (b, c) == (88, 99),
        // Benchmarks; documentation.
        198 => b == 18 || b == 19 || (b, c) == (51, 100),
        203 => (b, c) == (0, 113),
        // Metadata of one cloud stands among its public addresses.
        168 => address == Ipv4Addr::new(168, 63, 129, 16),
        _ => false,
    };
    !(reserved || address.is_private() || address.is_loopback() || address.is_link_local())
}

/// Only what is handed out to the public, 2000::/3, and of it what carries no other address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xe000 == 0x2000;
    // Teredo and the protocol assignments beside it, documentation, 6to4, the newer documentation.
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_of_the_house_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_world_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1",
            "2400:3200::1",
            "2001:4860::1",
        ] {
            assert!(public(text), "{text}");
        }
    }
}
