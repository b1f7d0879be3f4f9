//! Network namespaces joined by veth pairs: clients and servers "in a container".

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::Place;
use crate::scratch;

const PREFIX: &str = "dbgovt-";

/// A network namespace with one leg (`leg`) into another; removed on drop, its veth pair with it.
#[derive(Debug)]
pub struct Netns {
    name: String,
    /// Addresses of the leg inside, and of the other end.
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    pub peer_ipv4: Ipv4Addr,
    pub peer_ipv6: Ipv6Addr,
}

impl Netns {
    /// A namespace joined to the one we run in; the peer addresses are the host's.
    pub fn joined_to_host() -> Result<Self> {
        let subnet = free_subnet()?;
        let inside = Netns::bare(subnet, 2)?;
        inside.join(None)?;
        Ok(inside)
    }

    /// Two namespaces joined to each other and to nothing else.
    pub fn pair() -> Result<(Self, Self)> {
        let one = Netns::bare(0, 1)?;
        let two = Netns::bare(0, 2)?;
        two.join(Some(&one))?;
        Ok((one, two))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a [`Place`] runs in this namespace.
    pub fn place(&self) -> Place {
        Place {
            netns: Some(self.name.clone()),
            ..Place::default()
        }
    }

    fn bare(subnet: u8, host: u8) -> Result<Self> {
        remove_stale();
        let name = scratch::unique(PREFIX);
        ip(&["netns", "add", &name])?;
        let other = 3 - host;
        let ipv6 = |host: u8| Ipv6Addr::new(0xfd00, 9, u16::from(subnet), 0, 0, 0, 0, host.into());
        // From here on drop removes the namespace.
        let netns = Netns {
            ipv4: Ipv4Addr::new(10, 9, subnet, host),
            ipv6: ipv6(host),
            peer_ipv4: Ipv4Addr::new(10, 9, subnet, other),
            peer_ipv6: ipv6(other),
            name,
        };
        ip(&["-n", &netns.name, "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Joins this namespace to `peer`, or to the host.
    fn join(&self, peer: Option<&Netns>) -> Result<()> {
        // At most 15 bytes (IFNAMSIZ): the number of the namespace makes it unique.
        let outer = format!("dv{}", &self.name[PREFIX.len()..]);
        let outer_ns: Vec<&str> = peer.map_or(Vec::new(), |ns| vec!["-n", &ns.name]);
        let on_peer = |args: &[&str]| ip(&[&outer_ns[..], args].concat());
        let inside = |args: &[&str]| ip(&[&["-n", &self.name][..], args].concat());

        let mut add = vec!["link", "add", &outer];
        if let Some(ns) = peer {
            add.extend(["netns", ns.name.as_str()]);
        }
        add.extend(["type", "veth", "peer", "name", "leg", "netns", &self.name]);
        ip(&add)?;
        let address = |args: &dyn Fn(&[&str]) -> Result<()>,
                       dev: &str,
                       v4: Ipv4Addr,
                       v6: Ipv6Addr|
         -> Result<()> {
            args(&["addr", "add", &format!("{v4}/24"), "dev", dev])?;
            // No duplicate address detection: the address is usable at once.
            args(&["addr", "add", &format!("{v6}/64"), "dev", dev, "nodad"])?;
            args(&["link", "set", dev, "up"])
        };
        address(&inside, "leg", self.ipv4, self.ipv6)?;
        address(&on_peer, &outer, self.peer_ipv4, self.peer_ipv6)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .context("cannot run ip (package iproute2)")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The first 10.9.x.0/24 no interface of the host is in.
fn free_subnet() -> Result<u8> {
    let output = Command::new("ip").args(["-o", "-4", "addr"]).output()?;
    let taken = String::from_utf8_lossy(&output.stdout).into_owned();
    (1..=254)
        .find(|x| !taken.contains(&format!(" 10.9.{x}.")))
        .context("all of 10.9.0.0/16 is in use on this host")
}

fn remove_stale() {
    for name in scratch::names_in("/run/netns".as_ref()) {
        if scratch::is_stale(&name, PREFIX) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    /// Listens inside `server`, connects from `client`.
    fn reaches(server: &Netns, client: &Place, address: &str) -> bool {
        let mut listen = server.place().command("python3");
        listen.args([
            "-c",
            "import socket,sys\n\
             s=socket.create_server(('::',7000),family=socket.AF_INET6,dualstack_ipv6=True)\n\
             c,_=s.accept()\n\
             c.sendall(b'hello')",
        ]);
        let mut listener = process::spawn(listen).unwrap();
        let mut connect = client.command("python3");
        connect.args([
            "-c",
            "import socket,sys,time\n\
             for i in range(100):\n\
             \x20 try: c=socket.create_connection((sys.argv[1],7000),2); break\n\
             \x20 except OSError: time.sleep(0.05)\n\
             sys.exit(0 if c.recv(5)==b'hello' else 1)",
            address,
        ]);
        let reached = connect.status().unwrap().success();
        process::stop(&mut listener, &[]).unwrap();
        reached
    }

    #[test]
    fn a_pair_reaches_each_other() {
        let (one, two) = Netns::pair().unwrap();
        assert!(reaches(&one, &two.place(), &two.peer_ipv4.to_string()));
        assert!(reaches(&two, &one.place(), &one.peer_ipv6.to_string()));
    }

    #[test]
    fn the_host_reaches_a_joined_namespace_and_drop_removes_it() {
        let netns = Netns::joined_to_host().unwrap();
        let name = netns.name().to_string();
        assert!(reaches(&netns, &Place::default(), &netns.ipv4.to_string()));
        assert!(reaches(&netns, &Place::default(), &netns.ipv6.to_string()));
        drop(netns);
        assert!(!std::path::Path::new("/run/netns").join(name).exists());
    }
}
