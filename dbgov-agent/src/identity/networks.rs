//! Names for clients of other hosts, by their addresses: networks and hosts of the configuration. Nobody is asked: an
//! answer of the DNS would be late, and the client's own network may choose it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// A network of the configuration.
#[derive(Debug, Clone)]
pub struct Network {
    pub name: Arc<str>,
    pub blocks: Vec<IpNet>,
    /// Names of single addresses in it.
    pub hosts: HashMap<IpAddr, Arc<str>>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    networks: Vec<Network>,
    /// The longest prefix first, with the index of its network.
    blocks: Vec<(IpNet, usize)>,
}

/// An address that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    pub network: Arc<str>,
    pub host: Option<Arc<str>>,
}

impl NamedAddress {
    /// The host's name, else the network's.
    pub fn name(&self) -> &str {
        self.host.as_ref().unwrap_or(&self.network)
    }
}

impl Networks {
    /// No block may be in two of them.
    pub fn new(networks: Vec<Network>) -> Self {
        let mut blocks: Vec<(IpNet, usize)> = networks
            .iter()
            .enumerate()
            .flat_map(|(index, network)| network.blocks.iter().map(move |block| (*block, index)))
            .collect();
        blocks.sort_by_key(|(block, _)| std::cmp::Reverse(block.prefix_len()));
        Networks { networks, blocks }
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// By the longest prefix. An IPv4 address written as an IPv6 one is taken for IPv4.
    pub fn find(&self, address: IpAddr) -> Option<NamedAddress> {
        let address = address.to_canonical();
        let (_, index) = self
            .blocks
            .iter()
            .find(|(block, _)| block.contains(&address))?;
        let network = &self.networks[*index];
        Some(NamedAddress {
            network: Arc::clone(&network.name),
            host: network.hosts.get(&address).cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, blocks: &[&str], hosts: &[(&str, &str)]) -> Network {
        Network {
            name: name.into(),
            blocks: blocks.iter().map(|block| block.parse().unwrap()).collect(),
            hosts: hosts
                .iter()
                .map(|(address, name)| (address.parse().unwrap(), (*name).into()))
                .collect(),
        }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let networks = Networks::new(vec![
            network("all", &["0.0.0.0/0"], &[]),
            network(
                "vpn",
                &["10.8.0.0/16", "2001:db8::/32"],
                &[("10.8.0.9", "etl")],
            ),
            network("lab", &["10.8.7.0/24", "10.8.0.8/32"], &[]),
        ]);
        for (address, name) in [
            ("10.8.1.1", Some("vpn")),
            ("10.8.7.255", Some("lab")),
            ("10.8.8.0", Some("vpn")),
            ("10.8.0.8", Some("lab")),
            ("10.8.0.9", Some("etl")),
            ("::ffff:10.8.0.9", Some("etl")),
            ("10.9.0.0", Some("all")),
            ("2001:db8:ffff::1", Some("vpn")),
            ("2001:db9::1", None),
            ("::1", None),
        ] {
            let found = networks.find(address.parse().unwrap());
            assert_eq!(found.as_ref().map(NamedAddress::name), name, "{address}");
        }
        assert_eq!(
            &*networks.find("10.8.0.9".parse().unwrap()).unwrap().network,
            "vpn"
        );
        assert!(
            Networks::default()
                .find("10.0.0.1".parse().unwrap())
                .is_none()
        );
    }
}
