//! What is known of the session, and when to say so.

use std::sync::Arc;

use super::text::ClientEncoding;
use super::wire::Reader;
use crate::protocol::{Event, Opaque, SessionFacts, TimeNs};

/// Major protocol versions are in the upper half of the word.
pub(super) fn split_version(word: u32) -> (u16, u16) {
    ((word >> 16) as u16, word as u16)
}

/// The names in the value of search_path: identifiers as in SQL, with commas between.
fn schemas(list: &str) -> Arc<[Box<str>]> {
    let mut names = Vec::new();
    let (mut quoted, mut start) = (false, 0);
    for (at, byte) in list.bytes().chain([b',']).enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted || at == list.len() => {
                let name = list[start..at].trim();
                if !name.is_empty() {
                    names.push(super::scan::fold_identifier(name).into());
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    names.into()
}

pub(super) struct Session {
    pub(super) facts: Arc<SessionFacts>,
    pub(super) encoding: ClientEncoding,
    /// The first ReadyForQuery has come, or was before the agent.
    pub(super) authenticated: bool,
    /// Changed since the last Session event. The many changes of a log-in make one event at its end.
    changed: bool,
    /// ParameterStatus of `session_authorization` and of `role`, where the server reports them.
    authorization: Option<String>,
    set_role: Option<String>,
}

impl Session {
    pub(super) fn new(authenticated: bool) -> Self {
        Session {
            facts: Arc::default(),
            encoding: ClientEncoding::utf8(),
            authenticated,
            changed: false,
            authorization: None,
            set_role: None,
        }
    }

    /// Changes a fact; within a session the event comes at once.
    pub(super) fn change(
        &mut self,
        at: TimeNs,
        out: &mut Vec<Event>,
        change: impl FnOnce(&mut SessionFacts),
    ) {
        let mut facts = SessionFacts::clone(&self.facts);
        change(&mut facts);
        if facts == *self.facts {
            return;
        }
        self.facts = Arc::new(facts);
        self.changed = true;
        if self.authenticated {
            self.announce(at, out);
        }
    }

    /// Tells what changed since the last time.
    pub(super) fn announce(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.changed) {
            out.push(Event::Session {
                at,
                facts: self.facts.clone(),
            });
        }
    }

    pub(super) fn became_opaque(&mut self, at: TimeNs, kind: Opaque, out: &mut Vec<Event>) {
        self.change(at, out, |facts| facts.opaque = Some(kind));
        self.announce(at, out);
    }

    pub(super) fn set_facts(&mut self, change: impl FnOnce(&mut SessionFacts)) {
        let before = self.facts.encoding.clone();
        change(Arc::make_mut(&mut self.facts));
        if self.facts.encoding != before {
            self.encoding_changed();
        }
    }

    fn encoding_changed(&mut self) {
        self.encoding = match &self.facts.encoding {
            Some(name) => ClientEncoding::from_name(name),
            None => ClientEncoding::utf8(),
        };
    }

    /// ParameterStatus.
    pub(super) fn parameter_status(&mut self, at: TimeNs, body: &[u8], out: &mut Vec<Event>) {
        let mut reader = Reader(body);
        let (Some(name), Some(value)) = (reader.cstr(), reader.cstr()) else {
            return;
        };
        let text = || Some(self.encoding.decode(value).0);
        match name {
            b"application_name" => {
                let application = text().filter(|name| !name.is_empty());
                self.change(at, out, |facts| facts.application = application);
            }
            b"client_encoding" => {
                let encoding = text();
                if encoding != self.facts.encoding {
                    self.change(at, out, |facts| facts.encoding = encoding);
                    self.encoding_changed();
                }
            }
            b"server_version" => {
                let version = text();
                self.change(at, out, |facts| facts.server_version = version);
            }
            b"standard_conforming_strings" => {
                let on = Some(value == b"on");
                self.change(at, out, |facts| facts.standard_conforming_strings = on);
            }
            b"search_path" => {
                let path = text().map(|list| schemas(&list));
                self.change(at, out, |facts| facts.search_path = path);
            }
            b"session_authorization" => {
                self.authorization = text();
                self.role_changed(at, out);
            }
            b"role" => {
                self.set_role = text().filter(|role| role != "none");
                self.role_changed(at, out);
            }
            _ => {}
        }
    }

    /// The role is the one that was SET, else the session's authorization where that is not the user who logged in.
    fn role_changed(&mut self, at: TimeNs, out: &mut Vec<Event>) {
        let authorization = self
            .authorization
            .clone()
            .filter(|name| self.facts.user.as_ref() != Some(name));
        let role = self.set_role.clone().or(authorization);
        self.change(at, out, |facts| facts.role = role);
    }

    /// BackendKeyData: the process id; the key is not looked at.
    pub(super) fn backend_key(&mut self, at: TimeNs, body: &[u8], out: &mut Vec<Event>) {
        if let Some(pid) = Reader(body).u32() {
            self.change(at, out, |facts| facts.backend_pid = Some(pid));
        }
    }

    /// NegotiateProtocolVersion: the newest minor version the server can speak. Servers send the whole version word.
    pub(super) fn negotiate_version(&mut self, at: TimeNs, body: &[u8], out: &mut Vec<Event>) {
        let Some(word) = Reader(body).u32() else {
            return;
        };
        let version = match split_version(word) {
            (0, minor) => (3, minor),
            version => version,
        };
        self.change(at, out, |facts| {
            // It answers a version that was too new; extensions the server does not know leave the version as asked.
            if facts.protocol_version.is_none_or(|asked| version < asked) {
                facts.protocol_version = Some(version);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::schemas;

    #[test]
    fn a_search_path_is_read_as_the_server_writes_it() {
        let read = |list| {
            schemas(list)
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(read("\"$user\", public"), ["$user", "public"]);
        assert_eq!(read("a,\"B,\"\"c\", D "), ["a", "B,\"c", "d"]);
        assert_eq!(read(""), Vec::<String>::new());
        assert_eq!(read("\"unended, a"), ["unended, a"]);
    }
}
