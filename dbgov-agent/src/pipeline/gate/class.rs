//! How the kernel looks at a connection: decided from who is there, told when it changes.

use std::sync::Arc;

use dbgov_common::gate::GateControl;

use super::command::GateCommand;
use crate::gate::classes::Class;
use crate::gate::gated::Gated;
use crate::judge::Who;
use crate::pipeline::{Command, Pipeline};

impl Pipeline {
    /// A connection that is none of ours, on a governed port in another network namespace.
    pub(in crate::pipeline) fn let_alone(&mut self, cookie: u64) {
        if self.is_enforcing() {
            self.control(cookie, &Class::passing());
        }
    }

    fn control(&mut self, cookie: u64, class: &Class) {
        self.control_generation = self.control_generation.wrapping_add(1);
        let control = GateControl {
            class: class.class,
            slot: class.slot,
            pad: 0,
            generation: self.control_generation,
        };
        self.tell_gate(GateCommand::Control { cookie, control });
    }

    /// Decides anew how the kernel looks at a connection.
    pub(in crate::pipeline) fn classify(&mut self, cookie: u64) {
        let Some(rulebook) = self.recorder.rulebook.clone() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&cookie) else {
            return;
        };
        let session = &connection.session;
        let Some(gated) = &mut connection.gated else {
            return;
        };
        let facts = Arc::clone(session.decoder.facts());
        // Not before it is known who is there; of a session whose start was not seen that may never be.
        let followed = session.decoder.is_followed();
        if facts.user.is_none() && followed && !session.is_midstream() {
            return;
        }
        let class = if !followed {
            // Nothing in it can be read; whether it may go on at all was decided when that was found.
            Class::passing()
        } else {
            let evidence = session.evidence();
            let who = Who {
                identity: evidence.as_deref(),
                client_addr: session.client_addr.ip(),
                facts: &facts,
                midstream: session.is_midstream(),
                role_may_change: true,
                settings_may_change: true,
                unix_ns: 0,
            };
            let path = who.search_path();
            self.classes.of(&rulebook.policy, &who.context(&path))
        };
        for (slot, words) in self.classes.take_to_load() {
            let load = GateCommand::Load { slot, words };
            self.commands.push(Command::Gate(load));
        }
        if gated
            .class
            .as_ref()
            .is_some_and(|known| known.is_same(&class))
        {
            return;
        }
        let class = gated.set_class(class);
        self.control(cookie, &class);
    }

    /// Holds all of a connection that has prepared what has to be looked at when it runs.
    pub(super) fn restrict(&mut self, cookie: u64) {
        let class = self
            .connections
            .get_mut(&cookie)
            .and_then(|connection| connection.gated.as_mut())
            .and_then(Gated::restrict);
        if let Some(class) = class {
            self.control(cookie, &class);
        }
    }
}
