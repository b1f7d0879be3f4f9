//! A server, an agent, and cases that are tried one by one and judged together.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::log::LogStatement;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::{Result, bail, ensure, extended, journal, wire};
use serde_json::Value;

use crate::POLICY;

/// A refused client is told within this.
const PATIENCE: Duration = Duration::from_secs(5);
const ROWS: &str = "10";

/// What the client sends in one go.
#[derive(Debug, Clone)]
pub(crate) enum Attempt {
    Query(Vec<u8>),
    /// Parse, Bind, Execute, Sync.
    Extended(Vec<u8>),
    Raw(Vec<u8>),
    /// A query, one byte a packet.
    Bytewise(Vec<u8>),
}

impl Attempt {
    fn bytes(&self, case: usize) -> Vec<u8> {
        let named = |text: &[u8]| named(text, case);
        match self {
            Attempt::Query(text) | Attempt::Bytewise(text) => {
                wire::message(b'Q', &[&named(text)[..], &[0]].concat())
            }
            Attempt::Extended(text) => {
                let parse = [&[0], &named(text)[..], &[0, 0, 0]].concat();
                [
                    wire::message(b'P', &parse),
                    extended::bind("", "", 0, &[]),
                    extended::execute("", 0),
                    extended::sync(),
                ]
                .concat()
            }
            Attempt::Raw(bytes) => named(bytes),
        }
    }
}

/// `{t}` becomes the table of the case, `{n}` its number.
pub(crate) fn named(text: &[u8], case: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match &text[at..] {
            [b'{', b't', b'}', ..] => out.extend(format!("v{case}").bytes()),
            [b'{', b'n', b'}', ..] => out.extend(case.to_string().bytes()),
            _ => {
                out.push(*byte);
                at += 1;
                continue;
            }
        }
        at += 3;
    }
    out
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Done by the administrator, whom the gate does not see.
    pub(crate) prepared: String,
    pub(crate) start_up: Vec<(String, String)>,
    /// What is allowed, and answered.
    pub(crate) before: Vec<Attempt>,
    pub(crate) attempt: Option<Attempt>,
    /// Its rule; any where empty.
    pub(crate) rule: &'static str,
    /// How often the server may answer before it ends: messages before the denied one.
    pub(crate) answers: bool,
    /// The server ends the connection too, for a message before the denied one; whoever is quicker.
    pub(crate) ended_by_server: bool,
}

impl Case {
    pub(crate) fn query(rule: &'static str, text: impl Into<Vec<u8>>) -> Case {
        let text = text.into();
        Case {
            name: String::from_utf8_lossy(&text[..text.len().min(90)]).into_owned(),
            attempt: Some(Attempt::Query(text)),
            rule,
            ..Case::default()
        }
    }

    pub(crate) fn raw(name: &str, rule: &'static str, bytes: Vec<u8>) -> Case {
        Case {
            attempt: Some(Attempt::Raw(bytes)),
            ..Case::query(rule, name)
        }
    }

    pub(crate) fn after(mut self, text: impl Into<Vec<u8>>) -> Case {
        self.before.push(Attempt::Query(text.into()));
        self
    }

    pub(crate) fn made(mut self, sql: &str) -> Case {
        self.prepared = sql.into();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Case {
        self.start_up.push((name.into(), value.into()));
        self
    }

    /// The server answers messages in front of the denied one.
    pub(crate) fn answered(mut self) -> Case {
        self.answers = true;
        self
    }

    pub(crate) fn or_ended_by_server(mut self) -> Case {
        self.ended_by_server = true;
        self
    }

    /// The same by the extended protocol.
    pub(crate) fn extended(&self) -> Case {
        let mut case = self.clone();
        if let Some(Attempt::Query(text)) = case.attempt {
            case.attempt = Some(Attempt::Extended(text));
        }
        case.name = format!("extended: {}", case.name);
        case
    }

    /// The same, one byte a packet.
    pub(crate) fn bytewise(&self) -> Case {
        let mut case = self.clone();
        if let Some(Attempt::Query(text)) = case.attempt {
            case.attempt = Some(Attempt::Bytewise(text));
        }
        case.name = format!("byte by byte: {}", case.name);
        case
    }
}

pub(crate) fn application(case: usize) -> String {
    format!("case-{case}")
}

/// What the client got to read before the connection ended.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Type and body of each message.
    pub(crate) messages: Vec<(u8, Vec<u8>)>,
    pub(crate) ended: bool,
}

impl Heard {
    /// Messages in whole; what is left of the last is not one.
    pub(crate) fn of(mut bytes: &[u8], ended: bool) -> Heard {
        let mut messages = Vec::new();
        while let [kind, a, b, c, d, ..] = *bytes {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(body) = bytes.get(5..1 + length) else {
                break;
            };
            messages.push((kind, body.to_vec()));
            bytes = &bytes[1 + length..];
        }
        Heard { messages, ended }
    }

    pub(crate) fn refusal(&self) -> Option<String> {
        let (_, body) = self
            .messages
            .iter()
            .find(|(kind, body)| *kind == b'E' && body.windows(5).any(|word| word == b"dbgov"))?;
        Some(String::from_utf8_lossy(body).replace('\0', " "))
    }
}

fn hear(stream: &mut TcpStream) -> Result<Heard> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() > deadline {
            break false;
        }
    };
    Ok(Heard::of(&bytes, ended))
}

pub(crate) struct Stand {
    pub(crate) server: Server,
    pub(crate) agent: Agent,
    failures: Vec<String>,
}

impl Stand {
    pub(crate) fn start(options: &Options, cases: usize) -> Result<Stand> {
        Stand::under(POLICY, options, cases)
    }

    pub(crate) fn under(policy: &str, options: &Options, cases: usize) -> Result<Stand> {
        let server = Server::start(options)?;
        server.admin(&format!(
            "DO $$ BEGIN FOR i IN 0..{cases} LOOP
               EXECUTE format('CREATE TABLE v%s AS SELECT generate_series(1, 10) AS id', i);
             END LOOP; END $$;
             CREATE SCHEMA payroll; CREATE TABLE payroll.salaries AS SELECT 1 AS pay; CREATE ROLE boss;
             CREATE TABLE after_it (id int)"
        ))?;
        let agent = Agent::start(Config::watching(&[&server]).policy(policy))?;
        Ok(Stand {
            server,
            agent,
            failures: Vec::new(),
        })
    }

    pub(crate) fn fail(&mut self, number: usize, name: &str, why: &str) {
        self.failures.push(format!("case {number} ({name}): {why}"));
    }

    /// Tries all; what happened is told by [`Stand::judge`].
    pub(crate) fn try_all(&mut self, cases: &[Case]) -> Result<()> {
        for (number, case) in cases.iter().enumerate() {
            if !case.prepared.is_empty() {
                let sql = named(case.prepared.as_bytes(), number);
                self.server.admin(&String::from_utf8_lossy(&sql))?;
            }
            if let Err(error) = self.attempt(number, case) {
                self.fail(number, &case.name, &format!("{error:#}"));
            }
            let count = format!("SELECT count(*) FROM v{number}");
            match self.server.admin(&count) {
                Ok(rows) if rows.trim() == ROWS => {}
                Ok(rows) => self.fail(number, &case.name, &format!("IT RAN: {rows} rows are left")),
                Err(error) => self.fail(number, &case.name, &format!("IT RAN: {error}")),
            }
        }
        Ok(())
    }

    fn attempt(&self, number: usize, case: &Case) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.server.port()));
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let application = application(number);
        let mut parameters = vec![
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", &application),
        ];
        let own: Vec<(&str, String)> = case
            .start_up
            .iter()
            .map(|(name, value)| (name.as_str(), value.replace("{n}", &number.to_string())))
            .collect();
        parameters.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
        stream.write_all(&wire::startup(&parameters))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = wire::Client { stream };
        client.until_ready()?;
        for send in &case.before {
            client.stream.write_all(&send.bytes(number))?;
            client.until_ready()?;
        }
        let Some(attempt) = &case.attempt else {
            return Ok(());
        };
        client
            .stream
            .set_read_timeout(Some(Duration::from_millis(200)))?;
        let bytes = attempt.bytes(number);
        let sent = match attempt {
            Attempt::Bytewise(_) => bytewise(&mut client.stream, &bytes),
            _ => client.stream.write_all(&bytes),
        };
        let heard = hear(&mut client.stream)?;
        // It is refused before all of a long one is sent.
        if let Err(error) = sent
            && !matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::WouldBlock
            )
        {
            bail!("{error}");
        }
        check(case, &heard)
    }

    /// Every attempt is in the journal, denied, and not in the server's log; all failures in one error.
    pub(crate) fn judge(mut self, cases: &[Case]) -> Result<()> {
        self.agent.stop()?;
        self.server.stop()?;
        let records = journal::verify(&self.agent.audit_dir()?)?;
        let log = self.server.log()?;
        for (number, case) in cases.iter().enumerate() {
            if let Err(error) = recorded(number, case, &records) {
                self.fail(number, &case.name, &format!("{error:#}"));
            }
            if let Some(ran) = ran(number, case, &log) {
                self.fail(number, &case.name, &format!("IT RAN: {:?}", ran.text));
            }
        }
        self.conclude(cases.len())
    }

    /// All failures in one error.
    pub(crate) fn conclude(self, cases: usize) -> Result<()> {
        println!("{cases} cases, {} failures", self.failures.len());
        ensure!(self.failures.is_empty(), "\n{}", self.failures.join("\n"));
        Ok(())
    }
}

fn bytewise(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// The client has read the refusal, nothing of an answer, and the end.
fn check(case: &Case, heard: &Heard) -> Result<()> {
    let kinds: String = heard
        .messages
        .iter()
        .map(|(kind, _)| char::from(*kind))
        .collect();
    let Some(refusal) = heard.refusal() else {
        ensure!(
            case.ended_by_server && heard.ended && kinds == "E",
            "not refused: messages {kinds:?}, ended: {}",
            heard.ended
        );
        return Ok(());
    };
    ensure!(
        case.rule.is_empty() || refusal.contains(&format!("\"{}\"", case.rule)),
        "not by rule {}: {refusal}",
        case.rule
    );
    ensure!(heard.ended, "not ended: {refusal}");
    let first = heard.messages.first().map(|(kind, _)| *kind);
    ensure!(
        case.answers || first == Some(b'E'),
        "answered: messages {kinds:?}"
    );
    Ok(())
}

fn recorded(number: usize, case: &Case, records: &[Value]) -> Result<()> {
    let of_case = journal::of_application(records, &application(number));
    let denied: Vec<_> = of_case
        .iter()
        .filter(|record| record["verdict"]["action"] == "reset")
        .collect();
    // A Parse and its Execute are two.
    ensure!(!denied.is_empty(), "no denial in the journal");
    let rule = &denied[0]["verdict"]["rule"];
    ensure!(
        rule.is_string() && (case.rule.is_empty() || *rule == case.rule),
        "the journal has rule {rule}"
    );
    let kinds = journal::kinds(&of_case);
    ensure!(
        !kinds.contains(&"verdict_unenforced") && !kinds.contains(&"gap"),
        "the journal has {kinds:?}"
    );
    Ok(())
}

/// The attempt, if the server's log has it.
fn ran<'a>(number: usize, case: &Case, log: &'a [LogStatement]) -> Option<&'a LogStatement> {
    let text = match &case.attempt {
        Some(Attempt::Query(text) | Attempt::Extended(text) | Attempt::Bytewise(text)) => {
            named(text, number)
        }
        _ => return None,
    };
    let application = application(number);
    log.iter()
        .find(|entry| entry.application == application && entry.text.as_bytes() == text)
}
