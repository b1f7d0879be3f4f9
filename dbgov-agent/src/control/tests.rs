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
fn the_file_is_nobodys_but_roots_and_the_groups() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _control = Control::bind(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let grouped = peer::group().is_some() && nix::unistd::geteuid().is_root();
    assert_eq!(mode, if grouped { 0o660 } else { 0o600 });
}
