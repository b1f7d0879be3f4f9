use super::*;

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
        assert!(pipeline.first_requests.is_empty());
    }
}
