//! The first bytes of a connection when they come in unusual company.

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
fn connect_with_data(address: SocketAddr, data: &[u8]) -> Result<TcpStream> {
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
    let mut stream = unsafe { TcpStream::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(socket)) };
    stream.write_all(data)?;
    Ok(stream)
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
