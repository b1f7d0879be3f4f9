//! Statements and what they are: each line is a text, and what its facts must be.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Expected: `count parse verbs tables [missing_where] [server_side]`, lists with commas, `-` for none.
fn check(text: &str, expected: &str) {
    let facts = facts(text, Dialect::Postgres, false);
    assert_eq!(line(&facts), expected, "{text}");
}

fn line(facts: &Facts) -> String {
    let list = |items: Vec<&str>| {
        if items.is_empty() {
            "-".to_owned()
        } else {
            items.join(",")
        }
    };
    let mut line = format!(
        "{} {} {} {}",
        facts.count,
        facts.parse.name(),
        list(facts.verbs.to_vec()),
        list(facts.tables.iter().map(|table| &**table).collect()),
    );
    if facts.missing_where {
        line.push_str(" missing_where");
    }
    if facts.server_side {
        line.push_str(" server_side");
    }
    line
}

fn check_all(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        check(text, expected);
    }
}

#[test]
fn nothing_is_no_statement() {
    check_all(&[
        ("", "0 ok - -"),
        ("  \n", "0 ok - -"),
        (";;", "0 ok - -"),
        ("-- DROP TABLE x", "0 ok - -"),
        ("/* DROP TABLE x; */ ;", "0 ok - -"),
    ]);
}

#[test]
fn queries() {
    check_all(&[
        ("SELECT 1", "1 ok select -"),
        ("SELECT * FROM t", "1 ok select t"),
        (
            "select a.* from s.T a join \"U\" on a.id = \"U\".id",
            "1 ok select s.t,U",
        ),
        ("SELECT * FROM db.s.t", "1 ok select s.t"),
        (
            "SELECT (SELECT max(x) FROM a) FROM b WHERE EXISTS (SELECT 1 FROM c)",
            "1 ok select a,b,c",
        ),
        (
            "SELECT * FROM a, b LEFT JOIN LATERAL (SELECT * FROM c) x ON true",
            "1 ok select a,b,c",
        ),
        ("SELECT 1 UNION ALL SELECT id FROM t", "1 ok select t"),
        ("TABLE s.t", "1 ok select s.t"),
        ("VALUES (1), (2)", "1 ok select -"),
        ("(VALUES (1))", "1 ok select -"),
        ("(SELECT * FROM t) LIMIT 1", "1 ok select t"),
        ("SELECT * FROM ONLY t", "1 ok select t"),
        ("SELECT * FROM t FOR UPDATE SKIP LOCKED", "1 ok select t"),
        (
            "SELECT count(*), now(), pg_catalog.lower('A') FROM t",
            "1 ok select t",
        ),
        ("SELECT my_function(1)", "1 ok select,call -"),
        (
            "SELECT * FROM my_function(1) f, generate_series(1, 3)",
            "1 ok select,call -",
        ),
        ("SELECT pg_read_file('/etc/passwd')", "1 ok select,call -"),
        (
            "SELECT dblink('', 'DROP TABLE x')",
            "1 ok select,call,unknown -",
        ),
        ("SELECT a INTO TEMP n FROM t", "1 ok select,create n,t"),
        (
            "SELECT x::int, y->>'a', z @> '{}', a[1], b::numeric(10,2)[] FROM t",
            "1 ok select t",
        ),
        (
            "SELECT U&\"\\0061\" FROM U&\"d!0061\" UESCAPE '!'",
            "1 ok select da",
        ),
        (
            "SELECT E'it\\'s; DROP TABLE x', $$;$$, 'a'\n'b' FROM t",
            "1 ok select t",
        ),
        ("SELECT /* ; */ 1 -- ;\n; SELECT 2;", "2 ok select -"),
        (
            "SELECT * FROM t WHERE id = $1 AND x IN (1,2,3) ORDER BY 1 LIMIT 10 OFFSET 5",
            "1 ok select t",
        ),
        (
            "SELECT date '2020-01-01' + interval '1 day', extract(year from x), CASE WHEN a THEN 1 END FROM t",
            "1 ok select t",
        ),
        (
            "SELECT sum(x) FILTER (WHERE y) OVER (PARTITION BY z ORDER BY w) FROM t",
            "1 ok select t",
        ),
    ]);
}

#[test]
fn common_table_expressions_are_no_tables() {
    check_all(&[
        (
            "WITH x AS (SELECT * FROM a) SELECT * FROM x, b",
            "1 ok select a,b",
        ),
        // Without RECURSIVE the name is not known in its own query.
        (
            "WITH t AS (SELECT * FROM t) SELECT * FROM t",
            "1 ok select t",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
            "1 ok select -",
        ),
        (
            "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a, b",
            "1 ok select b",
        ),
        ("WITH x AS (SELECT 1) SELECT * FROM s.x", "1 ok select s.x"),
        (
            "SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) y, x",
            "1 ok select x",
        ),
        (
            "WITH d AS (DELETE FROM a WHERE id = 1 RETURNING *) INSERT INTO b SELECT * FROM d",
            "1 ok delete,insert,select a,b",
        ),
        (
            "WITH d AS (DELETE FROM a RETURNING *) SELECT * FROM d",
            "1 ok delete,select a missing_where",
        ),
        (
            "WITH t AS (SELECT 1) DELETE FROM t WHERE id = 1",
            "1 ok select,delete t",
        ),
        (
            "WITH u AS (UPDATE a SET x = 1 WHERE id = 2 RETURNING *) UPDATE b SET y = u.x FROM u WHERE u.id = b.id",
            "1 ok update a,b",
        ),
        ("WITH x AS (SELECT 1) TABLE x", "1 ok select -"),
    ]);
}

#[test]
fn writes() {
    check_all(&[
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "1 ok insert t"),
        (
            "INSERT INTO s.t (a) SELECT a FROM u RETURNING id",
            "1 ok insert,select s.t,u",
        ),
        ("INSERT INTO t DEFAULT VALUES", "1 ok insert t"),
        (
            "INSERT INTO t AS x (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = excluded.b",
            "1 ok insert t",
        ),
        ("UPDATE t SET a = 1 WHERE id = 1", "1 ok update t"),
        (
            "UPDATE ONLY s.t x SET (a, b) = (1, 2) FROM u WHERE x.id = u.id",
            "1 ok update,select s.t,u",
        ),
        (
            "UPDATE t SET a = (SELECT max(b) FROM u) WHERE id = 1",
            "1 ok update,select t,u",
        ),
        ("DELETE FROM t WHERE id = 1", "1 ok delete t"),
        (
            "DELETE FROM t USING u WHERE t.id = u.id",
            "1 ok delete,select t,u",
        ),
        ("DELETE FROM t WHERE CURRENT OF c", "1 ok delete t"),
        ("UPDATE t SET a = 1 WHERE CURRENT OF c", "1 ok update t"),
        (
            "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
            "1 ok merge,select t,u",
        ),
        (
            "MERGE INTO t USING u ON true WHEN MATCHED THEN UPDATE SET a = 1",
            "1 ok merge,select t,u missing_where",
        ),
        (
            "MERGE INTO t USING u ON true WHEN NOT MATCHED THEN INSERT VALUES (1)",
            "1 ok merge,select t,u",
        ),
        ("TRUNCATE t", "1 ok truncate t"),
        (
            "TRUNCATE TABLE ONLY a, s.b RESTART IDENTITY CASCADE",
            "1 ok truncate a,s.b",
        ),
    ]);
}

#[test]
fn conditions_true_for_every_row() {
    for condition in [
        "true",
        "TRUE",
        "(true)",
        "1=1",
        "'a'='a'",
        "id = id",
        "t.id = t.id",
        "id >= id",
        "true OR id = 1",
        "id = 1 OR true",
        "NOT false",
        "NOT (1 = 2)",
        "1 < 2",
        "((1) = (1))",
        "'a' IS NOT NULL",
        "1 IS NOT NULL",
        "NULL IS NULL",
        "1 IN (2, 1)",
        "1 NOT IN (2, 3)",
        "1 BETWEEN 0 AND 2",
        "2 > 1 AND 1 <> 2",
        "'1' = 1",
        "1 + 1 = 2",
        "-1 < 0",
        "1::int = 1",
        "1.5 > 1",
        "0x10 = 16",
        "'t'",
        "'yes'::boolean",
        "true IS TRUE",
        "false IS NOT TRUE",
        "1 IS DISTINCT FROM 2",
        "id IS NULL OR id IS NOT NULL",
        "active OR NOT active",
        "name LIKE '%'",
        "(1, 'a') = (1, 'a')",
        "bool 'true'",
        "true = true",
        "'a' LIKE 'a'",
        "id IS NOT DISTINCT FROM id",
        "EXISTS (SELECT 1 FROM u) OR 1=1",
        "id IN (1, id)",
        "E'a' = 'a'",
        "$$a$$ = 'a'",
        "U&'\\0061' = 'a'",
    ] {
        check(
            &format!("DELETE FROM t WHERE {condition}"),
            &format!(
                "1 ok {} missing_where",
                if condition.contains("FROM u") {
                    "delete,select t,u"
                } else {
                    "delete t"
                },
            ),
        );
    }
    for condition in [
        "false",
        "id = 1",
        "EXISTS (SELECT 1)",
        "$1",
        "id = $1",
        "1 = $1",
        "1 = 2",
        "id = 1 AND true",
        "id <> id",
        "NULL",
        "NULL = NULL",
        "id = 1 OR false",
        "'a' = 'b'",
        "1 IN (2, 3)",
        "id IN (1, 2)",
        "now() > x",
        "NOT true",
        "id IS NOT NULL",
        "name LIKE 'a%'",
        "active",
        "id = other.id",
        "'f'",
        "id BETWEEN 1 AND 2",
        "random() < 1",
    ] {
        let verbs = if condition.contains("SELECT") {
            "delete,select"
        } else {
            "delete"
        };
        check(
            &format!("DELETE FROM t WHERE {condition}"),
            &format!("1 ok {verbs} t"),
        );
    }
    check("UPDATE t SET a = 1", "1 ok update t missing_where");
    check(
        "DELETE FROM t USING u",
        "1 ok delete,select t,u missing_where",
    );
    check(
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1",
        "1 ok insert t",
    );
}

#[test]
fn session_and_transactions() {
    check_all(&[
        ("BEGIN", "1 ok begin -"),
        (
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
            "1 ok begin -",
        ),
        ("COMMIT; END; ROLLBACK; ABORT", "4 ok commit,rollback -"),
        (
            "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE a",
            "3 ok savepoint,rollback -",
        ),
        (
            "PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x'",
            "2 ok prepare,commit -",
        ),
        ("SET search_path TO a, b", "1 ok set -"),
        ("SET LOCAL statement_timeout = '1s'", "1 ok set -"),
        (
            "SET ROLE admin; SET SESSION AUTHORIZATION bob; SET TIME ZONE 'UTC'",
            "3 ok set -",
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "1 ok set -",
        ),
        (
            "RESET ALL; SHOW TRANSACTION ISOLATION LEVEL; SHOW server_version",
            "3 ok reset,show -",
        ),
        (
            "DISCARD ALL; CHECKPOINT; LOAD 'x'",
            "3 ok discard,checkpoint,load -",
        ),
        (
            "LISTEN a; NOTIFY a, 'DROP TABLE x'; UNLISTEN *",
            "3 ok listen,notify,unlisten -",
        ),
        (
            "PREPARE p (int) AS DELETE FROM t WHERE id = $1",
            "1 ok prepare,delete t",
        ),
        (
            "PREPARE p AS DELETE FROM t",
            "1 ok prepare,delete t missing_where",
        ),
        (
            "EXECUTE p(1, f(2)); DEALLOCATE p; DEALLOCATE PREPARE ALL",
            "3 ok execute,call,deallocate -",
        ),
        (
            "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM t",
            "1 ok declare,select t",
        ),
        (
            "FETCH FORWARD 10 FROM c; MOVE NEXT IN c; CLOSE c; CLOSE ALL",
            "4 ok fetch,move,close -",
        ),
        (
            "BEGIN; UPDATE a SET x = 1 WHERE id = 2; COMMIT;",
            "3 ok begin,update,commit a",
        ),
    ]);
}

#[test]
fn utilities() {
    check_all(&[
        ("EXPLAIN SELECT * FROM t", "1 ok explain t"),
        ("EXPLAIN DELETE FROM t", "1 ok explain t"),
        (
            "EXPLAIN ANALYZE DELETE FROM t",
            "1 ok explain,delete t missing_where",
        ),
        (
            "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t",
            "1 ok explain,delete t missing_where",
        ),
        (
            "EXPLAIN (ANALYZE false, VERBOSE) DELETE FROM t",
            "1 ok explain t",
        ),
        ("EXPLAIN VERBOSE (SELECT 1)", "1 ok explain -"),
        ("EXPLAIN (SELECT * FROM t)", "1 ok explain t"),
        ("COPY t FROM STDIN", "1 ok copy_from t"),
        (
            "COPY s.t (a, b) TO STDOUT WITH (FORMAT csv)",
            "1 ok copy_to s.t",
        ),
        ("COPY (SELECT * FROM t) TO STDOUT", "1 ok copy_to,select t"),
        (
            "COPY (DELETE FROM t RETURNING *) TO STDOUT",
            "1 ok copy_to,delete t missing_where",
        ),
        ("COPY t TO '/tmp/x'", "1 ok copy_to t server_side"),
        (
            "COPY t FROM PROGRAM 'curl x'",
            "1 ok copy_from t server_side",
        ),
        ("LOCK TABLE a, b IN EXCLUSIVE MODE NOWAIT", "1 ok lock a,b"),
        ("VACUUM (FULL, ANALYZE) t (a), u", "1 ok vacuum,analyze t,u"),
        ("VACUUM; ANALYZE VERBOSE t", "2 ok vacuum,analyze t"),
        (
            "CLUSTER t USING i; REINDEX (VERBOSE) TABLE CONCURRENTLY t; REINDEX DATABASE d",
            "3 ok cluster,reindex t",
        ),
        (
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v WITH NO DATA",
            "1 ok refresh v",
        ),
        ("COMMENT ON TABLE t IS 'DROP TABLE x'", "1 ok comment t"),
        ("COMMENT ON COLUMN s.t.c IS NULL", "1 ok comment s.t"),
        (
            "SECURITY LABEL FOR selinux ON TABLE t IS 'x'",
            "1 ok security_label t",
        ),
        (
            "GRANT SELECT, UPDATE (a) ON t, s.u TO bob WITH GRANT OPTION",
            "1 ok grant t,s.u",
        ),
        (
            "GRANT ALL ON ALL TABLES IN SCHEMA s TO PUBLIC; GRANT admin TO bob",
            "2 ok grant -",
        ),
        (
            "REVOKE GRANT OPTION FOR ALL PRIVILEGES ON TABLE t FROM bob CASCADE",
            "1 ok revoke t",
        ),
        ("GRANT EXECUTE ON FUNCTION f(int) TO bob", "1 ok grant -"),
        (
            "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c; REASSIGN OWNED BY a TO b",
            "2 ok import,reassign -",
        ),
        ("CALL s.p(1, (SELECT max(id) FROM t))", "1 ok call,select t"),
        (
            "DO $$ BEGIN DELETE FROM t; END $$",
            "1 ok do,delete t missing_where",
        ),
        (
            "DO LANGUAGE plpgsql 'BEGIN EXECUTE x; END'",
            "1 ok do,unknown -",
        ),
        (
            "DO $$ BEGIN EXECUTE 'DROP TABLE x'; END $$",
            "1 ok do,drop x",
        ),
        (
            "DO $$ BEGIN EXECUTE 'DROP TABLE ' || x; END $$",
            "1 ok do,unknown -",
        ),
    ]);
}

#[test]
fn definitions() {
    check_all(&[
        (
            "CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT f(1), c int REFERENCES s.u (id))",
            "1 ok create,call t,s.u",
        ),
        (
            "CREATE TEMP TABLE IF NOT EXISTS t (LIKE u INCLUDING ALL, CHECK (a LIKE b)) INHERITS (p, q)",
            "1 ok create t,u,p,q",
        ),
        (
            "CREATE TABLE t PARTITION OF p FOR VALUES IN (1)",
            "1 ok create t,p",
        ),
        (
            "CREATE UNLOGGED TABLE t AS SELECT * FROM u WITH NO DATA",
            "1 ok create,select t,u",
        ),
        (
            "CREATE OR REPLACE VIEW v (a) AS SELECT * FROM t WITH CHECK OPTION",
            "1 ok create,select v,t",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT 1",
            "1 ok create,select v",
        ),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t (lower(a)) WHERE b",
            "1 ok create s.t",
        ),
        ("CREATE INDEX ON t (a)", "1 ok create t"),
        (
            "CREATE FUNCTION f(a int) RETURNS int AS $$ BEGIN INSERT INTO t VALUES (1); RETURN 1; END $$ LANGUAGE plpgsql",
            "1 ok create,insert t",
        ),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.a = now(); RETURN NEW; END;$$;",
            "1 ok create -",
        ),
        (
            "CREATE PROCEDURE p() BEGIN ATOMIC DELETE FROM a WHERE b; SELECT CASE WHEN x THEN 1 END; END; SELECT 1",
            "2 ok create,delete,select a",
        ),
        (
            "CREATE TRIGGER g BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "1 ok create,call t",
        ),
        (
            "CREATE RULE r AS ON INSERT TO t DO INSTEAD (DELETE FROM u WHERE true; SELECT 1)",
            "1 ok create,delete,select t,u",
        ),
        (
            "CREATE SCHEMA s CREATE TABLE t (a int) GRANT SELECT ON t TO bob",
            "1 ok create,grant,select t",
        ),
        (
            "CREATE ROLE r LOGIN PASSWORD 'x'; ALTER USER r SET a = 1; DROP ROLE r",
            "3 ok create,alter,drop -",
        ),
        (
            "CREATE EXTENSION IF NOT EXISTS x; CREATE TYPE e AS ENUM ('a'); CREATE SEQUENCE q OWNED BY t.id",
            "3 ok create t",
        ),
        (
            "ALTER TABLE IF EXISTS ONLY s.t ADD COLUMN a int REFERENCES u, DROP COLUMN b",
            "1 ok alter s.t,u",
        ),
        (
            "ALTER TABLE t ATTACH PARTITION p DEFAULT; ALTER INDEX i RENAME TO j",
            "2 ok alter t,p",
        ),
        (
            "ALTER SYSTEM SET a = 1; ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO bob",
            "2 ok alter,grant -",
        ),
        ("DROP TABLE t", "1 ok drop t"),
        ("DROP TABLE IF EXISTS a, s.\"B\" CASCADE", "1 ok drop a,s.B"),
        (
            "DROP VIEW v; DROP INDEX CONCURRENTLY i; DROP FUNCTION f(int, text), g; DROP OWNED BY bob",
            "4 ok drop v",
        ),
        (
            "DROP TRIGGER IF EXISTS g ON t CASCADE; DROP CAST (a AS b)",
            "2 ok drop t",
        ),
    ]);
}

#[test]
fn words_in_the_wrong_place_do_nothing() {
    check_all(&[
        ("SELECT 'DROP TABLE x'", "1 ok select -"),
        (
            "SELECT 1 /* ; DROP TABLE x */ -- DROP TABLE y",
            "1 ok select -",
        ),
        ("SELECT \"drop\" FROM \"delete\"", "1 ok select delete"),
        ("SELECT $q$; DROP TABLE x; $$ $q$", "1 ok select -"),
        ("SELECT E'\\'; DROP TABLE x; --'", "1 ok select -"),
        // Backslashes are nothing special in a plain string.
        ("SELECT '\\'; DROP TABLE x; --'", "2 ok select,drop x"),
        ("SELECT /* /* */ ; DROP TABLE x; */ 1", "1 ok select -"),
        ("DROP/**/TABLE/**/x", "1 ok drop x"),
    ]);
}

#[test]
fn what_cannot_be_read_could_be_anything_its_tokens_say() {
    check_all(&[
        ("hello", "1 failed unknown -"),
        ("SELEC 1", "1 failed unknown -"),
        (
            "SELECT FROM WHERE 'drop' \"alter\" delete",
            "1 failed unknown,select,delete -",
        ),
        ("SELECT 1; foo; SELECT 2", "3 partial select,unknown -"),
        ("DELETE FROM t WHERE )", "1 failed unknown,delete t"),
        ("DELETE FROM t )", "1 failed unknown,delete t missing_where"),
        (
            "UPDATE t SET a = = 1",
            "1 failed unknown,update t missing_where",
        ),
        ("DROP TABLE t garbage here", "1 failed unknown,drop t"),
        ("SELECT 'unterminated", "1 failed unknown,select -"),
        ("SELECT 1 /* unterminated", "1 failed unknown,select -"),
        ("SET", "1 failed unknown,set -"),
        ("COPY t FROM PROGRAM", "1 ok copy_from t server_side"),
    ]);
}

#[test]
fn effects_name_verb_and_object() {
    let effects = |text| -> Vec<String> {
        let facts = facts(text, Dialect::Postgres, false);
        let name = |effect: &Effect| match &effect.object {
            Some(object) => format!(
                "{} {object}{}",
                effect.verb,
                if effect.uncertain { "?" } else { "" }
            ),
            None => format!("{}{}", effect.verb, if effect.uncertain { "?" } else { "" }),
        };
        facts.effects.iter().map(name).collect()
    };
    assert_eq!(
        effects("INSERT INTO a SELECT count(*) FROM b"),
        ["insert a", "call count", "select b"]
    );
    assert_eq!(effects("SELECT 1; SELECT * FROM t"), ["select", "select t"]);
    assert_eq!(effects("SET ROLE x"), ["set role"]);
    assert_eq!(effects("DROP TABLE a, s.b"), ["drop a", "drop s.b"]);
    assert_eq!(
        effects("DELETE FROM t )"),
        ["unknown?", "delete t?", "unknown t?"]
    );
}

#[test]
fn the_head_of_a_text_is_never_ok() {
    let head = |text| line(&facts(text, Dialect::Postgres, true));
    assert_eq!(
        head("SELECT 1; INSERT INTO t VALUES ('a"),
        "2 partial select,unknown,insert t"
    );
    assert_eq!(
        head("INSERT INTO t VALUES (1)"),
        "1 failed unknown,insert t"
    );
    assert_eq!(head("SELECT 1;"), "2 partial select,unknown -");
    assert_eq!(head("/* "), "1 failed unknown -");
}

/// Hostile depth in a debug build on a small stack: an answer, not an overflow.
#[test]
fn deep_texts_do_not_overflow_the_stack() {
    let (deep, n) = (100_000, 20_000);
    let texts: Vec<String> = vec![
        format!("SELECT {}1{}", "(".repeat(deep), ")".repeat(deep)),
        "(".repeat(n),
        format!("SELECT {} true", "NOT ".repeat(deep)),
        format!("SELECT {}", "CASE WHEN ".repeat(deep)),
        format!("SELECT {}", "CASE ".repeat(deep)),
        format!("SELECT 1{}", "+1".repeat(deep)),
        format!("SELECT 1{}", "+1".repeat(550)),
        format!("SELECT * FROM t WHERE a{}", " AND a".repeat(deep)),
        format!("DELETE FROM t WHERE a = 1{}", " OR a = 1".repeat(10_000)),
        format!("DELETE FROM t WHERE a = 1{}", " OR a = 1".repeat(250)),
        format!("DELETE FROM t WHERE {} true", "NOT ".repeat(60)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(n)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(500)),
        format!("SELECT 1{}", "::int".repeat(n)),
        format!("SELECT 1{}", "::int".repeat(500)),
        format!("SELECT a{}", "[1]".repeat(n)),
        format!("SELECT a::int{}", "[]".repeat(500)),
        format!("SELECT {}1", "- ".repeat(n)),
        format!("SELECT {}1", "-+".repeat(n)),
        format!("SELECT {}", "INTERVAL ".repeat(n)),
        format!("SELECT {}", "ARRAY[".repeat(n)),
        format!("SELECT {}", "f(".repeat(n)),
        format!("SELECT * FROM {}", "(".repeat(n)),
        format!("SELECT * FROM t{}", " JOIN t ON a".repeat(n)),
        format!("SELECT * FROM {}t", "(SELECT * FROM ".repeat(n)),
        format!("SELECT a IS NULL{}", " IS NULL".repeat(500)),
        format!("SELECT a{}", " COLLATE b".repeat(500)),
        format!("SELECT a{}", ".b".repeat(n)),
        format!("SELECT x::{}", "ARRAY<".repeat(n)),
        format!("SELECT x::{}", "STRUCT<a ".repeat(n)),
        "EXPLAIN ".repeat(n),
        "PREPARE a AS ".repeat(n),
        "WITH a AS (".repeat(n),
        format!("CREATE TABLE t ({}", "a int DEFAULT f(".repeat(n)),
        format!("CREATE TABLE t ({}", "a int DEFAULT f(1), ".repeat(n)),
        format!("CREATE VIEW v AS {}", "CREATE VIEW v AS ".repeat(n)),
        format!("DO {}", "$$ EXECUTE ".repeat(n)),
        format!("DO $$ {} $$", "EXECUTE 'SELECT 1'; ".repeat(n)),
        "+-".repeat(n),
        "$a".repeat(n),
        "/*".repeat(n),
        ";".repeat(n),
        "x;".repeat(n),
        "SELECT 1;".repeat(n),
        format!("INSERT INTO t VALUES {}", "(1, now()),".repeat(n)),
        format!("SELECT * FROM t WHERE a IN ({}1)", "1,".repeat(n)),
        format!("SELECT {}", "a,".repeat(n)),
        format!("WITH {}", "a AS (DELETE FROM t),".repeat(n)),
    ];
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let run = move || {
        for text in texts {
            let started = std::time::Instant::now();
            assert!(
                facts(&text, Dialect::Postgres, false).count > 0 || text.starts_with([';', '/'])
            );
            let head: String = text.chars().take(40).collect();
            let took = started.elapsed();
            assert!(took.as_secs() < 20, "{head}: {took:?}");
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
}

/// Where sqlparser tries one reading after another, nesting must not multiply the attempts.
#[test]
fn nesting_does_not_multiply_time() {
    let nests = [
        ("SELECT ", "(", "1", ")"),
        ("SELECT ", "((", "SELECT 1", "))"),
        ("SELECT * FROM ", "(", "t", ")"),
        ("SELECT * FROM ", "(", "SELECT 1", ") x"),
        ("SELECT * FROM ", "(", "t", " JOIN t ON a)"),
        ("SELECT * FROM ", "(t JOIN ", "t", " ON a)"),
        ("SELECT ", "f(", "1", ")"),
        ("SELECT ", "(1, ", "1", ")"),
        ("SELECT ", "CASE WHEN a THEN ", "1", " END"),
        ("SELECT ", "CASE ", "1", " WHEN a THEN 1 END"),
        ("SELECT ", "NOT (", "a", ")"),
        ("SELECT 1 WHERE a IN ", "(", "1", ")"),
        ("SELECT 1 WHERE ", "a IN (", "1", ")"),
        ("SELECT ", "ARRAY[", "1", "]"),
        ("SELECT ", "CAST(", "1", " AS int)"),
        ("SELECT ", "EXISTS (SELECT ", "1", ")"),
        ("SELECT ", "INTERVAL (", "1", ")"),
        ("SELECT ", "a -> (", "1", ")"),
        ("SELECT ", "extract(year FROM ", "a", ")"),
        ("SELECT ", "position(", "1", " IN a)"),
        ("SELECT ", "trim(", "a", ")"),
        ("SELECT ", "substring(", "a", " FROM 1)"),
        ("SELECT ", "overlay(", "a", " PLACING 'x' FROM 1)"),
        ("SELECT ", "a BETWEEN (", "1", ") AND 2"),
        ("SELECT ", "map(", "1", ")"),
        ("SELECT ", "date(", "1", ")"),
        ("SELECT ", "x::numeric(", "1", ")"),
        ("", "WITH a AS (", "SELECT 1", ") SELECT 1"),
        ("", "(", "SELECT 1", " UNION SELECT 2)"),
        ("INSERT INTO t ", "(", "SELECT 1", ")"),
        ("INSERT INTO t VALUES (", "(", "1", ")"),
        ("SELECT 1 GROUP BY ", "ROLLUP (", "1", ")"),
        ("SELECT 1 GROUP BY ", "(", "a", ", 1)"),
        ("SELECT ", "listagg(a) OVER (PARTITION BY ", "1", ")"),
        ("SELECT ", "try_cast(", "a", " AS int)"),
        ("SELECT ", "json_object(", "a", " : 1)"),
        ("SELECT * FROM ", "json_table(", "a", ")"),
        ("SELECT * FROM ", "unnest(", "a", ")"),
        ("SELECT * FROM ", "LATERAL (", "SELECT 1", ")"),
        ("SELECT * FROM ", "TABLE(", "f()", ")"),
    ];
    for (start, open, inner, close) in nests {
        for depth in [10, 30, 60] {
            let body = open.repeat(depth) + inner;
            for text in [
                format!("{start}{body}{}", close.repeat(depth)),
                format!("{start}{body}{} )", close.repeat(depth)),
                format!("{start}{body}{}", close.repeat(depth / 2)),
                format!("{start}{body} ! {}", close.repeat(depth)),
            ] {
                let started = std::time::Instant::now();
                facts(&text, Dialect::Postgres, false);
                let took = started.elapsed();
                assert!(took.as_secs() < 2, "{took:?} {text}");
            }
        }
    }
}

#[test]
fn long_lists_of_literals_are_read() {
    let rows = "(1, 'text', -2.5), ".repeat(100_000);
    check(
        &format!("INSERT INTO t VALUES {rows}(1, 'x', 3)"),
        "1 ok insert t",
    );
    let items = "1, ".repeat(100_000);
    check(
        &format!("DELETE FROM t WHERE id IN ({items} 2)"),
        "1 ok delete t",
    );
    check(
        &format!("DELETE FROM t WHERE 2 IN ({items} 2)"),
        "1 failed unknown,delete t",
    );
}

#[test]
fn fingerprints_group_statements() {
    let fingerprint = |text| facts(text, Dialect::Postgres, false).fingerprint;
    let one = fingerprint("SELECT * FROM t WHERE a = 1 AND b IN (1, 2)");
    assert_eq!(one.len(), 16);
    assert_eq!(
        one,
        fingerprint("select  * from T where a=-2 and b in ('x') -- c")
    );
    assert_ne!(
        one,
        fingerprint("SELECT * FROM u WHERE a = 1 AND b IN (1, 2)")
    );
    assert_ne!(
        one,
        fingerprint("SELECT * FROM t WHERE a = $1 AND b IN (1, 2)")
    );
    // Recorded once: the id must not change from version to version.
    assert_eq!(&*fingerprint("SELECT 1"), "e1c71d1661ae46e0");
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,3}",
        "'[a-z';]{0,4}'",
        Just("true".into()),
        Just("NULL".into()),
        Just("1.5".into()),
        Just("'%'".into()),
        Just("$1".into()),
        Just("E'\\''".into()),
        Just("$$a$$".into()),
        Just("1a".into()),
        Just("-1".into()),
    ]
}

/// Statements of few forms with many literals, so that forms meet again in the cache.
fn statement() -> impl Strategy<Value = String> {
    let forms = prop::sample::select(vec![
        "SELECT {}, {} FROM t",
        "DELETE FROM t WHERE {} = {}",
        "DELETE FROM t WHERE id = {} OR x LIKE {}",
        "UPDATE t SET a = {} WHERE {}",
        "INSERT INTO t VALUES ({}, {})",
        "INSERT INTO t VALUES ({}), ({})",
        "DELETE FROM t WHERE {} IN ({}, 2)",
        "SET a = {}, {}",
        "SELECT CAST({} AS varchar({}))",
        "DELETE FROM t WHERE a IN ({}, {})",
        "DELETE FROM t WHERE {} BETWEEN 0 AND {}",
        "BEGIN; DELETE FROM t WHERE {} < {}; COMMIT",
        "EXPLAIN (ANALYZE {}) DELETE FROM t WHERE {}",
        "SELECT {} {}",
        "DELETE FROM t WHERE {} IS NOT NULL AND NOT {}",
        "COPY t FROM {} {}",
        "DO {} {}",
        "UPDATE t SET a = {} LIMIT {}",
    ]);
    (forms, literal(), literal())
        .prop_map(|(form, one, other)| form.replacen("{}", &one, 1).replacen("{}", &other, 1))
}

fn token_soup() -> impl Strategy<Value = String> {
    let tokens = prop::sample::select(vec![
        "select",
        "from",
        "where",
        "delete",
        "update",
        "set",
        "insert",
        "into",
        "values",
        "(",
        ")",
        ",",
        ";",
        "t",
        "\"T\"",
        "'x'",
        "1",
        "$1",
        "=",
        "and",
        "or",
        "not",
        "with",
        "as",
        "create",
        "table",
        "drop",
        "view",
        "function",
        "$$",
        "'",
        "/*",
        "*/",
        "explain",
        "analyze",
        "copy",
        "to",
        "grant",
        "on",
        "do",
        "call",
        "begin",
        "atomic",
        "end",
        "case",
        "when",
        "then",
        "::",
        "[",
        "]",
        "U&\"",
        "E'",
        "--",
        "\n",
        "*",
        ".",
        "execute",
        "default",
        "references",
        "cursor",
        "for",
        "declare",
        "merge",
        "using",
        "matched",
        "comment",
        "is",
        "null",
        "in",
        "schema",
        "all",
        "prepare",
        "like",
        "interval",
        "recursive",
        "union",
        "uescape",
        "index",
        "rule",
    ]);
    prop::collection::vec(tokens, 0..25).prop_map(|tokens| tokens.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_cached_answer_is_the_answer(texts in prop::collection::vec(statement(), 1..30)) {
        let mut cache = FactsCache::new(Dialect::Postgres);
        for _ in 0..2 {
            for text in &texts {
                prop_assert_eq!(&*cache.get(text, false), &facts(text, Dialect::Postgres, false), "{}", text);
            }
        }
    }

    #[test]
    fn any_text_has_facts(text in "\\PC{0,60}|[ -~]{0,60}", truncated: bool) {
        let facts = facts(&text, Dialect::Postgres, truncated);
        prop_assert!(!truncated || facts.parse != Parse::Ok);
    }

    #[test]
    fn any_soup_of_tokens_has_facts(text in token_soup()) {
        let mut cache = FactsCache::new(Dialect::Postgres);
        let facts = facts(&text, Dialect::Postgres, false);
        prop_assert_eq!(facts.count == 0, facts.verbs.is_empty());
        prop_assert_eq!(&*cache.get(&text, false), &facts);
        prop_assert_eq!(&*cache.get(&text, false), &facts);
    }
}

#[test]
fn a_prepared_statement_is_found_by_its_address() {
    let mut cache = FactsCache::new(Dialect::Postgres);
    let text = |sql: &str| {
        Arc::new(crate::protocol::Text {
            text: sql.into(),
            bytes: sql.len() as u64,
            truncated: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })
    };
    let held = text("SELECT * FROM t WHERE id = $1");
    let prepared = Arc::clone(&held);
    let first = cache.get_text(&prepared);
    assert!(Arc::ptr_eq(&first, &cache.get_text(&prepared)));
    assert_eq!(*first, facts(&held.text, Dialect::Postgres, false));
}

/// `cargo test --release -p dbgov-agent sql::tests::speed -- --ignored --nocapture`
#[test]
#[ignore = "prints times, of use in a release build only"]
fn speed() {
    let measure = |name: &str, texts: &[String]| {
        let mut cache = FactsCache::new(Dialect::Postgres);
        let rounds = 2_000_000 / texts.len();
        let started = std::time::Instant::now();
        for _ in 0..rounds {
            for text in texts {
                std::hint::black_box(cache.get(text, false));
            }
        }
        let ns = started.elapsed().as_nanos() / (rounds * texts.len()) as u128;
        println!("{name}: {ns} ns");
    };
    let vary = |form: &str| -> Vec<String> {
        (0..1000)
            .map(|n| {
                form.replace("{a}", &(n * 97 % 100_000).to_string())
                    .replace("{b}", &(n - 500).to_string())
            })
            .collect()
    };
    measure(
        "select",
        &vary("SELECT abalance FROM pgbench_accounts WHERE aid = {a};"),
    );
    measure(
        "update",
        &vary("UPDATE pgbench_accounts SET abalance = abalance + {b} WHERE aid = {a};"),
    );
    measure(
        "insert",
        &vary(
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ({a}, 1, {a}, {b}, CURRENT_TIMESTAMP);",
        ),
    );
    measure(
        "prepared",
        &vary("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2;"),
    );
    measure("begin", &vary("BEGIN;"));
    measure("set", &["SET extra_float_digits = 3".to_owned()]);
    let texts = vary("UPDATE pgbench_accounts SET abalance = abalance + {b} WHERE aid = {a};");
    let started = std::time::Instant::now();
    for text in &texts {
        std::hint::black_box(facts(text, Dialect::Postgres, false));
    }
    println!(
        "facts, not cached: {} ns",
        started.elapsed().as_nanos() / texts.len() as u128
    );
}
