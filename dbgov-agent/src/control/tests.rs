use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::*;

fn status_only(node: &str) -> impl Handler + use<> {
    let node = node.to_owned();
    move |_: &Peer, request: Request| match request {
        Request::Status => Reply::of(&Status {
            node: node.clone(),
            ..Status::default()
        }),
        other => Reply::error(format!("not {other:?}")),
    }
}

#[test]
fn a_status_crosses_the_socket_and_the_file_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/control.sock");
    assert!(matches!(
        status(&path),
        Err(ControlError::NotRunning { .. })
    ));
    let serving = Control::bind(&path)
        .unwrap()
        .serve(status_only("host-1"))
        .unwrap();
    assert_eq!(status(&path).unwrap().node, "host-1");
    assert!(matches!(Control::bind(&path), Err(ControlError::InUse(_))));
    serving.stop();
    assert!(!path.exists());
}

#[test]
fn a_socket_left_behind_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    Control::bind(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    std::fs::write(&path, "kept").unwrap();
    assert!(matches!(
        Control::bind(&path),
        Err(ControlError::Bind { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"kept");
}

#[test]
fn everybody_may_knock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _control = Control::bind(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o666);
}

#[test]
fn garbage_gets_an_error_and_the_next_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let serving = Control::bind(&path)
        .unwrap()
        .serve(status_only(""))
        .unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"{\"command\":\"explode\"}\n",
        b"{\"command\":\"gate_off\",\"extra\":1}\n",
        &[b'['; 2 * REQUEST_BYTES_MAX as usize],
        b"\xff\xfe\n",
        b"\n",
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        let _ = stream.write_all(garbage);
        let mut reply = Vec::new();
        // Where it had not read all, the agent's close is a reset.
        let _ = stream.read_to_end(&mut reply);
        assert!(reply.starts_with(b"{\"error\":"), "{reply:?}");
    }
    assert!(status(&path).is_ok());
    serving.stop();
}

#[test]
fn an_answer_in_words_is_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let serving = Control::bind(&path)
        .unwrap()
        .serve(|_: &Peer, _| Reply::error("no statement waits under k7qx-1"))
        .unwrap();
    let error = approvals(&path).unwrap_err();
    assert!(matches!(&error, ControlError::Refused(_)));
    assert_eq!(error.to_string(), "no statement waits under k7qx-1");
    serving.stop();
}

#[test]
fn a_client_that_dawdles_keeps_nobody_waiting_and_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let serving = Control::bind(&path)
        .unwrap()
        .serve(status_only(""))
        .unwrap();
    let mut slow = UnixStream::connect(&path).unwrap();
    let started = std::time::Instant::now();
    slow.write_all(b"{").unwrap();
    assert!(status(&path).is_ok());
    assert!(started.elapsed() < Duration::from_secs(1));
    // A byte now and then does not stretch its time.
    while slow.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    serving.stop();
}

#[test]
fn more_clients_than_there_is_room_for_are_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let serving = Control::bind(&path)
        .unwrap()
        .serve(status_only(""))
        .unwrap();
    let idle: Vec<UnixStream> = (0..16)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    // Those before are taken in order.
    let error = status(&path).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    drop(idle);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while status(&path).is_err() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    serving.stop();
}

#[test]
fn requests_and_replies_have_the_form_that_is_documented() {
    let id = ApprovalId::parse("K7QX-1");
    let request = Request::Approve { id, reason: None };
    assert_eq!(
        serde_json::to_string(&request).unwrap(),
        r#"{"command":"approve","id":"k7qx-1"}"#
    );
    assert_eq!(
        serde_json::to_string(&Reply::of(&[1])).unwrap(),
        r#"{"ok":[1]}"#
    );
    assert_eq!(
        serde_json::to_string(&Reply::error("no")).unwrap(),
        r#"{"error":"no"}"#
    );
}
