//! Messages of the extended query protocol ("Message Formats", PostgreSQL documentation 55.7), for clients that send
//! them byte by byte.

use crate::wire::message;

/// A text parameter, or NULL.
pub type Param<'a> = Option<&'a [u8]>;

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(
        b'P',
        &[name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat(),
    )
}

/// All parameters in `format` (0 text, 1 binary), results as text.
pub fn bind(portal: &str, statement: &str, format: u16, params: &[Param]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), &[0], statement.as_bytes(), &[0]].concat();
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&format.to_be_bytes());
    let count = u16::try_from(params.len()).expect("tests bind a few parameters");
    body.extend_from_slice(&count.to_be_bytes());
    for param in params {
        match param {
            Some(value) => {
                let length = i32::try_from(value.len()).expect("tests bind less than 2 GiB");
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(value);
            }
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    body.extend_from_slice(&[0, 0]);
    message(b'B', &body)
}

/// `rows_max` 0 is all.
pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    message(
        b'E',
        &[portal.as_bytes(), &[0], &rows_max.to_be_bytes()].concat(),
    )
}

pub fn describe_portal(portal: &str) -> Vec<u8> {
    message(b'D', &[b"P", portal.as_bytes(), &[0]].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

/// Parse, Bind and Execute of an unnamed statement, and Sync.
pub fn once(sql: &str, params: &[Param]) -> Vec<u8> {
    [
        parse("", sql),
        bind("", "", 0, params),
        execute("", 0),
        sync(),
    ]
    .concat()
}
