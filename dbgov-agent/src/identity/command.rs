//! Command lines without the secrets in their arguments.

use crate::sql::secret::{self, MARK};

/// Programs whose `-pVALUE` is a password (MySQL reference manual, 4.2.2.1).
const MYSQL: &[&str] = &["mariadb", "mycli", "mysql"];
/// `sshpass -p VALUE`.
const SSHPASS: &str = "sshpass";

/// The arguments as they are recorded. Anything may stand in one, also SQL (`psql -c`) and other commands (`sh -c`).
pub(super) fn redacted(arguments: &[String]) -> Vec<String> {
    let program = arguments.first().map_or("", |program| base(program));
    // `sudo mysql -pSECRET`
    let is_mysql = arguments
        .iter()
        .any(|argument| MYSQL.iter().any(|name| base(argument).starts_with(name)));
    let mut redacted = Vec::with_capacity(arguments.len());
    let mut value_of = None;
    for argument in arguments {
        let without = match value_of.take() {
            Some(Flag::Secret) if !argument.is_empty() => MARK.to_owned(),
            Some(Flag::User) => user(argument),
            _ => plain(argument, is_mysql),
        };
        value_of = flag(argument, program);
        redacted.push(without);
    }
    redacted
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What the next argument is.
enum Flag {
    Secret,
    /// `name:password`
    User,
}

fn flag(argument: &str, program: &str) -> Option<Flag> {
    if program == SSHPASS && argument == "-p" {
        return Some(Flag::Secret);
    }
    if matches!(argument, "-u" | "--user" | "--proxy-user" | "-U") {
        return Some(Flag::User);
    }
    let name = argument
        .strip_prefix("--")
        .or_else(|| argument.strip_prefix('-'))?;
    let is_name = !name.contains(['=', ' ']) && name.len() > 1;
    // `--password-file`, `--no-password` and the like take no secret, and it does not matter.
    (is_name && secret::is_secret_name(name, true)).then_some(Flag::Secret)
}

fn user(argument: &str) -> String {
    match argument.split_once(':') {
        Some((name, password)) if !password.is_empty() => format!("{name}:{MARK}"),
        _ => plain(argument, false),
    }
}

fn plain(argument: &str, is_mysql: bool) -> String {
    if is_mysql
        && let Some(password) = argument.strip_prefix("-p")
        && !password.is_empty()
    {
        return format!("-p{MARK}");
    }
    if let Some((name, value)) = argument.split_once('=') {
        let key = name.trim_start_matches('-');
        let is_name = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if is_name && secret::is_secret_name(key, true) && !value.is_empty() {
            // `password=x host=y` is a connection string; of any other argument the whole value goes.
            return match secret::value(argument) {
                Some(without) if value.contains(' ') && without != MARK => without,
                _ => format!("{name}={MARK}"),
            };
        }
    }
    // The name of a flag is no secret.
    if argument.starts_with('-') && !argument.contains([' ', '=', ':', '\'']) {
        return argument.to_owned();
    }
    secret::value(argument).unwrap_or_else(|| argument.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &str) -> String {
        let arguments: Vec<String> = command.split('|').map(str::to_owned).collect();
        redacted(&arguments).join("|")
    }

    #[test]
    fn secrets_in_arguments() {
        for (command, expected) in [
            ("psql|-h|db|-c|SELECT 1", "psql|-h|db|-c|SELECT 1"),
            (
                "psql|-c|ALTER ROLE a PASSWORD 's3cret'",
                "psql|-c|ALTER ROLE a PASSWORD '***'",
            ),
            (
                "psql|-c|ALTER ROLE a PASSWORD 's3cr",
                "psql|-c|ALTER ROLE a ***",
            ),
            ("psql|postgres://u:s3cret@h/d", "psql|postgres://u:***@h/d"),
            ("psql|host=h password=s3cret", "psql|host=h password=***"),
            ("psql|password=s3cret host=h", "psql|password=*** host=h"),
            ("psql|--set=pw=x", "psql|--set=pw=x"),
            ("pg_dump|-U|app|-W|db", "pg_dump|-U|app|-W|db"),
            ("tool|--password=s3cret", "tool|--password=***"),
            ("tool|--password|s3cret|db", "tool|--password|***|db"),
            ("tool|-password|s3cret", "tool|-password|***"),
            ("tool|--db-password|s3cret", "tool|--db-password|***"),
            ("tool|--api-key=s3cret", "tool|--api-key=***"),
            (
                "tool|--token|s3cret|--verbose",
                "tool|--token|***|--verbose",
            ),
            ("tool|--secret=s3=cret", "tool|--secret=***"),
            ("tool|--passw", "tool|--passw"),
            ("env|PGPASSWORD=s3cret|psql", "env|PGPASSWORD=***|psql"),
            ("env|FOO_TOKEN=s3cret|x", "env|FOO_TOKEN=***|x"),
            ("sh|-c|PGPASSWORD=s3cret psql -h db", "sh|-c|PGPASSWORD=***"),
            ("mysql|-ps3cret|-h|db", "mysql|-p***|-h|db"),
            ("/usr/bin/mysqldump|-ps3cret", "/usr/bin/mysqldump|-p***"),
            ("sudo|mariadb|-ps3cret", "sudo|mariadb|-p***"),
            ("mysql|-p|db", "mysql|-p|db"),
            ("psql|-p5432", "psql|-p5432"),
            ("sshpass|-p|s3cret|ssh|h", "sshpass|-p|***|ssh|h"),
            (
                "curl|-u|bob:s3cret|https://h/",
                "curl|-u|bob:***|https://h/",
            ),
            ("curl|-H|Authorization: Bearer s3cret", "curl|-H|***"),
            ("python|-c|connect(password='s3cret')", "python|-c|***"),
            ("", ""),
        ] {
            assert_eq!(shown(command), expected, "{command}");
        }
    }
}
