use std::collections::HashSet;

use super::*;
use crate::capture::event::{Captured, Ends};
use crate::protocol::Direction;

const COOKIE: u64 = 7;

fn ends() -> Ends {
    Ends {
        local: ([127, 0, 0, 1], 5432).into(),
        remote: ([127, 0, 0, 1], 40_000).into(),
    }
}

/// Protocol 3.0, user `app` (PostgreSQL documentation, "StartupMessage").
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";

fn open(request_seq: u32) -> Captured<'static> {
    Captured::Open {
        cookie: COOKIE,
        at: 2,
        ends: ends(),
        netns_cookie: None,
        request_seq,
        response_seq: 500,
    }
}

fn first(seq: u32, payload: &[u8]) -> Captured<'_> {
    Captured::FirstRequest {
        at: 1,
        ends: ends(),
        seq,
        missing_bytes: 0,
        shared: false,
        payload,
    }
}

/// The packet overtakes the end of the handshake on another CPU, or nearly so.
#[test]
fn data_before_and_just_behind_the_opening_is_the_connections() {
    for before in [true, false] {
        let mut pipeline = Pipeline::new(Limits::default(), Clock::boot(), false);
        pipeline.govern(Governed {
            ports: HashSet::from([5432]),
            found: Default::default(),
        });
        let events = [first(100, STARTUP), open(100)];
        if before {
            events
                .into_iter()
                .for_each(|event| pipeline.captured(event));
        } else {
            events
                .into_iter()
                .rev()
                .for_each(|event| pipeline.captured(event));
        }
        let connection = &pipeline.connections[&COOKIE];
        let facts = connection.session.decoder.facts();
        assert_eq!(facts.user.as_deref(), Some("app"), "before: {before}");
        assert!(!connection.session.is_midstream());
        assert!(pipeline.early.is_empty());
    }
}

/// A session of a process, from connect(2) on.
fn session_of(pipeline: &mut Pipeline, process: Process) {
    let client_cookie = 8;
    pipeline.connecting(client_cookie, Arc::new(process), 1);
    let ends = Ends {
        local: ends().remote,
        remote: ends().local,
    };
    pipeline.captured(Captured::Client {
        cookie: client_cookie,
        at: 1,
        ends,
        connect: None,
    });
    pipeline.captured(open(100));
}

fn request(at: TimeNs) -> Captured<'static> {
    Captured::Request {
        cookie: COOKIE,
        at,
        seq: 100,
        ack: 500,
        lost_bytes: 0,
        held: None,
        shared: false,
        payload: STARTUP,
    }
}

#[test]
fn clients_are_asked_about_while_their_connections_are_in_use() {
    let mut pipeline = Pipeline::new(Limits::default(), Clock::boot(), false);
    pipeline.govern(Governed {
        ports: HashSet::from([5432]),
        found: Default::default(),
    });
    let process = Process {
        pid: 9,
        started_ns: Some(1),
        ..Process::default()
    };
    session_of(&mut pipeline, process);
    let client = Client {
        cookie: COOKIE,
        pid: 9,
        started_ns: 1,
    };
    assert_eq!(pipeline.active_clients(), [client]);
    assert_eq!(pipeline.active_clients(), [], "not used since");
    pipeline.captured(request(10));
    assert_eq!(pipeline.active_clients(), [client]);

    let ended = |pipeline: &Pipeline| pipeline.connections[&COOKIE].session.is_client_ended();
    let mut other = Pipeline::new(Limits::default(), Clock::boot(), false);
    other.client_ended(COOKIE, None);
    assert!(!ended(&pipeline));
    pipeline.client_ended(COOKIE, None);
    assert!(ended(&pipeline));
    pipeline.captured(request(20));
    assert_eq!(pipeline.active_clients(), [], "told once");
}

#[test]
fn a_client_that_said_good_bye_may_end() {
    let mut pipeline = Pipeline::new(Limits::default(), Clock::boot(), false);
    pipeline.govern(Governed {
        ports: HashSet::from([5432]),
        found: Default::default(),
    });
    let process = Process {
        pid: 9,
        started_ns: Some(1),
        ..Process::default()
    };
    session_of(&mut pipeline, process);
    pipeline.captured(Captured::Fin {
        cookie: COOKIE,
        at: 11,
        direction: Direction::Request,
        reset: false,
        seq: 100,
        held: None,
    });
    assert_eq!(pipeline.active_clients(), []);
    pipeline.client_ended(COOKIE, None);
    assert!(!pipeline.connections[&COOKIE].session.is_client_ended());
}
