//! The control ring: who connects, and who begins to listen.

use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use dbgov_common::ConnectInfo;

use super::tags::{Noted, TagKeeper};
use super::{State, malformed};
use crate::agent::host::{Host, Request};
use crate::capture::event::{self, Control};
use crate::identity::Task;
use crate::pipeline::Pipeline;

/// Reads the control ring: who connects, and who begins to listen.
pub(super) fn connects(
    control: &mut RingBuf<MapData>,
    pipeline: &mut Pipeline,
    host: &Host,
    tags: &mut TagKeeper,
    state: &mut State,
) {
    while let Some(item) = control.next() {
        match event::control(&item) {
            Ok(Control::Connect {
                cookie, connect, ..
            }) => connecting(pipeline, tags, state, cookie, &connect),
            Ok(Control::Listen { .. }) => host.request(Request::Servers),
            // It has done its work: the thread is awake and reads the packets next.
            Ok(Control::Wake { .. }) => {}
            Err(error) => malformed(state, error),
        }
    }
}

/// Before a client's event is taken: its connect(2) is in the other ring by now and may have come after that was read.
/// Where that ring was full, the client's own event has the same facts, only later.
pub(super) fn client(
    control: &mut RingBuf<MapData>,
    pipeline: &mut Pipeline,
    host: &Host,
    tags: &mut TagKeeper,
    state: &mut State,
    (cookie, connect): (u64, Option<ConnectInfo>),
) {
    connects(control, pipeline, host, tags, state);
    if let Some(connect) = connect
        && !pipeline.is_connecting(cookie)
    {
        connecting(pipeline, tags, state, cookie, &connect);
    }
}

fn connecting(
    pipeline: &mut Pipeline,
    tags: &mut TagKeeper,
    state: &mut State,
    cookie: u64,
    connect: &ConnectInfo,
) {
    let (comm, at) = (comm(&connect.comm), connect.time_boot_ns);
    let task = Task {
        pid: connect.pid,
        uid: connect.uid,
        comm: &comm,
        cgroup_id: connect.cgroup_id,
        at,
    };
    let process = state.resolver.resolve(&task);
    let named = tags.name(Arc::clone(&process), Noted::of(connect));
    if !Arc::ptr_eq(&process, &named) {
        state.resolver.remember(&named);
    }
    pipeline.connecting(cookie, named, at);
}

fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
