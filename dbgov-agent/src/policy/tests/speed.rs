//! How fast it is: `cargo test --release -p dbgov-agent --lib policy::tests::speed -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use super::{policy, somebody};
use crate::policy::{Message, SearchPath};
use crate::sql::{Dialect, facts};

#[test]
#[ignore = "measures"]
fn evaluations_per_second() {
    for file in ["ai-agent-guardrails", "read-only-analyst", "change-window"] {
        let text = std::fs::read_to_string(format!(
            "{}/../deploy/policies/{file}.toml",
            env!("CARGO_MANIFEST_DIR")
        ));
        let policy = policy(&text.unwrap());
        let context = somebody(&SearchPath::Unknown);
        for sql in [
            "SELECT abalance FROM pgbench_accounts WHERE aid = 1",
            "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1",
            "SELECT o.id, count(*), sum(i.price) FROM orders o JOIN items i ON i.order_id = o.id WHERE o.at > now() GROUP BY o.id",
            "BEGIN",
        ] {
            let facts = facts(sql, Dialect::Postgres, false);
            let message = Message::Statement {
                facts: &[&facts],
                bytes: sql.len() as u64,
            };
            const ROUNDS: u32 = 1_000_000;
            let start = Instant::now();
            for _ in 0..ROUNDS {
                black_box(policy.evaluate(black_box(&context), black_box(&message)));
            }
            let rate = f64::from(ROUNDS) / start.elapsed().as_secs_f64();
            println!(
                "{file}: {rate:.0}/s, {} effects: {sql}",
                facts.effects.len()
            );
        }
    }
}
