//! UNIX sockets that are listened on, from `/proc/<pid>/net/unix` (of that process's network namespace).

use std::collections::HashMap;
use std::io;

use super::super::proc;

/// About 100 bytes a socket; desktops and container hosts have thousands.
const NET_UNIX_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// `__SO_ACCEPTCON` (linux/net.h): the socket listens.
const ACCEPTS_CONNECTIONS: u32 = 1 << 16;

/// Path by inode. An abstract name begins with `@`.
pub(super) fn listeners(pid: u32) -> io::Result<HashMap<u64, String>> {
    let table = proc::read_bounded(format!("/proc/{pid}/net/unix"), NET_UNIX_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&table);
    Ok(text.lines().skip(1).filter_map(parse).collect())
}

/// `Num: RefCount Protocol Flags Type St Inode Path`; an unnamed socket has no path, and a path may hold blanks.
fn parse(line: &str) -> Option<(u64, String)> {
    let mut rest = line;
    let mut fields = [""; 7];
    for field in &mut fields {
        rest = rest.trim_start_matches(' ');
        let end = rest.find(' ')?;
        (*field, rest) = rest.split_at(end);
    }
    let flags = u32::from_str_radix(fields[3], 16).ok()?;
    let path = rest.strip_prefix(' ')?;
    let listens = flags & ACCEPTS_CONNECTIONS != 0 && !path.is_empty();
    listens.then_some((fields[6].parse().ok()?, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let head = "ffff8880: 00000002 00000000";
        assert_eq!(
            parse(&format!(
                "{head} 00010000 0001 01  4242 /var/run/postgresql/.s.PGSQL.5432"
            )),
            Some((4242, "/var/run/postgresql/.s.PGSQL.5432".into()))
        );
        assert_eq!(
            parse(&format!("{head} 00010000 0001 01 7 /a b")),
            Some((7, "/a b".into()))
        );
        for other in [
            format!("{head} 00000000 0001 03 4242 /var/run/x"),
            format!("{head} 00010000 0001 01 4242"),
            format!("{head} zz 0001 01 4242 /x"),
            format!("{head} 00010000 0001 01 x /x"),
            String::new(),
        ] {
            assert_eq!(parse(&other), None, "{other}");
        }
    }

    #[test]
    fn own_listener_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".s.PGSQL.5432");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let found = listeners(std::process::id()).unwrap();
        assert!(found.values().any(|p| p == path.to_str().unwrap()));
    }
}
