use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::sink::test_items::{items, now};

async fn receiver() -> (TcpListener, Syslog) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = format!("address = \"127.0.0.1:{port}\"\ntransport = \"tcp\"");
    (
        listener,
        Syslog::new(&toml::from_str(&keys).unwrap(), "node"),
    )
}

/// Reads a connection to its end, and closes in order.
async fn read_to_the_end(listener: &TcpListener) -> usize {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap()
}

#[test]
fn who_has_read_everything_and_stays_has_it() {
    now(async {
        let (listener, mut syslog) = receiver().await;
        let reading = async {
            let bytes = read_to_the_end(&listener).await;
            let next = listener.accept().await.unwrap();
            (bytes, next, listener)
        };
        let sending = async {
            syslog.deliver(&items(3)).await.unwrap();
            assert!(!syslog.confirm(false).await.unwrap(), "it is not due");
            syslog.confirm(true).await.unwrap()
        };
        let ((bytes, _next, _listener), confirmed) = tokio::join!(reading, sending);
        assert!(confirmed && bytes > 300, "{bytes}");
        // Nothing was sent since.
        assert!(syslog.confirm(true).await.unwrap());
    });
}

/// Stopped in order, it has read everything and closed in order; whether it has written it nobody knows.
#[test]
fn who_goes_away_when_it_has_just_read_the_last_may_not_have_it() {
    now(async {
        let (listener, mut syslog) = receiver().await;
        let stopping = async {
            read_to_the_end(&listener).await;
            drop(listener);
        };
        let sending = async {
            syslog.deliver(&items(3)).await.unwrap();
            syslog.confirm(true).await
        };
        let ((), confirmed) = tokio::join!(stopping, sending);
        let error = confirmed.unwrap_err().to_string();
        assert!(error.contains("went away"), "{error}");
    });
}

/// By the time the sink looks again it is back, at the same address.
#[test]
fn who_is_stopped_and_started_again_has_not_stayed() {
    now(async {
        let (listener, mut syslog) = receiver().await;
        let address = listener.local_addr().unwrap();
        let restarting = async {
            read_to_the_end(&listener).await;
            // The next connection is made to the one that goes away.
            tokio::time::sleep(STAY / 3).await;
            drop(listener);
            TcpListener::bind(address).await.unwrap()
        };
        let sending = async {
            syslog.deliver(&items(3)).await.unwrap();
            syslog.confirm(true).await
        };
        let (_again, confirmed) = tokio::join!(restarting, sending);
        let error = confirmed.unwrap_err().to_string();
        assert!(error.contains("went away"), "{error}");
    });
}

#[test]
fn a_connection_that_carried_nothing_may_be_closed_by_the_receiver() {
    now(async {
        let (listener, mut syslog) = receiver().await;
        let receiving = async {
            read_to_the_end(&listener).await;
            // Idle for too long, in its eyes, once the sink has seen that it stays.
            let (idle, _) = listener.accept().await.unwrap();
            tokio::time::sleep(2 * STAY).await;
            drop(idle);
            let bytes = read_to_the_end(&listener).await;
            (bytes, listener.accept().await.unwrap())
        };
        let sending = async {
            syslog.deliver(&items(3)).await.unwrap();
            assert!(syslog.confirm(true).await.unwrap());
            tokio::time::sleep(2 * STAY).await;
            assert!(syslog.confirm(true).await.unwrap());
            syslog.deliver(&items(3)).await.unwrap();
            assert!(syslog.confirm(true).await.unwrap());
        };
        let ((bytes, _last), ()) = tokio::join!(receiving, sending);
        assert!(bytes > 300, "{bytes}");
    });
}
