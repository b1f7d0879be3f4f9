//! The agent dies, stops and is replaced while the gate is shut: what is denied does not run, what is allowed runs once.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dbgov_tests::agent::{Agent, Config, binary};
use dbgov_tests::asking::{Answer, Asking};
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{extended, journal, wire};

const RULES: &str = r#"
[[rule]]
name = "write-needs-where"
action = "reject"
verbs = ["update", "delete"]
missing_where = true
reason = "name the rows"
"#;
const CLIENTS: usize = 8;

fn policy(on_agent_down: &str) -> String {
    format!("on_agent_down = \"{on_agent_down}\"\n{RULES}")
}

fn start(on_agent_down: &str) -> Result<(Server, Agent)> {
    let server = Server::start(&Options::default())?;
    server.admin("CREATE TABLE victim AS SELECT generate_series(1, 1000) AS id")?;
    server.admin("CREATE TABLE counter AS SELECT id, 0 AS n FROM generate_series(0, 99) AS id")?;
    let config = Config::watching(&[&server]).policy(&policy(on_agent_down));
    let agent = Agent::start(config)?;
    Ok((server, agent))
}

/// What one client did.
#[derive(Debug, Default)]
struct Done {
    /// Statements that count up, each answered once.
    counted: usize,
    denied: usize,
    slowest: Duration,
}

/// Clients that send until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Done>>>,
}

impl Load {
    fn start(server: &Server, denied: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
        let clients = (0..CLIENTS)
            .map(|id| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || client(address, id, denied, &stop))
            })
            .collect();
        Load { stop, clients }
    }

    fn stop(self) -> Result<Vec<Done>> {
        self.stop.store(true, Ordering::Release);
        let ended: Vec<_> = self.clients.into_iter().map(JoinHandle::join).collect();
        ended
            .into_iter()
            .enumerate()
            .map(|(id, done)| {
                done.expect("no panic")
                    .with_context(|| format!("client {id}"))
            })
            .collect()
    }
}

const COUNT_UP: &str = "UPDATE counter SET n = n + 1 WHERE id = $1::int RETURNING n";
/// Turns after which a client connects anew, so that the agent also dies under connections that are being made.
const RECONNECT_TURNS: usize = 25;

fn connect(address: SocketAddr, id: usize) -> Result<Asking> {
    let mut client = Asking::connect(address, &format!("client-{id}"))?;
    let prepared = [extended::parse("up", COUNT_UP), extended::sync()].concat();
    ensure!(client.ask(&prepared)?.error.is_none());
    Ok(client)
}

fn client(address: SocketAddr, id: usize, denied: bool, stop: &AtomicBool) -> Result<Done> {
    let mut done = Done::default();
    let mut client = connect(address, id)?;
    let param = id.to_string();
    let bound = [
        extended::bind("", "up", 0, &[Some(param.as_bytes())]),
        extended::execute("", 0),
        extended::sync(),
    ]
    .concat();
    let text = COUNT_UP.replace("$1", &param);
    for turn in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        if turn % RECONNECT_TURNS == RECONNECT_TURNS - 1 {
            client = connect(address, id).with_context(|| format!("turn {turn}"))?;
        }
        let asked = Instant::now();
        let answer = match turn % 3 {
            0 => client.simple(&text)?,
            1 => client.extended(&text)?,
            _ => client.ask(&bound)?,
        };
        done.slowest = done.slowest.max(asked.elapsed());
        done.counted += 1;
        let wanted = done.counted.to_string();
        ensure!(
            answer.value() == Some(&wanted),
            "turn {turn}: {wanted} was wanted: {answer:?}"
        );
        if denied {
            let sql = "DELETE FROM victim -- so that the refusal can be told in full, WHERE";
            let asked = Instant::now();
            let answer = match turn % 2 {
                0 => client.simple(sql)?,
                _ => client.extended(sql)?,
            };
            done.slowest = done.slowest.max(asked.elapsed());
            ensure!(is_rejected(&answer), "turn {turn}: {answer:?}");
            done.denied += 1;
        }
    }
    Ok(done)
}

fn is_rejected(answer: &Answer) -> bool {
    !answer.closed && answer.told().contains("write-needs-where")
}

/// Everything counted is in the table once, nothing else is, and nothing was deleted.
fn check(server: &Server, done: &[Done]) -> Result<()> {
    for (id, done) in done.iter().enumerate() {
        let n = server.admin(&format!("SELECT n FROM counter WHERE id = {id}"))?;
        ensure!(n == done.counted.to_string(), "client {id}: {n}, {done:?}");
    }
    let left = server.admin("SELECT count(*) FROM victim")?;
    ensure!(left == "1000", "{left} rows of 1000 are left");
    Ok(())
}

fn summary(what: &str, done: &[Done]) {
    let counted: usize = done.iter().map(|done| done.counted).sum();
    let denied: usize = done.iter().map(|done| done.denied).sum();
    let slowest = done
        .iter()
        .map(|done| done.slowest)
        .max()
        .unwrap_or_default();
    println!("{what}: {counted} allowed, {denied} denied, slowest answer {slowest:.1?}");
}

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX generator.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn sleep(&mut self, limit_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.below(limit_ms)));
    }
}

/// How often the agent is killed; fewer while one looks for a mistake.
fn kills() -> u64 {
    std::env::var("DBGOV_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

fn killed_at_random(on_agent_down: &str, denied: bool) -> Result<()> {
    let (server, mut agent) = start(on_agent_down)?;
    let load = Load::start(&server, denied);
    let mut random = Random(20_261_123);
    let kills = kills();
    for kill in 1..=kills {
        random.sleep(300);
        agent.kill9()?;
        // Now and then for longer than the heartbeat is believed.
        random.sleep(if kill % 20 == 0 { 5000 } else { 200 });
        // Every fourth is killed while it starts.
        if kill % 4 == 0 {
            agent.launch()?;
            random.sleep(600);
        } else {
            agent.start_again()?;
        }
    }
    agent.kill9()?;
    agent.start_again()?;
    std::thread::sleep(Duration::from_secs(1));
    let done = load.stop()?;
    check(&server, &done)?;
    agent.stop()?;
    summary(&format!("{on_agent_down}, killed {kills} times"), &done);
    journal::verify(&agent.audit_dir()?)?;
    Ok(())
}

#[test]
fn closed_nothing_denied_runs_and_nothing_allowed_is_lost_while_the_agent_is_killed() -> Result<()>
{
    killed_at_random("closed", true)
}

#[test]
fn open_no_client_sees_an_error_while_the_agent_is_killed() -> Result<()> {
    killed_at_random("open", false)
}

#[test]
fn stopped_a_closed_gate_holds_and_the_next_agent_lets_go() -> Result<()> {
    let (server, mut agent) = start("closed")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "waits")?;
    assert_eq!(client.simple("SELECT 1")?.value(), Some("1"));
    agent.stop()?;
    let said = std::fs::read_to_string(agent.stderr_path())?;
    assert!(said.contains("the gate stays, closed"), "{said}");
    let output = agent.command(&["gate", "status"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("enforcing") && told.contains("stays held"),
        "{told}"
    );

    // Without a word of the policy's: passes. With one: waits for the next agent.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(client.simple("SELECT 2")?.value(), Some("2"));
    let asked = std::thread::spawn(move || -> Result<(Answer, Answer)> {
        let up = client.simple("UPDATE counter SET n = n + 1 WHERE id = 5 RETURNING n")?;
        Ok((
            up,
            client.simple("DELETE FROM victim -- the whole of it, and some more text")?,
        ))
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.admin("SELECT n FROM counter WHERE id = 5")?, "0");
    agent.start_again()?;
    let (up, delete) = asked.join().expect("no panic")?;
    assert_eq!(up.value(), Some("1"), "{up:?}");
    assert!(is_rejected(&delete), "{delete:?}");
    assert_eq!(server.admin("SELECT count(*) FROM victim")?, "1000");
    agent.stop()?;
    let output = agent.command(&["gate", "off"])?;
    assert!(output.status.success(), "{output:?}");
    let output = agent.command(&["gate", "status"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("no gate is pinned"), "{told}");
    Ok(())
}

#[test]
fn stopped_an_open_gate_is_taken_away() -> Result<()> {
    let (server, mut agent) = start("open")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "open")?;
    let denied = client.simple("DELETE FROM victim -- the whole of it, and some more text")?;
    assert!(is_rejected(&denied), "{denied:?}");
    agent.stop()?;
    let output = agent.command(&["gate", "status"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("no gate is pinned"), "{told}");
    let deleted = client.simple("DELETE FROM victim")?;
    assert_eq!(deleted.tags, ["DELETE 1000"]);
    Ok(())
}

#[test]
fn gate_off_leaves_the_agent_observing() -> Result<()> {
    let (server, mut agent) = start("closed")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "off")?;
    let denied = client.simple("DELETE FROM victim -- the whole of it, and some more text")?;
    assert!(is_rejected(&denied), "{denied:?}");
    let output = agent.command(&["gate", "off"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("goes on observing"), "{output:?}");
    assert_eq!(agent.status()?["policy"]["mode"], "observe");
    let deleted = client.simple("DELETE FROM victim -- gone")?;
    assert_eq!(deleted.tags, ["DELETE 1000"], "{deleted:?}");
    agent.wait_for_record("the statement", Duration::from_secs(5), |record| {
        record["statement"]["text"] == "DELETE FROM victim -- gone"
            && record["verdict"]["action"] == "reject"
            && record["verdict"]["mode"] == "observe"
    })?;
    agent.stop()?;
    let output = agent.command(&["gate", "status"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("no gate is pinned"), "{told}");
    Ok(())
}

/// Nothing of the first half is forbidden, and passes. Who sees only the second cannot judge the statement.
#[test]
fn a_statement_of_which_half_has_passed_is_not_judged_by_the_other_half() -> Result<()> {
    let (server, mut agent) = start("closed")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let filler = "x".repeat(100_000);
    for second in ["; DELETE FROM victim", "ETE FROM victim"] {
        let mut client = Asking::connect(address, "half")?;
        let first = match second.starts_with(';') {
            true => format!("SELECT 1 /* {filler} */"),
            false => format!("/* {filler} */ DEL"),
        };
        let message = wire::query(&format!("{first}{second}"));
        let (first, second) = message.split_at(message.len() - second.len() - 1);
        client.stream.write_all(first)?;
        std::thread::sleep(Duration::from_millis(300));
        agent.kill9()?;
        agent.start_again()?;
        let answer = client.ask(second)?;
        assert!(
            answer.closed && answer.told().contains("(unseen)"),
            "{answer:?}"
        );
    }
    assert_eq!(server.admin("SELECT count(*) FROM victim")?, "1000");
    agent.stop()
}

/// Rows that stream in go on when the agent has died within one of them, and what follows is judged.
#[test]
fn a_copy_goes_on_under_the_next_agent() -> Result<()> {
    let (server, mut agent) = start("closed")?;
    server.admin("CREATE TABLE copied (line text)")?;
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let mut client = Asking::connect(address, "copy")?;
    client
        .stream
        .write_all(&wire::query("COPY copied FROM STDIN"))?;
    let row = wire::message(b'd', format!("{}\n", "delete ".repeat(30_000)).as_bytes());
    for turn in 0..6 {
        let (first, second) = row.split_at(row.len() * (turn + 1) / 7);
        client.stream.write_all(first)?;
        std::thread::sleep(Duration::from_millis(300));
        agent.kill9()?;
        agent.start_again()?;
        client.stream.write_all(second)?;
    }
    let answer = client.ask(&wire::message(b'c', &[]))?;
    assert_eq!(answer.tags, ["COPY 6"], "{answer:?}");
    let denied = client.simple("DELETE FROM victim -- the whole of it, and some more text")?;
    assert!(is_rejected(&denied), "{denied:?}");
    let wrong = "SELECT count(*) FROM copied WHERE line <> repeat('delete ', 30000)";
    assert_eq!(server.admin(wrong)?, "0");
    assert_eq!(server.admin("SELECT count(*) FROM victim")?, "1000");
    agent.stop()
}

/// The same program from another place: killed, stopped, and followed by the other, under load.
#[test]
fn another_binary_takes_over_under_load() -> Result<()> {
    let (server, mut agent) = start("closed")?;
    let scratch = Scratch::new("upgrade")?;
    let other = scratch.path().join("dbgov");
    std::fs::copy(binary()?, &other)?;
    let load = Load::start(&server, true);
    for turn in 0..6 {
        std::thread::sleep(Duration::from_millis(700));
        agent.stop()?;
        agent.run_binary(if turn % 2 == 0 {
            other.clone()
        } else {
            binary()?
        });
        agent.start_again()?;
    }
    std::thread::sleep(Duration::from_millis(700));
    let done = load.stop()?;
    check(&server, &done)?;
    agent.stop()?;
    summary("upgraded 6 times", &done);
    journal::verify(&agent.audit_dir()?)?;
    Ok(())
}
