//! Network addresses (documentation, 8.9 "Network Address Types").

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::reader::Reader;

/// Address families as inet_send writes them (`PGSQL_AF_INET`, `PGSQL_AF_INET6` of `utils/inet.h`), on every platform.
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 3;

/// inet and cidr: family, bits of the netmask, whether it is a cidr, length of the address, the address.
pub(super) fn write_inet(mut reader: Reader<'_>, out: &mut String) -> Option<()> {
    let family = reader.u8()?;
    let mask_bits = reader.u8()?;
    let is_cidr = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let address_bytes = reader.u8()?;
    let bits_max = match (family, address_bytes) {
        (FAMILY_IPV4, 4) => {
            write!(out, "{}", Ipv4Addr::from(reader.array::<4>()?)).ok()?;
            32
        }
        (FAMILY_IPV6, 16) => {
            write_ipv6(reader.array()?, out)?;
            128
        }
        _ => return None,
    };
    reader.end()?;
    if mask_bits > bits_max {
        return None;
    }
    if is_cidr || mask_bits != bits_max {
        write!(out, "/{mask_bits}").ok()?;
    }
    Some(())
}

/// As the server's inet_net_ntop: the longest run of two or more zero groups is `::`, the first of equals; an IPv4
/// address inside (`::ffff:1.2.3.4`, `::1.2.3.4`) keeps its dots, which Rust's own form does not do for the second.
fn write_ipv6(address: [u8; 16], out: &mut String) -> Option<()> {
    let mut groups = [0_u16; 8];
    for (group, pair) in groups.iter_mut().zip(address.as_chunks::<2>().0) {
        *group = u16::from_be_bytes(*pair);
    }
    let (zeros_at, zeros) = longest_zero_run(&groups);
    let [.., a, b, c, d] = address;
    for (index, group) in groups.iter().enumerate() {
        if (zeros_at..zeros_at + zeros).contains(&index) {
            if index == zeros_at {
                out.push(':');
            }
            continue;
        }
        if index != 0 {
            out.push(':');
        }
        let is_mapped = zeros == 5 && groups.get(5) == Some(&0xFFFF);
        if index == 6 && zeros_at == 0 && (zeros == 6 || is_mapped) {
            return write!(out, "{}", Ipv4Addr::new(a, b, c, d)).ok();
        }
        write!(out, "{group:x}").ok()?;
    }
    if zeros > 0 && zeros_at + zeros == groups.len() {
        out.push(':');
    }
    Some(())
}

/// Where it begins and how long it is; a single zero is no run.
fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let (mut best_at, mut best) = (0, 0);
    let mut run = 0;
    for (index, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > best {
            (best_at, best) = (index + 1 - run, run);
        }
    }
    if best < 2 { (0, 0) } else { (best_at, best) }
}

/// macaddr (6 bytes) and macaddr8.
pub(super) fn write_mac(bytes: &[u8], out: &mut String) -> Option<()> {
    for (index, byte) in bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        write!(out, "{colon}{byte:02x}").ok()?;
    }
    Some(())
}
