//! What the users of the foreign drivers read when the gate refuses a statement.

use std::time::Duration;

use dbgov_agent::gate::refusal::{fatal, reject_text};
use dbgov_tests::drivers::{Driver, Target};
use dbgov_tests::farewell;
use dbgov_tests::postgres::{Options, Server};

const RULE: &str = "no-destructive-ddl";
const REASON: Option<&str> = Some("agents do not change schemas");
const TOLD: &str = "dbgov: denied by rule \"no-destructive-ddl\": agents do not change schemas";
const STATEMENT: &str = "DROP TABLE kept -- a comment that gives the refusal some room to be told in, 100 bytes long or so";

/// The session ends with a message. Whether its end comes at once or later, the message is read.
#[test]
fn a_farewell_is_shown_by_every_driver() {
    for pause in [Duration::ZERO, Duration::from_millis(200)] {
        let port = farewell::start(fatal(RULE, REASON, true), pause).unwrap();
        for driver in Driver::ALL {
            let said = driver
                .statement(&Target::new("127.0.0.1", port), STATEMENT)
                .unwrap();
            assert!(said.contains(TOLD), "{driver:?}: {said}");
            // asyncpg has its own code for a session that was ended while a statement ran (08003).
            assert!(
                driver == Driver::Asyncpg || said.contains("42501"),
                "{said}"
            );
            assert!(said.contains("then: closed"), "{driver:?}: {said}");
        }
    }
}

/// The statement's text was replaced: an error like any other.
#[test]
fn a_rejection_is_shown_and_the_connection_lives() {
    let server = Server::start(&Options::default()).unwrap();
    let replaced = reject_text(STATEMENT.len(), RULE, REASON).unwrap();
    let replaced = String::from_utf8(replaced).unwrap();
    for driver in Driver::ALL {
        let said = driver
            .statement(&server.target("127.0.0.1"), &replaced)
            .unwrap();
        assert!(
            said.contains(TOLD) && said.contains("42601"),
            "{driver:?}: {said}"
        );
        assert!(said.contains("then: alive"), "{driver:?}: {said}");
    }
}
