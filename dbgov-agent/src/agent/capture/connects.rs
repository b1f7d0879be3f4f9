//! The control ring: who connects, and who begins to listen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use dbgov_common::{CONNECT_TOLD, ConnectInfo};

use super::tags::{Noted, TagKeeper};
use super::{State, malformed};
use crate::agent::host::{Host, Request};
use crate::capture::event::{self, Control, Facts, comm};
use crate::identity::Task;
use crate::pipeline::Pipeline;

/// How long the record of a connect may stand behind one that another processor has begun and not finished: where the
/// kernel interrupts its own code for another process, some time slices.
const CONNECT_RECORD_TIMEOUT: Duration = Duration::from_millis(20);

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
                cookie,
                connect,
                facts,
                ..
            }) => connecting(pipeline, tags, state, cookie, &connect, facts.as_ref()),
            Ok(Control::Listen { .. }) => host.request(Request::Servers),
            // It has done its work: the thread is awake and reads the packets next.
            Ok(Control::Wake { .. }) => {}
            Err(error) => malformed(state, error),
        }
    }
}

/// Before a client's event is taken: its connect(2) is in the other ring by now and may have come after that was read.
/// Where that ring was full, the client's own event has the most important facts, only later.
pub(super) fn client(
    control: &mut RingBuf<MapData>,
    pipeline: &mut Pipeline,
    host: &Host,
    tags: &mut TagKeeper,
    state: &mut State,
    (cookie, connect): (u64, Option<ConnectInfo>),
) {
    connects(control, pipeline, host, tags, state);
    let Some(connect) = connect else {
        return;
    };
    let begun = Instant::now();
    while !pipeline.is_connecting(cookie)
        && connect.flags & CONNECT_TOLD != 0
        && begun.elapsed() < CONNECT_RECORD_TIMEOUT
    {
        std::thread::yield_now();
        connects(control, pipeline, host, tags, state);
    }
    if !pipeline.is_connecting(cookie) {
        connecting(pipeline, tags, state, cookie, &connect, None);
    }
}

fn connecting(
    pipeline: &mut Pipeline,
    tags: &mut TagKeeper,
    state: &mut State,
    cookie: u64,
    connect: &ConnectInfo,
    facts: Option<&Facts>,
) {
    let (comm, at) = (comm(&connect.comm), connect.time_boot_ns);
    let task = Task {
        pid: connect.pid,
        uid: connect.uid,
        comm: &comm,
        cgroup_id: connect.cgroup_id,
        at,
        facts,
    };
    let process = state.resolver.resolve(&task);
    let named = tags.name(Arc::clone(&process), Noted::of(connect));
    if !Arc::ptr_eq(&process, &named) {
        state.resolver.remember(&named);
    }
    pipeline.connecting(cookie, named, at);
}
