//! Clients of other hosts go by the names the configuration gives to their addresses; clients of this host never do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::{drivers, journal, wire};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use smoltcp::iface::{Interface, SocketSet};
use smoltcp::phy::{Medium, TunTapInterface, wait};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

const TIMEOUT: Duration = Duration::from_secs(10);
const DEVICE: &str = "elsewhere";
/// The end of the device in the server's namespace (RFC 5737: addresses for documentation, so nobody's).
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Networks for all tests.
fn named(config: Config) -> Config {
    config.more(
        "[[network]]\nname = \"office-vpn\"\naddresses = [\"192.0.2.0/24\", \"10.9.0.0/16\", \"127.0.0.0/8\"]\n\
         hosts = { \"192.0.2.7\" = \"etl-1.example\" }",
    )
}

fn ip(netns: &Netns, args: &[&str]) {
    let status = std::process::Command::new("ip")
        .args(["-n", netns.name()])
        .args(args)
        .status()
        .unwrap();
    assert!(status.success(), "ip {args:?}");
}

/// Talks to a server in `netns` as a host behind a router does: with packets that no socket of this host sends. Says all
/// of it, and gives what was answered until the server says good-bye.
fn from_elsewhere(netns: &Netns, client: Ipv4Addr, server: SocketAddr, said: &[u8]) -> Vec<u8> {
    let file = std::fs::File::open(format!("/run/netns/{}", netns.name())).unwrap();
    // A device is made in the namespace of the thread that makes it; only this thread enters.
    std::thread::scope(|scope| {
        let talk = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            talk(netns, client, server, said)
        });
        talk.join().unwrap()
    })
}

fn talk(netns: &Netns, client: Ipv4Addr, server: SocketAddr, said: &[u8]) -> Vec<u8> {
    let mut device = TunTapInterface::new(DEVICE, Medium::Ip).unwrap();
    let peer = format!("{client}/32");
    ip(
        netns,
        &[
            "addr",
            "add",
            &GATEWAY.to_string(),
            "peer",
            &peer,
            "dev",
            DEVICE,
        ],
    );
    ip(netns, &["link", "set", DEVICE, "up"]);

    let config = smoltcp::iface::Config::new(HardwareAddress::Ip);
    let mut interface = Interface::new(config, &mut device, Moment::now());
    interface.update_ip_addrs(|addresses| {
        addresses
            .push(IpCidr::new(IpAddress::from(client), 0))
            .unwrap();
    });
    interface
        .routes_mut()
        .add_default_ipv4_route(GATEWAY)
        .unwrap();
    let buffer = || tcp::SocketBuffer::new(vec![0; 65_535]);
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let IpAddr::V4(server_ip) = server.ip() else {
        panic!("{server}");
    };
    sockets
        .get_mut::<tcp::Socket>(handle)
        .connect(interface.context(), (server_ip, server.port()), 40_000)
        .unwrap();
    let (mut rest, mut answered, start) = (said, Vec::new(), Instant::now());
    loop {
        assert!(start.elapsed() < TIMEOUT, "no good-bye: {answered:?}");
        interface.poll(Moment::now(), &mut device, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket>(handle);
        if socket.can_send() && !rest.is_empty() {
            rest = &rest[socket.send_slice(rest).unwrap()..];
        }
        if socket.can_recv() {
            socket
                .recv(|bytes| (bytes.len(), answered.extend_from_slice(bytes)))
                .unwrap();
        }
        // The server has closed its side, or is gone.
        if !socket.may_recv() && socket.state() != tcp::State::SynSent && rest.is_empty() {
            socket.close();
            interface.poll(Moment::now(), &mut device, &mut sockets);
            return answered;
        }
        let _ = wait(
            device.as_raw_fd(),
            Some(smoltcp::time::Duration::from_millis(5)),
        );
    }
}

/// A whole session.
fn session(application: &str, sql: &str) -> Vec<u8> {
    let parameters = [
        ("user", "postgres"),
        ("database", "postgres"),
        ("application_name", application),
    ];
    [
        wire::startup(&parameters),
        wire::query(sql),
        wire::message(b'X', &[]),
    ]
    .concat()
}

fn identity(records: &[Value], application: &str) -> Value {
    let session = journal::of_application(records, application);
    let statement = session.iter().find(|record| record["kind"] == "statement");
    statement.expect(application)["identity"].clone()
}

const POLICY: &str = r#"
default = "allow"
[[rule]]
name = "office-drops-nothing"
action = "reset"
verbs = ["drop"]
identities = ["office-*"]
"#;

#[test]
fn remote_clients_go_by_their_networks_and_local_ones_do_not() {
    let (inside, local) = Netns::pair().unwrap();
    let server = Server::start(&Options {
        netns: Some(&inside),
        quiet: true,
        ..Options::default()
    })
    .unwrap();
    let config = named(Config::watching(&[&server])).policy(POLICY);
    let mut agent = Agent::start(config).unwrap();
    let at = SocketAddr::from((GATEWAY, server.port()));
    let elsewhere = |client: [u8; 4], application: &str, sql: &str| {
        from_elsewhere(&inside, client.into(), at, &session(application, sql))
    };
    elsewhere([192, 0, 2, 7], "host", "SELECT 1");
    elsewhere([192, 0, 2, 8], "network", "SELECT 1");
    elsewhere([203, 0, 113, 9], "nobody", "SELECT 1");
    // The rule is about the network; the host in it has another name.
    let refused = elsewhere([192, 0, 2, 8], "refused", "DROP TABLE nothing");
    let text = String::from_utf8_lossy(&refused).into_owned();
    assert!(text.contains("office-drops-nothing"), "{text}");
    let allowed = elsewhere([192, 0, 2, 7], "allowed", "DROP TABLE nothing");
    let text = String::from_utf8_lossy(&allowed).into_owned();
    assert!(text.contains("does not exist"), "{text}");

    // In the network by its address (10.9.0.0/16), but a process of this host.
    let target = server
        .target(&inside.ipv4.to_string())
        .application("local")
        .from(local.place());
    let mut psql = drivers::psql(&target).unwrap();
    psql.args(["-c", "SELECT 1"]);
    drivers::run(psql, &target).unwrap();
    agent.stop().unwrap();

    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    for (application, name, source, network) in [
        ("host", "etl-1.example", "network", Some("office-vpn")),
        ("network", "office-vpn", "network", Some("office-vpn")),
        ("nobody", "postgres", "database_user", None),
        ("refused", "office-vpn", "network", Some("office-vpn")),
        ("local", "root", "os_user", None),
    ] {
        let identity = identity(&records, application);
        assert_eq!(identity["name"], name, "{application}");
        assert_eq!(identity["source"], source, "{application}");
        assert_eq!(identity["network"].as_str(), network, "{application}");
        assert_eq!(identity["pid"].is_null(), application != "local");
    }
}

/// A session in a capture file, one packet for each side.
fn capture(path: &std::path::Path, client: [u8; 4], port: u16) {
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
    let header = PcapHeader {
        datalink: pcap_file::DataLink::RAW,
        ..PcapHeader::default()
    };
    let file = std::fs::File::create(path).unwrap();
    let mut writer = PcapWriter::with_header(file, header).unwrap();
    let said = session("replayed", "SELECT 1");
    let startup_bytes = usize::from(said[3]) + usize::from(said[2]) * 256;
    let answers = [
        wire::message(b'R', &0u32.to_be_bytes()),
        wire::message(b'Z', b"I"),
        wire::message(b'C', b"SELECT 1\0"),
        wire::message(b'Z', b"I"),
    ];
    let ready = answers[..2].concat();
    let done = answers[2..].concat();
    let (startup, rest) = said.split_at(startup_bytes);
    let mut at = Duration::from_secs(1_700_000_000);
    // Flags (RFC 9293, section 3.1): SYN 2, ACK 16, PSH 8, FIN 1.
    let (mut client_seq, mut server_seq) = (1000u32, 9000u32);
    let mut packet = |from_client: bool, flags: u8, payload: &[u8]| {
        let (seq, ack) = match from_client {
            true => (&mut client_seq, server_seq),
            false => (&mut server_seq, client_seq),
        };
        let (src, dst) = match from_client {
            true => ((client, 40_000), ([192, 0, 2, 1], port)),
            false => (([192, 0, 2, 1], port), (client, 40_000)),
        };
        let bytes = segment(src, dst, (*seq, ack), flags, payload);
        *seq += payload.len() as u32 + u32::from(flags & 3 != 0);
        at += Duration::from_millis(1);
        writer
            .write_packet(&PcapPacket::new(at, bytes.len() as u32, &bytes))
            .unwrap();
    };
    packet(true, 2, &[]);
    packet(false, 18, &[]);
    packet(true, 24, startup);
    packet(false, 24, &ready);
    packet(true, 24, rest);
    packet(false, 24, &done);
    packet(true, 17, &[]);
    packet(false, 17, &[]);
}

/// An IPv4 packet with a TCP segment, checksums left out.
fn segment(
    src: ([u8; 4], u16),
    dst: ([u8; 4], u16),
    (seq, ack): (u32, u32),
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length = (40 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend([src.0, dst.0].concat());
    bytes.extend([src.1.to_be_bytes(), dst.1.to_be_bytes()].concat());
    bytes.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

#[test]
fn a_replay_names_networks_too() {
    let agent = Agent::prepare(named(Config::default().port(5999))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (client, name, source) in [
        ([192, 0, 2, 7], "etl-1.example", "network"),
        ([203, 0, 113, 9], "postgres", "database_user"),
        // The server's own address.
        ([192, 0, 2, 1], "postgres", "database_user"),
    ] {
        let file = dir.path().join("session.pcap");
        capture(&file, client, 5999);
        let output = agent.command(&["replay", file.to_str().unwrap()]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let records: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let identity = identity(&records, "replayed");
        assert_eq!(identity["name"], name, "{text}");
        assert_eq!(identity["source"], source);
    }
}
