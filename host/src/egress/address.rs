//! Which addresses are public: every other one is refused, after a name was resolved. And which hand out a machine's
//! own credentials: those are refused whatever an operator says.
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

/// Whether a cloud tells a machine there who it is, and hands it credentials.
///
/// All that is link-local counts: gateways and platforms' stand-ins are never there.
pub(super) fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_metadata_v4(address),
        IpAddr::V6(address) => {
            carried(address).map_or_else(|| is_metadata_v6(address), |carried| is_metadata_v4(carried))
        }
    }
}

fn is_metadata_v4(address: Ipv4Addr) -> bool {
    let known = [[100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];
    address.is_link_local() || known.contains(&address.octets())
}

fn is_metadata_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    address.is_unicast_link_local() || matches!((a, b), (0xfd00, 0x0ec2) | (0xfd20, 0x00ce))
}

/// The IPv4 address inside: mapped, compatible, by NAT64 or 6to4.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        (0x64, 0xff9b) => of(g, h),
        (0x2002, _) => of(b, c),
        (0, 0) if (c, d, e) == (0, 0, 0) && (f == 0 || f == 0xffff) => of(g, h),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_hand_out_credentials_are_known_in_every_guise() {
        let metadata = |text: &str| is_metadata(text.parse().expect("an address"));
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "::a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
        ] {
            assert!(metadata(text), "{text}");
            assert!(!public(text), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd12::1", "8.8.8.8", "2606:4700::1"] {
            assert!(!metadata(text), "{text}: an operator may have a gateway there");
        }
    }

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
