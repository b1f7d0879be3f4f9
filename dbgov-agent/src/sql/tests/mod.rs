//! Statements and what they are: each line is a text, and what its facts must be.

mod cache;
mod code;
mod corpus;
mod hostile;
mod readings;
mod session;
mod tokens;
mod utilities;

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

/// Effects as `verb object`, with `?` for uncertain ones, `!` for all rows, `@` for the server's files, `~` for dynamic
/// code.
fn effects_of(facts: &Facts) -> Vec<String> {
    let name = |effect: &Effect| {
        let mut name = effect.verb.to_string();
        if let Some(object) = &effect.object {
            name = format!("{name} {object}");
        }
        for (flag, sign) in [
            (effect.uncertain, '?'),
            (effect.missing_where, '!'),
            (effect.server_side, '@'),
            (effect.dynamic, '~'),
        ] {
            if flag {
                name.push(sign);
            }
        }
        name
    };
    facts.effects.iter().map(name).collect()
}

fn effects(text: &str) -> String {
    effects_of(&facts(text, Dialect::Postgres, false)).join(", ")
}

/// Each line: a text, and its effects in any order.
fn check_effects(cases: &[(&str, &str)]) {
    let sorted = |list: &str| {
        let mut items: Vec<String> = list.split(", ").map(str::to_owned).collect();
        items.sort();
        items
    };
    for (text, expected) in cases {
        assert_eq!(sorted(&effects(text)), sorted(expected), "{text}");
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
        (
            "SELECT pg_read_file('/etc/passwd')",
            "1 ok select,call - server_side",
        ),
        (
            "SELECT dblink('', 'DROP TABLE x')",
            "1 ok select,call,unknown -",
        ),
        ("SELECT (f(a)).*, (b).c FROM t", "1 ok select,call t"),
        (
            "SELECT 1 FROM t WHERE a OPERATOR(pg_catalog.=) ANY (array['r'])",
            "1 ok select t",
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
            "1 ok insert,update t",
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
        "1 OPERATOR(pg_catalog.=) 1",
        "coalesce(NULL, true)",
        "coalesce(true, id = 1)",
        "CASE WHEN 1 = 1 THEN true ELSE false END",
        "CASE 1 WHEN 2 THEN false ELSE true END",
        "t.id = id",
        "lower(name) = lower(name)",
        "id + 1 = (id + 1)",
        "id::text = id::text",
        "$1 = $1",
        "(id IS NULL) IS NOT NULL",
        "id > 5 OR id <= 5",
        "id = 5 OR NOT id = 5",
        "'abc' LIKE 'a%c'",
        "name ~ '.*'",
        "1 = ANY (ARRAY[1, 2])",
        "'a' || 'b' = 'ab'",
        "5 % 2 = 1",
        "E'\\x61' = 'a'",
        "'a' COLLATE \"C\" = 'a'",
        "2 BETWEEN SYMMETRIC 1 AND 3",
        "name = 'x' OR 'x' LIKE '_'",
        "((1 BETWEEN 0 AND 2) BETWEEN false AND true) BETWEEN false AND true",
        "NULL ISNULL",
        "1 NOTNULL",
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
        "random() = random()",
        "lower(name) = lower(other)",
        "id + 1 = id + 2",
        "coalesce(id, 1) = 1",
        "u.id = id",
        "id > 5 OR id < 5",
        "'abc' LIKE 'b%'",
        "name ~ 'a'",
        "$1 = $2",
        "a[1] = a[2]",
        "1 BETWEEN 2 AND 3",
        "CASE WHEN id = 1 THEN true END",
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
        "1 ok insert,update t",
    );
}
