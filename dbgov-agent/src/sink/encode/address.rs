//! An end of a session.

use std::net::{IpAddr, SocketAddr};

use crate::audit::view::View;

/// `1.2.3.4:5432`, `[2001:db8::1]:5432`, `unix:/path`, as the record has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    /// As in the record; never empty.
    pub(super) text: &'a str,
    /// Of TCP.
    pub(super) tcp: Option<SocketAddr>,
}

impl<'a> Address<'a> {
    fn new(text: &'a str) -> Option<Self> {
        (!text.is_empty()).then(|| Address {
            text,
            tcp: text.parse().ok(),
        })
    }

    pub(super) fn client(view: &'a View) -> Option<Self> {
        Address::new(&view.session.client_addr)
    }

    pub(super) fn server(view: &'a View) -> Option<Self> {
        Address::new(&view.session.server_addr)
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.tcp.map(|tcp| tcp.ip())
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.tcp.map(|tcp| tcp.port())
    }
}
