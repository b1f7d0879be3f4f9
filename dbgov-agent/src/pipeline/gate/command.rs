//! What the pipeline wants the gate to do.

use std::sync::Arc;

use dbgov_common::gate::GateControl;

use crate::gate::gated::Gated;
use crate::gate::inject::Ends;
use crate::policy::trigger::Words;

/// What the pipeline wants the gate to do.
#[derive(Debug, Clone)]
pub enum GateCommand {
    /// Give the kernel this automaton.
    Load {
        slot: u8,
        words: Arc<Words>,
    },
    /// Look at a connection so from now on.
    Control {
        cookie: u64,
        control: GateControl,
    },
    Release(Release),
    /// End the connection at both sides.
    Refuse {
        to: Target,
        /// What the server's TCP expects next.
        request_seq: u32,
        /// What the client's TCP expects next, where the agent has followed that.
        response_seq: Option<u32>,
        /// Told to the client before.
        message: Option<Vec<u8>>,
    },
}

/// The connection a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub cookie: u64,
    /// Of the server's socket, where the kernel tells it.
    pub netns_cookie: Option<u64>,
    pub ends: Ends,
}

/// Request bytes that are sent to the server, as if the client had sent them now.
#[derive(Debug, Clone)]
pub struct Release {
    pub to: Target,
    pub seq: u32,
    /// What the client's packets say now.
    pub ack: u32,
    pub window: u16,
    pub payload: Vec<u8>,
    /// A message ends with them.
    pub ends_message: bool,
    /// The client's end of its side, after them.
    pub fin: bool,
}

impl Release {
    pub(super) fn new(to: Target, seq: u32, client: &Gated, payload: Vec<u8>) -> Self {
        Release {
            to,
            seq,
            ack: client.ack,
            window: client.window,
            payload,
            ends_message: false,
            fin: false,
        }
    }
}
