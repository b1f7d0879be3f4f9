//! Start-up packets: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest (documentation, "Message Formats").

use super::limits::{CANCEL_KEY_BYTES_MAX, STARTUP_BYTES_MAX};
use super::session::split_version;
use super::text::ClientEncoding;
use super::wire::Reader;
use crate::protocol::SessionFacts;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// The length word counts itself, the server's limit does not.
const LENGTH_WORD_BYTES: u32 = 4;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Startup {
    Ssl,
    Gss,
    Cancel { backend_pid: u32 },
    Session(Box<SessionFacts>),
    Bad(&'static str),
}

/// The declared length of the packet that begins so, itself included.
pub(super) fn packet_bytes(length_word: [u8; 4]) -> Result<usize, &'static str> {
    let length = u32::from_be_bytes(length_word);
    if (2 * LENGTH_WORD_BYTES..=STARTUP_BYTES_MAX + LENGTH_WORD_BYTES).contains(&length) {
        Ok(length as usize)
    } else {
        Err("start-up packet of invalid length")
    }
}

/// A TLS record that carries a handshake: direct TLS, with no SSLRequest before it.
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}

/// A whole packet, length word included.
pub(super) fn read(packet: &[u8]) -> Startup {
    let mut reader = Reader(packet);
    let (Some(_length), Some(code)) = (reader.u32(), reader.u32()) else {
        return Startup::Bad("start-up packet of invalid length");
    };
    match code {
        SSL_REQUEST => Startup::Ssl,
        GSSENC_REQUEST => Startup::Gss,
        CANCEL_REQUEST => cancel(reader),
        _ if split_version(code).0 == 3 => session(split_version(code), reader),
        _ => Startup::Bad("unsupported protocol version"),
    }
}

fn cancel(mut reader: Reader<'_>) -> Startup {
    match reader.u32() {
        Some(backend_pid) if (1..=CANCEL_KEY_BYTES_MAX as usize).contains(&reader.0.len()) => {
            Startup::Cancel { backend_pid }
        }
        _ => Startup::Bad("CancelRequest of invalid length"),
    }
}

/// Settings that make another role than the user's the current one.
const ROLES: [&str; 2] = ["role", "session_authorization"];

fn session(version: (u16, u16), mut reader: Reader<'_>) -> Startup {
    // The text encoding is not negotiated yet; clients send UTF-8 or ASCII.
    let encoding = ClientEncoding::utf8();
    let text = |bytes: &[u8]| Some(encoding.decode(bytes).0).filter(|text| !text.is_empty());
    let mut facts = SessionFacts {
        protocol_version: Some(version),
        ..SessionFacts::default()
    };
    let mut application_in_options = None;
    loop {
        let key = match reader.cstr() {
            Some([]) => break,
            Some(key) => key,
            None => return Startup::Bad("start-up packet without terminator"),
        };
        let Some(value) = reader.cstr() else {
            return Startup::Bad("start-up packet without terminator");
        };
        match key {
            b"user" => facts.user = text(value),
            b"database" => facts.database = text(value),
            b"application_name" => facts.application = text(value),
            b"replication" => facts.replication = is_replication(value),
            b"options" => {
                application_in_options = option(value, "application_name");
                facts.role_at_start |= ROLES.iter().any(|name| option(value, name).is_some());
            }
            _ => {
                let is_key = |name: &&str| name.as_bytes().eq_ignore_ascii_case(key);
                facts.role_at_start |= ROLES.iter().any(is_key);
            }
        }
    }
    if facts.database.is_none() {
        facts.database = facts.user.clone();
    }
    // The server applies the options before the other settings of the packet, so that these win.
    if facts.application.is_none() {
        facts.application = application_in_options.filter(|name| !name.is_empty());
    }
    Startup::Session(Box::new(facts))
}

/// `replication` of the start-up packet: a boolean as the server's `parse_bool` takes it, or `database`.
fn is_replication(value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    let prefix_of = |word: &[u8]| !value.is_empty() && word.starts_with(&value);
    value == b"database"
        || value == b"on"
        || value == b"1"
        || prefix_of(b"true")
        || prefix_of(b"yes")
}

/// A setting in `options`: `-c name=value`, `-cname=value` or `--name=value`, split as the server splits it (white
/// space, with backslash as the escape).
fn option(options: &[u8], wanted: &str) -> Option<String> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = options.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            _ if byte.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    let mut found = None;
    let mut words = words
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned());
    while let Some(word) = words.next() {
        let setting = match word.as_str() {
            "-c" => words.next(),
            _ => word
                .strip_prefix("--")
                .or(word.strip_prefix("-c"))
                .map(str::to_owned),
        };
        let Some((name, value)) = setting.as_deref().and_then(|s| s.split_once('=')) else {
            continue;
        };
        if name.replace('-', "_").eq_ignore_ascii_case(wanted) {
            found = Some(value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_the_server_splits_them() {
        let find = |text: &str| option(text.as_bytes(), "application_name");
        assert_eq!(find("-c application_name=a"), Some("a".into()));
        assert_eq!(
            find("-capplication_name=a\\ b -c work_mem=1"),
            Some("a b".into())
        );
        assert_eq!(
            find("--application-name=x --Application_Name=y"),
            Some("y".into())
        );
        assert_eq!(find("-c"), None);
        assert_eq!(find("application_name=a"), None);
    }

    #[test]
    fn a_role_at_the_start_is_noticed() {
        let sets_role = |parameters: &[u8]| match session((3, 0), Reader(parameters)) {
            Startup::Session(facts) => facts.role_at_start,
            _ => panic!("no session"),
        };
        assert!(sets_role(b"user\0u\0options\0-c role=boss\0\0"));
        assert!(sets_role(b"user\0u\0ROLE\0boss\0\0"));
        assert!(!sets_role(b"user\0role\0options\0-c work_mem=1\0\0"));
    }

    #[test]
    fn replication_is_a_boolean_or_database() {
        for yes in ["true", "t", "on", "yes", "1", "database", "TRUE"] {
            assert!(is_replication(yes.as_bytes()), "{yes}");
        }
        for no in ["false", "off", "0", "", "no", "data"] {
            assert!(!is_replication(no.as_bytes()), "{no}");
        }
    }
}
