use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use super::*;
use crate::capture::netns;

fn socket_inode(of: &impl std::os::fd::AsRawFd) -> u64 {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", of.as_raw_fd())).unwrap();
    crate::capture::proc::socket_inode(&link).unwrap()
}

fn finds_own_sockets(bind: &str) {
    let listener = TcpListener::bind(bind).unwrap();
    let addr = listener.local_addr().unwrap();
    let client = TcpStream::connect(addr).unwrap();
    let (server, _) = listener.accept().unwrap();

    let listening = tcp_sockets(Query::Listening).unwrap().sockets;
    let own = listening.iter().find(|s| s.local == addr).unwrap();
    assert_eq!(own.state, State::Listening);
    assert_eq!(own.inode, socket_inode(&listener));
    assert_eq!(own.cookie, netns::socket_cookie(listener.as_fd()).unwrap());
    assert_eq!(own.uid, nix::unistd::geteuid().as_raw());

    let port = addr.port();
    let local = tcp_sockets(Query::EstablishedFrom { local_port: port }).unwrap();
    assert_eq!(
        local.sockets.len(),
        1,
        "the kernel filters by port: {local:?}"
    );
    let found = &local.sockets[0];
    assert_eq!(
        (found.local, found.remote),
        (addr, client.local_addr().unwrap())
    );
    assert_eq!(found.inode, socket_inode(&server));
    assert_eq!(found.cookie, netns::socket_cookie(server.as_fd()).unwrap());
    assert_eq!(found.state, State::Established);

    let remote = tcp_sockets(Query::EstablishedTo { remote_port: port }).unwrap();
    assert_eq!(remote.sockets.len(), 1);
    let found = &remote.sockets[0];
    assert_eq!(
        (found.local, found.remote),
        (client.local_addr().unwrap(), addr)
    );
    assert_eq!(found.cookie, netns::socket_cookie(client.as_fd()).unwrap());
}

#[test]
fn own_ipv4_listener_and_connection_are_found() {
    finds_own_sockets("127.0.0.1:0");
}

#[test]
fn own_ipv6_listener_and_connection_are_found() {
    finds_own_sockets("[::1]:0");
}

#[test]
fn mapped_addresses_are_written_as_ipv4() {
    // std leaves IPV6_V6ONLY at the system's default, off on Linux.
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (_server, _) = listener.accept().unwrap();
    let dump = tcp_sockets(Query::EstablishedFrom { local_port: port }).unwrap();
    assert_eq!(
        dump.sockets[0].local,
        format!("127.0.0.1:{port}").parse().unwrap()
    );
    assert_eq!(dump.sockets[0].remote, client.local_addr().unwrap());
    let listening = tcp_sockets(Query::Listening).unwrap().sockets;
    assert!(
        listening
            .iter()
            .any(|s| s.local.port() == port && s.dual_stack)
    );
}

#[test]
fn broken_answers_are_errors_not_panics() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bytes = request(AF_INET, 7, Query::Listening);
    let mut found = Dump::default();
    for cut in 1..bytes.len() {
        assert!(
            read_datagram(&bytes[..cut], 7, &mut found).is_err(),
            "cut at {cut}"
        );
    }
    for value in [0u32, 1, 15, u32::MAX] {
        bytes[..4].copy_from_slice(&value.to_ne_bytes());
        assert!(
            read_datagram(&bytes, 7, &mut found).is_err(),
            "length {value}"
        );
    }
    assert!(found.sockets.is_empty());
    drop(listener);
}

#[test]
fn the_kernels_error_is_handed_on() {
    // nlmsghdr of NLMSG_ERROR, then nlmsgerr: -EPERM and the header of the request.
    let mut bytes = vec![0u8; 36];
    bytes[0] = 36;
    bytes[4] = 2;
    bytes[8] = 7;
    bytes[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
    let mut found = Dump::default();
    match read_datagram(&bytes, 7, &mut found) {
        Err(Error::Io(e)) => assert_eq!(e.raw_os_error(), Some(libc::EPERM)),
        other => panic!("{other:?}"),
    }
    // Answers to another request are passed over.
    assert_eq!(
        read_datagram(&bytes, 8, &mut found).unwrap(),
        Progress::More
    );
}
