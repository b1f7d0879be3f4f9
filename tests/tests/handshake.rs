//! Connections whose packets look unusual: data in the handshake, IP options, IPv6 extension headers.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{Client, startup};

/// A client may keep back the ACK that ends the handshake until it has data (TCP_DEFER_ACCEPT on its side, tcp(7)).
/// The packet then passes the ingress hook on the listening socket: the connection does not exist yet.
fn connect_and_wait(address: SocketAddr) -> Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
    let socket: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let seconds: libc::c_int = 1;
    // SAFETY: an open socket and a c_int of the size given.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(
        set == 0,
        "TCP_DEFER_ACCEPT: {}",
        std::io::Error::last_os_error()
    );
    let SocketAddr::V4(address) = address else {
        anyhow::bail!("an IPv4 address")
    };
    connect(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    // SAFETY: the descriptor is owned and handed over.
    Ok(unsafe { TcpStream::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(socket)) })
}

fn connect_with_data(address: SocketAddr, data: &[u8]) -> Result<TcpStream> {
    let mut stream = connect_and_wait(address)?;
    stream.write_all(data)?;
    Ok(stream)
}

/// The pages of a file can be changed after dbgov has looked at them (`shared_pages` shows how); the journal says so.
#[test]
fn data_of_a_file_with_the_last_packet_of_the_handshake_may_be_another() -> Result<()> {
    let server = Server::start(&Options::default())?;
    let mut agent = Agent::start(Config::watching(&[&server]))?;
    let start = startup(&[("user", "postgres"), ("database", "postgres")]);
    let mut file = tempfile::tempfile()?;
    file.write_all(&start)?;
    let stream = connect_and_wait(([127, 0, 0, 1], server.port()).into())?;
    let sent = nix::sys::sendfile::sendfile(&stream, &file, Some(&mut 0), start.len())?;
    ensure!(sent == start.len(), "sent {sent} bytes");
    let mut client = Client { stream };
    client.until_ready().context("start-up")?;
    drop(client);
    agent.stop()?;
    let records = agent.journal()?;
    let gaps = dbgov_tests::journal::of_kind(&records, "gap");
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0]["gap"]["cause"], "shared_pages");
    assert_eq!(gaps[0]["gap"]["bytes"], start.len());
    Ok(())
}

#[test]
fn data_with_the_last_packet_of_the_handshake_is_read() -> Result<()> {
    const CONNECTIONS: usize = 20;
    let server = Server::start(&Options::default())?;
    let mut agent = Agent::start(Config::watching(&[&server]))?;
    let address: SocketAddr = format!("127.0.0.1:{}", server.port()).parse()?;
    let start = startup(&[
        ("user", "postgres"),
        ("database", "postgres"),
        ("application_name", "early"),
    ]);
    for n in 0..CONNECTIONS {
        let mut client = Client {
            stream: connect_with_data(address, &start)?,
        };
        client.until_ready().context("start-up")?;
        client.query(&format!("SELECT {n}"))?;
        client
            .stream
            .set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    agent.stop()?;
    let records = agent.journal()?;
    let of = |kind: &str| {
        records
            .iter()
            .filter(|r| r["kind"] == kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("gap"), Vec::<&serde_json::Value>::new());
    assert_eq!(of("protocol_error"), Vec::<&serde_json::Value>::new());
    let statements = of("statement");
    assert_eq!(statements.len(), CONNECTIONS);
    for (n, record) in statements.iter().enumerate() {
        assert_eq!(record["statement"]["text"], format!("SELECT {n}"));
        assert_eq!(record["session"]["joined"], "start");
        assert_eq!(record["session"]["application"], "early");
        assert_eq!(record["identity"]["pid"], std::process::id());
    }
    Ok(())
}

/// An option the kernel puts into every packet of the socket.
struct SocketOption {
    level: libc::c_int,
    name: libc::c_int,
    value: &'static [u8],
}

/// Four No Operation options (RFC 791, 3.1): the IPv4 header has 24 bytes.
const IPV4_OPTIONS: SocketOption = SocketOption {
    level: libc::IPPROTO_IP,
    name: libc::IP_OPTIONS,
    value: &[1, 1, 1, 1],
};

/// Destination options with six bytes of padding (RFC 8200, 4.2 and 4.6; RFC 3542, 9.2).
const IPV6_DESTINATION_OPTIONS: SocketOption = SocketOption {
    level: libc::IPPROTO_IPV6,
    name: libc::IPV6_DSTOPTS,
    value: &[0, 0, 1, 4, 0, 0, 0, 0],
};

/// Hop-by-hop options, likewise (RFC 8200, 4.3). Linux drops packets with more than seven bytes of padding.
const IPV6_HOP_BY_HOP_OPTIONS: SocketOption = SocketOption {
    level: libc::IPPROTO_IPV6,
    name: libc::IPV6_HOPOPTS,
    value: &[0, 0, 1, 4, 0, 0, 0, 0],
};

impl SocketOption {
    fn set(&self, stream: &TcpStream) -> Result<()> {
        // SAFETY: an open socket, and as many bytes as said.
        let set = unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                self.level,
                self.name,
                self.value.as_ptr().cast(),
                self.value.len() as libc::socklen_t,
            )
        };
        ensure!(
            set == 0,
            "option {}: {}",
            self.name,
            std::io::Error::last_os_error()
        );
        Ok(())
    }
}

#[test]
fn packets_with_ip_options_and_extension_headers_are_read() -> Result<()> {
    let cases: [(&str, &[SocketOption]); 4] = [
        ("127.0.0.1", &[IPV4_OPTIONS]),
        ("[::1]", &[IPV6_DESTINATION_OPTIONS]),
        ("[::1]", &[IPV6_HOP_BY_HOP_OPTIONS]),
        (
            "[::1]",
            &[IPV6_HOP_BY_HOP_OPTIONS, IPV6_DESTINATION_OPTIONS],
        ),
    ];
    let server = Server::start(&Options::default())?;
    let mut agent = Agent::start(Config::watching(&[&server]))?;
    for (n, (host, options)) in cases.iter().enumerate() {
        let address: SocketAddr = format!("{host}:{}", server.port()).parse()?;
        let mut client = Client::connect(address, "postgres", "postgres", "options")?;
        client
            .stream
            .set_read_timeout(Some(Duration::from_secs(5)))?;
        for option in *options {
            option.set(&client.stream)?;
        }
        client
            .query(&format!("SELECT {n}"))
            .with_context(|| format!("case {n}"))?;
        // Longer than a packet: more than one record, each with its headers.
        client
            .query(&format!("SELECT {n}, '{}'", "x".repeat(200_000)))
            .with_context(|| format!("case {n}, long"))?;
    }
    agent.stop()?;
    let records = agent.journal()?;
    let unseen: Vec<_> = records
        .iter()
        .filter(|r| r["kind"] == "gap" || r["kind"] == "protocol_error")
        .collect();
    assert!(unseen.is_empty(), "{unseen:?}");
    let texts: Vec<&str> = records
        .iter()
        .filter_map(|r| r["statement"]["text"].as_str())
        .collect();
    assert_eq!(texts.len(), 2 * cases.len());
    for (n, pair) in texts.chunks(2).enumerate() {
        assert_eq!(pair[0], format!("SELECT {n}"));
        assert_eq!(pair[1].len(), 200_000 + format!("SELECT {n}, ''").len());
    }
    Ok(())
}
