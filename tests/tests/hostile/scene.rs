//! A server, the agent, and what strangers need to talk to them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::journal;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::wire::{self, Client};
use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What the agent may grow by: a session's bounds (16 MiB of pending messages, 8 MiB of prepared statements, 4 MiB out
/// of order) and what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 48 * 1024;

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) agent: Agent,
    resident_kib: u64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Scene::with(Options {
            quiet: true,
            ..Options::default()
        })
    }

    pub(crate) fn with(options: Options) -> Self {
        let server = Server::start(&options).unwrap();
        let agent = Agent::start(Config::watching(&[&server])).unwrap();
        let resident_kib = journal::resident_kib(agent.pid().unwrap()).unwrap();
        Scene {
            server,
            agent,
            resident_kib,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.server.port()).into()
    }

    pub(crate) fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn client(&self, application: &str) -> Client {
        Client::connect(self.address(), "postgres", "postgres", application).unwrap()
    }

    pub(crate) fn check_memory(&self) {
        let now = journal::resident_kib(self.agent.pid().unwrap()).unwrap();
        let grown = now.saturating_sub(self.resident_kib);
        println!("grown by {grown} KiB from {} KiB", self.resident_kib);
        assert!(grown <= GROWTH_KIB_MAX, "grown by {grown} KiB");
    }

    /// The agent still does its work. Then it is stopped: its journal.
    pub(crate) fn end(mut self) -> Vec<Value> {
        self.check_memory();
        self.client("after").query("SELECT 'still here'").unwrap();
        let status = self.agent.status().unwrap();
        assert_eq!(status["ready"], true);
        self.agent.stop().unwrap();
        let records = journal::verify(&self.agent.audit_dir().unwrap()).unwrap();
        let after = journal::of_application(&records, "after");
        assert_eq!(journal::texts(&after), ["SELECT 'still here'"]);
        records
    }
}

/// Sends what a stranger sends, and goes when the server is done with it or has said something.
pub(crate) fn send(scene: &Scene, bytes: &[u8]) -> SocketAddr {
    let mut stream = scene.raw();
    let local = stream.local_addr().unwrap();
    // The server may be gone before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
    local
}

/// The same bytes on every run (xorshift64*).
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        })
        .collect()
}

pub(crate) fn startup() -> Vec<u8> {
    wire::startup(&[("user", "postgres"), ("database", "postgres")])
}
