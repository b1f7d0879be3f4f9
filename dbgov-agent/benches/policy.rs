//! Verdicts per second on one core: the guardrails of deploy/policies on everyday statements. Prints JSON for
//! `cargo xtask bench --only gate`.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use dbgov_agent::policy::{Context, Message, Policy, SearchPath};
use dbgov_agent::sql::{self, Dialect, Facts};

const POLICY: &str = include_str!("../../deploy/policies/ai-agent-guardrails.toml");
/// What applications send most of the time.
const STATEMENTS: [&str; 8] = [
    "SELECT 1",
    "BEGIN",
    "SELECT abalance FROM pgbench_accounts WHERE aid = 4711",
    "UPDATE pgbench_accounts SET abalance = abalance + 17 WHERE aid = 4711",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, CURRENT_TIMESTAMP)",
    "SELECT o.id, c.name, sum(l.price) FROM orders o JOIN customers c ON c.id = o.customer \
     JOIN order_lines l ON l.order_id = o.id WHERE o.day >= '2026-01-01' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
    "SELECT count(*), max(created_at) FROM app.events WHERE kind = ANY($1) AND lower(name) LIKE $2",
    "COMMIT",
];
/// About a second each.
const ROUNDS: u32 = 200_000;
/// The best of them: what else the machine did is not ours.
const TRIES: usize = 5;

fn main() {
    let policy =
        Policy::parse(POLICY, Path::new("ai-agent-guardrails.toml")).expect("a policy of ours");
    let facts = STATEMENTS.map(|text| {
        (
            text.len() as u64,
            sql::facts(text, Dialect::Postgres, false),
        )
    });
    let rows: Vec<String> = [
        ("verdicts on an agent's statements", "agent:sync"),
        ("verdicts on everybody else's", ""),
    ]
    .map(|(what, identity)| {
        let ns = (0..TRIES)
            .map(|_| round(&policy, identity, &facts))
            .fold(f64::INFINITY, f64::min);
        format!(r#"{{"what":"{what}","ns":{ns:.1}}}"#)
    })
    .into();
    println!("[{}]", rows.join(","));
}

/// Nanoseconds of one verdict.
fn round(policy: &Policy, identity: &str, facts: &[(u64, Facts)]) -> f64 {
    let path = SearchPath::Unknown;
    let context = Context {
        identity: Some(identity),
        user: Some("app"),
        role: Some("app"),
        database: Some("shop"),
        application: Some("psql"),
        client_addr: Some([127, 0, 0, 1].into()),
        unix_ns: 1_795_000_000_000_000_000,
        search_path: &path,
    };
    let start = Instant::now();
    for _ in 0..ROUNDS / facts.len() as u32 {
        for (bytes, facts) in facts {
            let message = Message::Statement {
                facts: &[facts],
                bytes: *bytes,
            };
            black_box(policy.evaluate(black_box(&context), black_box(&message)));
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}
