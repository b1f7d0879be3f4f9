//! Whether two spellings are of one value: the server itself is asked, over its UNIX socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::postgres::Server;

/// Types clients send as text. True if one of them reads `sent` as what it writes as `logged`.
const FUNCTION: &str = "CREATE OR REPLACE FUNCTION pg_temp.same_value(sent text, logged text) RETURNS bool
    LANGUAGE plpgsql AS $$
    DECLARE
        type_name text;
        written text;
    BEGIN
        FOREACH type_name IN ARRAY ARRAY['int8', 'numeric', 'float8', 'float4', 'bool', 'timestamptz', 'timestamp',
            'date', 'time', 'timetz', 'interval', 'bytea', 'jsonb', 'uuid', 'text[]', 'int[]', 'inet'] LOOP
            BEGIN
                -- format() writes by the type's output function, as the log does; a cast of a bool would not.
                EXECUTE format('SELECT format(''%%s'', $1::%s)', type_name) INTO written USING sent;
                IF written = logged THEN
                    RETURN true;
                END IF;
            EXCEPTION WHEN data_exception OR syntax_error THEN
                NULL;
            END;
        END LOOP;
        RETURN false;
    END $$;";

/// One long psql session that answers; nothing is excused without one.
#[derive(Debug, Default)]
pub struct Oracle {
    session: Option<Psql>,
    answers: HashMap<(String, String), bool>,
}

#[derive(Debug)]
struct Psql {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Oracle {
    /// Knows nothing: spellings that differ are values that differ.
    pub fn none() -> Self {
        Oracle::default()
    }

    pub fn of(server: &Server) -> Result<Self> {
        let mut child = Command::new(server.installation().tool("psql"))
            .args([
                "-XqAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                "postgres",
            ])
            .arg("-h")
            .arg(server.socket_dir())
            .args(["-p", &server.port().to_string()])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("stdin is a pipe")?;
        let stdout = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
        writeln!(stdin, "{FUNCTION}")?;
        let session = Psql {
            child,
            stdin,
            stdout,
        };
        Ok(Oracle {
            session: Some(session),
            answers: HashMap::new(),
        })
    }

    pub fn same_value(&mut self, sent: &str, logged: &str) -> Result<bool> {
        let Some(session) = &mut self.session else {
            return Ok(false);
        };
        let key = (sent.to_string(), logged.to_string());
        if let Some(answer) = self.answers.get(&key) {
            return Ok(*answer);
        }
        let quoted = |text: &str| text.replace('\'', "''");
        let question = format!(
            "SELECT pg_temp.same_value('{}', '{}');",
            quoted(sent),
            quoted(logged)
        );
        writeln!(session.stdin, "{question}")?;
        let mut line = String::new();
        session.stdout.read_line(&mut line)?;
        ensure!(
            matches!(line.trim(), "t" | "f"),
            "psql answers {line:?} to {question}"
        );
        let answer = line.trim() == "t";
        self.answers.insert(key, answer);
        Ok(answer)
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        // Nothing of it needs saving; the child is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
