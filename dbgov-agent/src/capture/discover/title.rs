//! The process title of a PostgreSQL backend: who is logged in to which database, for sessions older than the agent.
//!
//! `init_ps_display` (ps_status.c) writes `postgres: [CLUSTER_NAME: ][walsender ]USER DATABASE HOST(PORT) ACTIVITY`,
//! without any quoting, and all names may hold blanks. So a title is read from what is known: the client's port and
//! address anchor its end, the server's cluster_name its beginning; what then still has two readings is not read.

use std::net::{IpAddr, SocketAddr};

const PROGRAM: &str = "postgres: ";
const WAL_SENDER: &str = "walsender ";

/// What a backend's title says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTitle {
    pub user: String,
    pub database: String,
}

/// Reads the title of the backend that serves `client`. `cluster_name` is that of the server, empty where it has none.
pub(super) fn parse(title: &str, client: SocketAddr, cluster_name: &str) -> Option<BackendTitle> {
    let mut names = before_address(title.strip_prefix(PROGRAM)?, client)?;
    if !cluster_name.is_empty() {
        names = names.strip_prefix(cluster_name)?.strip_prefix(": ")?;
    }
    // A replication connection, or a user of that name: `walsender a b` has more than one reading.
    if names.starts_with(WAL_SENDER) {
        return None;
    }
    let (user, database) = names.split_once(' ')?;
    let one_reading = !user.is_empty() && !database.is_empty() && !database.contains(' ');
    one_reading.then(|| BackendTitle {
        user: user.to_owned(),
        database: database.to_owned(),
    })
}

/// The part before ` HOST(PORT)`. There must be one such place only: a name can be made to look like one.
fn before_address(text: &str, client: SocketAddr) -> Option<&str> {
    let port = format!("({})", client.port());
    let mut found = None;
    for (at, _) in text.match_indices(&port) {
        let after = &text[at + port.len()..];
        let Some((names, host)) = text[..at].rsplit_once(' ') else {
            continue;
        };
        if !(after.is_empty() || after.starts_with(' ')) || !may_be_host(host, client.ip()) {
            continue;
        }
        if found.replace(names).is_some() {
            return None;
        }
    }
    found
}

/// The address as getnameinfo(3) writes it, a zone after `%` included; or, with log_hostname, a name.
fn may_be_host(host: &str, client: IpAddr) -> bool {
    let address = host.split('%').next().unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical() == client.to_canonical(),
        Err(_) => !host.is_empty() && !host.starts_with('['),
    }
}

/// The cluster_name in the title of a server's checkpointer (`postgres: NAME: checkpointer`), empty where the server
/// has none. `None` for every other title.
pub(super) fn cluster_name(title: &str) -> Option<String> {
    let text = title.strip_prefix(PROGRAM)?.trim_end();
    // Up to PostgreSQL 10 it is called "checkpointer process".
    let text = text.strip_suffix(" process").unwrap_or(text);
    let before = text.strip_suffix("checkpointer")?;
    if before.is_empty() {
        return Some(String::new());
    }
    Some(before.strip_suffix(": ")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(title: &str, client: &str, cluster: &str) -> Option<(String, String)> {
        let found = parse(title, client.parse().unwrap(), cluster)?;
        Some((found.user, found.database))
    }

    /// Title, client, cluster_name, user and database.
    type Case = (
        &'static str,
        &'static str,
        &'static str,
        Option<(&'static str, &'static str)>,
    );

    #[test]
    fn titles() {
        let v4 = "127.0.0.1:54321";
        let v6 = "[fe80::1]:54321";
        let cases: &[Case] = &[
            (
                "postgres: app prod 127.0.0.1(54321) idle",
                v4,
                "",
                Some(("app", "prod")),
            ),
            (
                "postgres: app prod 127.0.0.1(54321)",
                v4,
                "",
                Some(("app", "prod")),
            ),
            (
                "postgres: app prod 127.0.0.1(54321) idle in transaction",
                v4,
                "",
                Some(("app", "prod")),
            ),
            (
                "postgres: 15/main: app prod 127.0.0.1(54321) SELECT",
                v4,
                "15/main",
                Some(("app", "prod")),
            ),
            (
                "postgres: a b: c: app prod 127.0.0.1(54321) idle",
                v4,
                "a b: c",
                Some(("app", "prod")),
            ),
            (
                "postgres: app prod fe80::1%eth0(54321) idle",
                v6,
                "",
                Some(("app", "prod")),
            ),
            (
                "postgres: app prod 127.0.0.1(54321) idle",
                "[::ffff:127.0.0.1]:54321",
                "",
                Some(("app", "prod")),
            ),
            (
                "postgres: app prod client.example(54321) idle",
                v4,
                "",
                Some(("app", "prod")),
            ),
            (
                "postgres: app prod(1) 127.0.0.1(54321) idle",
                v4,
                "",
                Some(("app", "prod(1)")),
            ),
            // Names with blanks, cluster names that are not this server's: more than one reading, or none.
            ("postgres: my app prod 127.0.0.1(54321) idle", v4, "", None),
            ("postgres: app  prod 127.0.0.1(54321) idle", v4, "", None),
            (
                "postgres: 15/main: app prod 127.0.0.1(54321) idle",
                v4,
                "",
                None,
            ),
            (
                "postgres: app prod 127.0.0.1(54321) idle",
                v4,
                "15/main",
                None,
            ),
            ("postgres: app 127.0.0.1(54321) idle", v4, "", None),
            (
                "postgres: walsender app prod 127.0.0.1(54321) idle",
                v4,
                "",
                None,
            ),
            (
                "postgres: walsender app 127.0.0.1(54321) streaming 0/3000148",
                v4,
                "",
                None,
            ),
            (
                "postgres: x 127.0.0.1(54321) 127.0.0.1(54321) idle",
                v4,
                "",
                None,
            ),
            (
                "postgres: x y(54321) db 127.0.0.1(54321) idle",
                v4,
                "",
                None,
            ),
            // Somebody else's.
            ("postgres: app prod 127.0.0.1(54322) idle", v4, "", None),
            ("postgres: app prod 127.0.0.2(54321) idle", v4, "", None),
            ("postgres: app prod [local] idle", v4, "", None),
            ("postgres: checkpointer ", v4, "", None),
            ("/usr/lib/postgresql/15/bin/postgres -D /data", v4, "", None),
            ("postgres: ", v4, "", None),
            ("", v4, "", None),
        ];
        for (title, client, cluster, expected) in cases {
            let expected = expected.map(|(user, database)| (user.into(), database.into()));
            assert_eq!(read(title, client, cluster), expected, "{title}");
        }
    }

    #[test]
    fn cluster_names() {
        for (title, expected) in [
            ("postgres: checkpointer ", Some("")),
            ("postgres: checkpointer process   ", Some("")),
            ("postgres: 15/main: checkpointer ", Some("15/main")),
            ("postgres: a: b: checkpointer", Some("a: b")),
            ("postgres: walwriter ", None),
            ("postgres: app checkpointer", None),
            ("postgres: app prod 127.0.0.1(54321) idle", None),
            ("checkpointer", None),
        ] {
            assert_eq!(cluster_name(title).as_deref(), expected, "{title}");
        }
    }
}
