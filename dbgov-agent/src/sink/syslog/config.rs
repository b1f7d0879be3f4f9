//! The keys of a syslog sink.

use serde::Deserialize;

use crate::sink::tls::TlsConfig;

/// Port of syslog over UDP (RFC 5426, 3.3); of syslog over TCP as long as everybody has used it.
const PORT: u16 = 514;
/// Port of syslog over TLS (RFC 5425, 4.1).
const TLS_PORT: u16 = 6514;
/// The least that a receiver has to take (RFC 5424, 6.1), bytes.
const MESSAGE_BYTES_MIN: usize = 480;
/// The most that a UDP datagram over IPv4 carries (RFC 5426, 3.2), bytes.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Largest message, bytes: as long as a record of the largest statement can be.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct SyslogConfig {
    pub host: String,
    pub port: u16,
    pub transport: Transport,
    pub framing: Framing,
    pub facility: Facility,
    pub app_name: HeaderField,
    pub hostname: Option<HeaderField>,
    /// A longer message is cut, and says so.
    pub message_bytes_max: usize,
    /// A byte order mark before the message (RFC 5424, 6.4).
    pub bom: bool,
    pub confirm: Confirm,
    /// For `transport = "tls"`.
    pub tls: Option<TlsConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// How a receiver knows where a message ends (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Each message comes after its length.
    Octets,
    /// Each message ends with a line feed.
    Lines,
}

/// When records sent over TCP or TLS count as delivered: the protocol has no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// Once the receiver has closed its end after this end was: it does so when it has read everything.
    #[default]
    Close,
    /// Once the receiver's kernel has everything. What its program has not read when it dies is lost.
    Sent,
}

/// RFC 5424, 6.2.1. Its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Facility(pub u8);

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

impl Facility {
    /// 13, log audit.
    pub const AUDIT: Facility = Facility(13);
}

impl TryFrom<String> for Facility {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match FACILITIES.iter().position(|name| *name == text) {
            Some(number) => Ok(Facility(number as u8)),
            None => Err(format!(
                "there is no facility {text:?}; there are {}",
                FACILITIES.join(", ")
            )),
        }
    }
}

/// A field of the header: printable US-ASCII without blanks (RFC 5424, 6).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HeaderField(pub Box<str>);

impl TryFrom<String> for HeaderField {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // APP-NAME has 48; a host's name, which may be longer, is cut where it is written.
        let is_field = (1..=48).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        match is_field {
            true => Ok(HeaderField(text.into())),
            false => Err(format!(
                "{text:?}: give 1 to 48 printable characters of US-ASCII without blanks"
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: String,
    transport: Transport,
    framing: Option<Framing>,
    facility: Option<Facility>,
    app_name: Option<HeaderField>,
    hostname: Option<HeaderField>,
    message_bytes_max: Option<usize>,
    bom: Option<bool>,
    confirm: Option<Confirm>,
    tls: Option<TlsConfig>,
}

impl TryFrom<Written> for SyslogConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let transport = written.transport;
        let default_port = match transport {
            Transport::Udp | Transport::Tcp => PORT,
            Transport::Tls => TLS_PORT,
        };
        let (host, port) = host_and_port(&written.address, default_port)?;
        if transport != Transport::Tls && written.tls.is_some() {
            return Err("tls is only for transport = \"tls\"".to_owned());
        }
        if transport != Transport::Tcp && written.framing.is_some() {
            // RFC 5425, 4.3: octet counting; a datagram is a message (RFC 5426, 3.1).
            return Err("framing is only for transport = \"tcp\"".to_owned());
        }
        if transport == Transport::Udp && written.confirm.is_some() {
            return Err("confirm is for transport = \"tcp\" and \"tls\": nobody knows where a datagram went".to_owned());
        }
        let longest = match transport {
            Transport::Udp => DATAGRAM_BYTES_MAX,
            Transport::Tcp | Transport::Tls => MESSAGE_BYTES_MAX,
        };
        let message_bytes_max = written.message_bytes_max.unwrap_or(DATAGRAM_BYTES_MAX);
        if !(MESSAGE_BYTES_MIN..=longest).contains(&message_bytes_max) {
            return Err(format!(
                "message_bytes_max = {message_bytes_max}: give {MESSAGE_BYTES_MIN} to {longest}"
            ));
        }
        Ok(SyslogConfig {
            host,
            port,
            transport,
            framing: written.framing.unwrap_or(Framing::Octets),
            facility: written.facility.unwrap_or(Facility::AUDIT),
            app_name: written
                .app_name
                .unwrap_or_else(|| HeaderField("dbgov".into())),
            hostname: written.hostname,
            message_bytes_max,
            bom: written.bom.unwrap_or(true),
            confirm: written.confirm.unwrap_or_default(),
            tls: written.tls,
        })
    }
}

/// `siem.example:6514`, `192.0.2.1`, `[2001:db8::1]:514`.
fn host_and_port(address: &str, default_port: u16) -> Result<(String, u16), String> {
    let wrong = || {
        format!("address = {address:?}: give HOST or HOST:PORT, an IPv6 address as [ADDRESS]:PORT")
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            match behind {
                "" => (host, None),
                behind => (host, Some(behind.strip_prefix(':').ok_or_else(wrong)?)),
            }
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| wrong())?,
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    match is_host && port != 0 {
        true => Ok((host.to_owned(), port)),
        false => Err(wrong()),
    }
}
