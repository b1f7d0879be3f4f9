//! `[[network]]`: what clients of other hosts are called, by their addresses.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use crate::identity::networks::{Network, Networks};
use crate::policy::block;

/// Networks of a configuration: a session is looked up in a list of all their blocks.
const NETWORKS_MAX: usize = 1000;
/// Blocks of them all together: a look through so many takes some 20 microseconds, once in a session.
const BLOCKS_MAX: usize = 10_000;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 253;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkConfig {
    name: Spanned<String>,
    /// `10.8.0.0/16`, `2001:db8::/32`, `192.0.2.7`.
    addresses: Spanned<Vec<Spanned<String>>>,
    /// Names of single addresses.
    #[serde(default)]
    hosts: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) span: Range<usize>,
    pub(super) what: String,
}

fn mistake<T>(at: &Spanned<T>, what: impl Into<String>) -> Mistake {
    Mistake {
        span: at.span(),
        what: what.into(),
    }
}

pub(super) fn networks(sections: &[NetworkConfig]) -> Result<Networks, Mistake> {
    let mut names: HashMap<&str, ()> = HashMap::new();
    let mut taken: HashMap<IpNet, &str> = HashMap::new();
    let mut all = Vec::new();
    for section in sections {
        let name = checked_name(&section.name)?;
        if names.insert(name, ()).is_some() {
            return Err(mistake(
                &section.name,
                format!("there is a network {name:?} already; put the addresses of both into one"),
            ));
        }
        if names.len() > NETWORKS_MAX {
            return Err(mistake(
                &section.name,
                format!("more than {NETWORKS_MAX} networks"),
            ));
        }
        if section.addresses.get_ref().is_empty() {
            return Err(mistake(
                &section.addresses,
                "give the blocks of the network, such as \"10.8.0.0/16\"",
            ));
        }
        let mut blocks = Vec::new();
        for text in section.addresses.get_ref() {
            let block = checked_block(text)?;
            if let Some(other) = taken.insert(block, name) {
                return Err(mistake(
                    text,
                    format!(
                        "{block} belongs to the network {other:?} already; leave it out of one of them"
                    ),
                ));
            }
            if taken.len() > BLOCKS_MAX {
                return Err(mistake(
                    text,
                    format!("more than {BLOCKS_MAX} blocks of addresses"),
                ));
            }
            blocks.push(block);
        }
        all.push(Network {
            name: name.into(),
            blocks,
            hosts: hosts(section)?,
        });
    }
    let networks = Networks::new(all);
    for section in sections {
        check_hosts(section, &networks)?;
    }
    Ok(networks)
}

fn hosts(section: &NetworkConfig) -> Result<HashMap<IpAddr, Arc<str>>, Mistake> {
    let mut hosts = HashMap::new();
    for (address, name) in &section.hosts {
        let name = checked_name(name)?;
        if hosts
            .insert(checked_address(address)?, name.into())
            .is_some()
        {
            return Err(mistake(address, "this address has a name already"));
        }
    }
    Ok(hosts)
}

/// A name nobody would ever go by is a slip.
fn check_hosts(section: &NetworkConfig, networks: &Networks) -> Result<(), Mistake> {
    let own = section.name.get_ref();
    for address in section.hosts.keys() {
        match networks.find(checked_address(address)?) {
            Some(found) if *found.network == **own => {}
            Some(found) => {
                let what = format!(
                    "{} is in the network {:?}, whose block is longer; give the name there",
                    address.get_ref(),
                    found.network
                );
                return Err(mistake(address, what));
            }
            None => {
                let what = format!(
                    "{} is in none of the addresses of {own:?}; add it to `addresses`",
                    address.get_ref()
                );
                return Err(mistake(address, what));
            }
        }
    }
    Ok(())
}

fn checked_name(name: &Spanned<String>) -> Result<&str, Mistake> {
    let text = name.get_ref();
    let is_name = !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.trim() == text
        && !text.chars().any(char::is_control);
    match is_name {
        true => Ok(text),
        false => Err(mistake(
            name,
            format!(
                "a name has 1 to {NAME_BYTES_MAX} bytes, no blanks around it and no control characters"
            ),
        )),
    }
}

fn checked_block(text: &Spanned<String>) -> Result<IpNet, Mistake> {
    let block = block(text.get_ref()).map_err(|what| mistake(text, what))?;
    match block {
        IpNet::V6(six) if six.addr().to_ipv4_mapped().is_some() => Err(mistake(
            text,
            "IPv4 addresses that are written as IPv6 ones are taken for IPv4: give the block as that",
        )),
        _ => Ok(block),
    }
}

fn checked_address(text: &Spanned<String>) -> Result<IpAddr, Mistake> {
    match text.get_ref().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical()),
        Err(_) => Err(mistake(text, "expected one address, such as \"192.0.2.7\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("dbgov.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn networks_and_hosts() {
        let config = parse(
            "[[network]]\nname = \"office\"\naddresses = [\"10.8.0.0/16\", \"2001:db8::/32\", \"192.0.2.7\"]\n\
             hosts = { \"192.0.2.7\" = \"etl-1.example\", \"2001:db8::1\" = \"six\" }",
        )
        .unwrap();
        let name = |address: &str| {
            let found = config.networks.find(address.parse().unwrap())?;
            Some(found.name().to_owned())
        };
        assert_eq!(name("10.8.1.2").as_deref(), Some("office"));
        assert_eq!(name("192.0.2.7").as_deref(), Some("etl-1.example"));
        assert_eq!(name("2001:db8::1").as_deref(), Some("six"));
        assert_eq!(name("192.0.2.8"), None);
        assert!(parse("").unwrap().networks.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let one = "[[network]]\nname = \"a\"\naddresses = [\"10.0.0.0/8\"]\n";
        for (text, expected) in [
            ("name = \"a\"", "missing field `addresses`"),
            (
                "name = \"\"\naddresses = [\"10.0.0.0/8\"]",
                "line 2, column 8: a name has 1 to 253",
            ),
            (
                "name = \"a\"\naddresses = []",
                "line 3, column 13: give the blocks",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.0/8\", \"10.1.0.0/40\"]",
                "line 3, column 28: expected an address or a block",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.1/8\"]",
                "did you mean `10.0.0.0/8`?",
            ),
            (
                "name = \"a\"\naddresses = [\"::ffff:10.0.0.0/104\"]",
                "give the block as that",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.0/8\", \"10.0.0.0/8\"]",
                "line 3, column 28: 10.0.0.0/8 belongs to the network \"a\" already",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.0/8\"]\nhosts = { \"11.0.0.1\" = \"x\" }",
                "line 4, column 11: 11.0.0.1 is in none",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.0/8\"]\nhosts = { \"etl\" = \"x\" }",
                "line 4, column 11: expected one address",
            ),
            (
                "name = \"a\"\naddresses = [\"::/0\"]\nhosts = { \"::1\" = \"x\", \"0::1\" = \"y\" }",
                "has a name already",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.0/8\"]\nhosts = { \"10.0.0.1\" = \"\" }",
                "line 4, column 24: a name has",
            ),
            (
                "name = \"a\"\naddresses = [\"10.0.0.0/8\"]\ndns = true",
                "unknown field `dns`",
            ),
        ] {
            let error = parse(&format!("[[network]]\n{text}")).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (text, expected) in [
            (
                "name = \"b\"\naddresses = [\"10.0.0.0/8\"]",
                "line 6, column 14: 10.0.0.0/8 belongs to the network \"a\"",
            ),
            (
                "name = \"a\"\naddresses = [\"11.0.0.0/8\"]",
                "line 5, column 8: there is a network \"a\" already",
            ),
            (
                "name = \"b\"\naddresses = [\"10.0.0.0/7\"]\nhosts = { \"10.0.0.1\" = \"x\" }",
                "is in the network \"a\", whose block is longer",
            ),
        ] {
            let error = parse(&format!("{one}[[network]]\n{text}")).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
