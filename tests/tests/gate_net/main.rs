//! The gate's hands: packets injected into established connections, resets, SOCK_DESTROY. Real sockets in two network
//! namespaces of the test's own; no agent and no kernel programs.

mod marks;
mod stand;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use dbgov_agent::capture::netns::{self, NetNs};
use dbgov_agent::gate::destroy::{Destroyed, destroy};
use dbgov_agent::gate::inject::{Ends, InjectError, Injector, Injectors};
use dbgov_agent::gate::refusal;
use dbgov_common::gate::MARK_RESUME;
use dbgov_tests::wait_for;
use nix::sched::CloneFlags;

use marks::Marks;
use stand::{Stand, numbers, window};

const PATIENCE: Duration = Duration::from_secs(10);
/// Bit 0 is MARK_RESUME's.
const MARK: u32 = 0x6462_6700;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn injected_bytes_are_read_and_the_clients_own_are_not_read_again() {
    let stand = Stand::new();
    // The strictest settings: a packet from outside that comes over the loopback has the wrong interface.
    for key in ["all", "default", "lo", "leg"] {
        stand.set(
            &stand.server,
            &["sysctl", "-qw", &format!("net.ipv4.conf.{key}.rp_filter=1")],
        );
    }
    let mut injector = stand.injector();
    for mut connection in stand.connections() {
        connection.inject(&mut injector, b"SELECT 1", true);
        connection.served(b"SELECT 1");
        // The client sends what the server has already, under the same numbers, and goes on.
        connection.client.write_all(b"SELECT 1").unwrap();
        connection.client.write_all(b"; SELECT 2").unwrap();
        connection.served(b"; SELECT 2");
        connection.server.write_all(b"two").unwrap();
        let mut answer = [0; 3];
        connection.client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"two");
    }
}

#[test]
fn what_was_injected_wins_over_what_the_client_sends_under_the_same_numbers() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
    connection.inject(&mut injector, b"'dbgov: no-ddl'", true);
    connection.client.write_all(b"DROP TABLE t   ").unwrap();
    connection.client.write_all(b"!").unwrap();
    connection.served(b"'dbgov: no-ddl'!");
}

#[test]
fn long_payloads_are_cut_to_the_loopbacks_mtu() {
    const LENGTH: usize = 60_000;
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mtu in ["1280", "1500", "65536"] {
        // The injector is open already: it follows.
        stand.set(&stand.server, &["ip", "link", "set", "lo", "mtu", mtu]);
        for mut connection in stand.connections() {
            let payload = bytes(LENGTH);
            connection.inject(&mut injector, &payload, true);
            connection.served(&payload);
        }
    }
}

/// A server that is busy and does not read takes what its window promised, in whatever pieces it comes.
#[test]
fn as_much_as_the_window_allows_is_taken() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mtu in ["1500", "65536"] {
        stand.set(&stand.server, &["ip", "link", "set", "lo", "mtu", mtu]);
        for mut connection in stand.connections() {
            let payload = bytes(window(&connection.server));
            assert!(payload.len() > 30_000);
            connection.inject(&mut injector, &payload, true);
            connection.served(&payload);
        }
    }
}

#[test]
fn a_held_end_of_the_stream_is_released() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mut connection in stand.connections() {
        let at = numbers(&connection.client);
        injector
            .end_to_server(connection.ends, at.next, at.expected, 512, b"bye")
            .unwrap();
        let mut all = Vec::new();
        connection.server.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"bye");
    }
}

#[test]
fn only_the_packet_that_ends_a_message_says_so() {
    let stand = Stand::new();
    stand.set(&stand.server, &["ip", "link", "set", "lo", "mtu", "1500"]);
    let mut injector = stand.injector();
    let marks = Marks::open(&stand);
    for resume in [true, false, true] {
        let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
        connection.inject(&mut injector, &bytes(4000), resume);
        connection.served(&bytes(4000));
        let last = if resume { MARK | MARK_RESUME } else { MARK };
        assert_eq!(marks.take(), [MARK, MARK, last]);
        // What the client sends by itself has no mark.
        connection.client.write_all(&bytes(4000)).unwrap();
        connection.client.write_all(b"!").unwrap();
        connection.served(b"!");
        assert!(marks.take().iter().all(|mark| *mark == 0));
    }
}

#[test]
fn both_ends_are_reset() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    for mut connection in stand.connections() {
        let (client, server) = (numbers(&connection.client), numbers(&connection.server));
        // A number that is not the expected one does nothing: another connection cannot be hit by mistake.
        injector
            .rst_to_server(connection.ends, server.expected.wrapping_add(1))
            .unwrap();
        connection.client.write_all(b"still").unwrap();
        connection.served(b"still");
        injector
            .rst_to_server(connection.ends, server.expected.wrapping_add(5))
            .unwrap();
        let error = connection.server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        injector
            .rst_to_client(connection.ends, client.expected)
            .unwrap();
        let error = connection.client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// The whole of a `reset`: the client reads why, then the end; the server's socket ends, after what had passed before.
#[test]
fn a_client_is_told_why_and_both_ends_are_closed() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    let message = refusal::fatal("no-destructive-ddl", Some("agents do not"), true);
    for mut connection in stand.connections() {
        connection.client.write_all(b"passed before").unwrap();
        let mut waiting = [0; 13];
        while connection.server.peek(&mut waiting).unwrap() < waiting.len() {}
        let server = numbers(&connection.server);
        injector
            .to_client(
                connection.ends,
                server.next,
                server.expected,
                &message,
                true,
            )
            .unwrap();
        let destroyed = destroy(
            Some(stand.namespace()),
            connection.ends,
            connection.cookie(),
        );
        assert_eq!(destroyed.unwrap(), Destroyed::Destroyed);
        // Message and FIN.
        let after = server.next.wrapping_add(message.len() as u32 + 1);
        injector.rst_to_client(connection.ends, after).unwrap();

        let mut told = Vec::new();
        // The end is a FIN or a reset, as the packets come; what was said before is read in any case.
        let _ = connection.client.read_to_end(&mut told);
        assert_eq!(told, message);
        connection.served(b"passed before");
        let error = connection.server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        wait_for("the client cannot send any more", PATIENCE, || {
            Ok(connection.client.write_all(b"x").is_err().then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn only_the_connection_that_is_meant_is_destroyed() {
    let stand = Stand::new();
    let namespace = stand.namespace();
    for mut connection in stand.connections() {
        let (ends, cookie) = (connection.ends, connection.cookie());
        let end = |cookie| destroy(Some(namespace), ends, cookie).unwrap();
        assert_eq!(end(cookie + 1), Destroyed::Gone);
        // Not in this namespace.
        assert_eq!(destroy(None, ends, cookie).unwrap(), Destroyed::Gone);
        connection.client.write_all(b"alive").unwrap();
        connection.served(b"alive");
        assert_eq!(end(cookie), Destroyed::Destroyed);
        assert!(connection.server.read(&mut [0]).is_err());
        assert!(
            connection.client.read(&mut [0]).is_err(),
            "the kernel tells it"
        );
        assert_eq!(end(cookie), Destroyed::Gone);
    }
}

#[test]
fn a_namespace_is_found_by_its_cookie_and_let_go() {
    let stand = Stand::new();
    let cookie = stand.inside(&stand.server, || netns::own_cookie().unwrap());
    let mut injectors = Injectors::new(MARK);
    assert_eq!(netns::find(cookie), Some(stand.namespace()));
    let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
    let injector = injectors.get(cookie, netns::find).unwrap();
    connection.inject(injector, b"one", true);
    connection.served(b"one");
    // Open already: nobody is asked.
    injectors.get(cookie, |_| panic!("asked")).unwrap();
    // What is found for a cookie has to be what is there.
    let wrong = injectors.get(cookie + 1_000_000, |_| Some(stand.namespace()));
    assert!(matches!(wrong, Err(InjectError::NoNamespace)));
    assert!(matches!(
        injectors.get(cookie + 1_000_000, netns::find),
        Err(InjectError::NoNamespace)
    ));
    let own = netns::own_cookie().unwrap();
    injectors
        .get(own, |_| panic!("not asked for the own"))
        .unwrap();
    assert_eq!(injectors.len(), 2);
    injectors.retain(|alive| alive == own);
    assert_eq!(injectors.len(), 1);
    let _ = connection.client.shutdown(Shutdown::Both);
}

#[test]
fn what_cannot_be_sent_is_a_typed_error() {
    let stand = Stand::new();
    let mut injector = stand.injector();
    let ends = |client: &str, server: &str| Ends {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    };
    let mixed = ends("10.9.0.1:1", "[fd00::1]:2");
    assert!(matches!(
        injector.to_server(mixed, 0, 0, 0, b"x", true),
        Err(InjectError::Packet(_))
    ));
    // There is no route to it from here.
    let unreachable = ends("198.51.100.1:1", "10.9.0.1:2");
    assert!(matches!(
        injector.to_client(unreachable, 0, 0, b"x", false),
        Err(InjectError::Send(nix::errno::Errno::ENETUNREACH))
    ));
    let gone = NetNs {
        inode: 1,
        pid: std::process::id(),
    };
    assert!(matches!(
        Injector::open(Some(gone), MARK),
        Err(InjectError::Enter(_))
    ));
    let dead = stand.inside(&stand.server, || {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
        Injector::open(None, MARK)
    });
    assert!(matches!(dead, Err(InjectError::Loopback(_))));
}

/// Reported, not asserted: how long a release takes.
#[test]
fn a_release_is_quick() {
    const ROUNDS: u32 = 2000;
    let stand = Stand::new();
    let mut injector = stand.injector();
    let mut connection = stand.connect("0.0.0.0:0", stand.server.ipv4.into());
    let at = numbers(&connection.client);
    let started = std::time::Instant::now();
    for round in 0..ROUNDS {
        injector
            .to_server(
                connection.ends,
                at.next.wrapping_add(round * 8),
                at.expected,
                512,
                b"SELECT 1",
                true,
            )
            .unwrap();
        connection.served(b"SELECT 1");
    }
    println!(
        "release, delivery and read of 8 bytes: {:?}",
        started.elapsed() / ROUNDS
    );
}
