//! What the agent says a statement does, against what the server did: pgaudit reports every command and every relation
//! it touched, and rows are counted where a condition is said to be true for all of them.

use std::collections::BTreeSet;
use std::fs;

use dbgov_agent::sql::{Dialect, Facts, ObjectKind, Verb, facts};
use dbgov_tests::postgres::{Options, Server};
use postgres::{Client, NoTls};

/// Everything the statements below refer to.
const SCHEMA: &str = "
    CREATE SCHEMA s;
    CREATE TABLE a (id int PRIMARY KEY, x int, name text, ok boolean DEFAULT true);
    CREATE TABLE b (id int PRIMARY KEY, x int);
    CREATE TABLE s.c (id int, x int);
    CREATE TABLE \"Select\" (\"drop\" int);
    CREATE TABLE tree (id int, parent int);
    CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
    CREATE PROCEDURE p(int) LANGUAGE plpgsql AS 'BEGIN NULL; END';
    CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
    CREATE SEQUENCE q;
    CREATE ROLE bob;
    INSERT INTO a SELECT n, n, 'n' || n FROM generate_series(1, 10) n;
    INSERT INTO b SELECT n, n FROM generate_series(1, 10) n;
";

/// Statements that stand alone, and in all the disguises below.
const WRITES: &[&str] = &[
    "DELETE FROM a",
    "delete from a * where id = 1",
    "delete from only (a) where id = 1",
    "DELETE FROM a USING b WHERE a.id = b.id",
    "DELETE FROM a WHERE id IN (SELECT id FROM s.c)",
    "UPDATE a SET x = 1",
    "UPDATE a AS t SET x = b.x FROM b WHERE t.id = b.id",
    "UPDATE a SET (x, name) = (SELECT 1, 'n' FROM b LIMIT 1) WHERE ok",
    "INSERT INTO s.c VALUES (1, 2), (3, 4)",
    "INSERT INTO s.c SELECT id, x FROM a WHERE EXISTS (SELECT 1 FROM b)",
    "INSERT INTO a (id, x) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET x = excluded.x",
    "INSERT INTO \"Select\" DEFAULT VALUES",
    "WITH d AS (DELETE FROM a RETURNING id) INSERT INTO s.c (id) SELECT id FROM d",
    "WITH a AS (SELECT * FROM b) UPDATE s.c SET x = 1 FROM a WHERE a.id = c.id",
];

const READS: &[&str] = &[
    "SELECT 1",
    "SELECT * FROM a",
    "TABLE b",
    "VALUES (1), (2)",
    "SELECT 'DROP TABLE a' FROM b",
    "SELECT \"drop\" FROM \"Select\"",
    "SELECT a.*, f(b.x) FROM a JOIN b USING (id) LEFT JOIN s.c ON true",
    "SELECT (SELECT max(x) FROM a) FROM b WHERE id IN (SELECT id FROM s.c)",
    "SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.id = a.id) l",
    "SELECT id FROM a UNION SELECT id FROM b EXCEPT SELECT id FROM s.c",
    "WITH RECURSIVE r AS (SELECT id FROM tree UNION SELECT t.id FROM tree t, r WHERE t.parent = r.id) SELECT * FROM r",
    "WITH RECURSIVE r AS (SELECT id FROM tree UNION ALL SELECT id + 1 FROM r WHERE id < 3) SEARCH DEPTH FIRST BY id SET o SELECT * FROM r",
    "SELECT * FROM U&\"\\0061\"",
    "SELECT * FROM U&\"!0061\" UESCAPE $$!$$",
    "SELECT sum(x) OVER (ORDER BY id ROWS 1 PRECEDING EXCLUDE TIES) FROM a",
    "SELECT * FROM a TABLESAMPLE system (10) WHERE name COLLATE \"C\" > 'a'",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), f(1)) AS r(x, y)",
    "SELECT * FROM json_to_record('{}') AS (q int), a",
    "SELECT x ISNULL, ok NOTNULL FROM a FOR UPDATE OF a",
    "SELECT * FROM a ORDER BY id FETCH FIRST 1 ROW ONLY",
    "SELECT '\\'; -- ' FROM a",
    "SELECT E'\\'; DROP TABLE b; --' FROM a",
    "SELECT E'a'\n'\\'; DROP TABLE b; --' FROM a",
    "SELECT 1 /* ; DROP TABLE b; /* x */ */ FROM a -- b",
];

const COMMANDS: &[&str] = &[
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (b.id)",
    "MERGE INTO s.c USING (SELECT * FROM b) t ON c.id = t.id WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    "TRUNCATE a, s.c",
    "TRUNCATE TABLE ONLY b RESTART IDENTITY CASCADE",
    "DROP TABLE a CASCADE",
    "drop/**/table/**/if exists\ts.\"c\", b",
    "DROP SEQUENCE q",
    "DROP MATERIALIZED VIEW m",
    "DROP FUNCTION f(int)",
    "DROP SCHEMA s CASCADE",
    "DROP OWNED BY bob",
    "CREATE TABLE n (id int PRIMARY KEY, r int REFERENCES a (id) ON DELETE CASCADE)",
    "CREATE TABLE n (LIKE a INCLUDING ALL) INHERITS (s.c)",
    "CREATE TABLE n AS SELECT * FROM a",
    "CREATE TEMP TABLE n ON COMMIT DROP AS TABLE b WITH NO DATA",
    "SELECT * INTO n FROM a",
    "SELECT id INTO TEMP TABLE n FROM a JOIN b USING (id)",
    "CREATE VIEW v AS SELECT * FROM a",
    "CREATE MATERIALIZED VIEW v AS SELECT a.id FROM a, b",
    "CREATE INDEX ON a (lower(name)) WHERE x > 0",
    "CREATE SEQUENCE n OWNED BY a.id",
    "CREATE SCHEMA n CREATE TABLE t (id int) CREATE VIEW v AS SELECT 1 AS one",
    "CREATE RULE n AS ON INSERT TO a DO ALSO (DELETE FROM b; SELECT 1)",
    "CREATE FUNCTION n() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM a; END $$",
    "CREATE FUNCTION n() RETURNS int RETURN (SELECT max(id) FROM a)",
    "CREATE ROLE n; ALTER ROLE n CREATEDB; DROP ROLE n",
    "ALTER TABLE a ADD COLUMN y int CHECK (y > 0) NO INHERIT, DROP COLUMN x",
    "ALTER TABLE a ALTER x TYPE text USING f(x)::text",
    "ALTER TABLE a RENAME TO n",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO bob",
    "COMMENT ON TABLE a IS 'DROP TABLE b'",
    "COMMENT ON COLUMN s.c.x IS NULL",
    "GRANT SELECT, UPDATE (x) ON a, s.c TO bob",
    "REVOKE ALL ON ALL TABLES IN SCHEMA s FROM bob",
    "GRANT bob TO CURRENT_USER",
    "REASSIGN OWNED BY bob TO CURRENT_USER",
    "LOCK TABLE ONLY a, s.c IN SHARE MODE NOWAIT",
    "REFRESH MATERIALIZED VIEW m WITH NO DATA",
    "REINDEX TABLE a",
    "CLUSTER a USING a_pkey",
    "ANALYZE a (id), b",
    "COPY a TO STDOUT",
    "COPY (SELECT a.id FROM a JOIN b USING (id)) TO STDOUT WITH (FORMAT csv)",
    "COPY (DELETE FROM a RETURNING *) TO PROGRAM 'cat > /dev/null'",
    "COPY s.c (id) TO '/dev/null'",
    "COPY s.c FROM '/dev/null' WHERE id > 0",
    "CALL p(1)",
    "CALL p(f(1))",
    "DO 'BEGIN PERFORM f(1); END'",
    "SET search_path TO s, public; SELECT * FROM c",
    "SELECT set_config('search_path', 's', true)",
    "RESET ALL; SHOW search_path",
    "LISTEN n; NOTIFY n, 'x'; UNLISTEN *",
    "SET LOCAL ROLE bob; RESET ROLE",
    "DECLARE k CURSOR FOR SELECT * FROM a; FETCH 2 FROM k; MOVE k; CLOSE k",
    "PREPARE w (int) AS DELETE FROM a WHERE id = $1; EXECUTE w(1); DEALLOCATE w",
    "PREPARE w AS SELECT * FROM a; CREATE TABLE n AS EXECUTE w; DEALLOCATE ALL",
    "EXPLAIN SELECT * FROM a, b",
    "EXPLAIN (COSTS OFF, ANALYZE false) DELETE FROM a",
    "EXPLAIN (\"analyze\", \"timing\" 'off') UPDATE a SET x = 1",
    "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO s",
    "CREATE PUBLICATION n FOR TABLE a, s.c",
    "CREATE STATISTICS n ON id, x FROM a",
    "CREATE TRIGGER n BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE POLICY n ON a USING (EXISTS (SELECT 1 FROM b WHERE b.id = a.id))",
    "SELECT pg_ls_dir('.'), pg_read_file('PG_VERSION')",
    "SELECT query_to_xml('SELECT id FROM a', true, false, '')",
    "SELECT table_to_xml('a', true, false, '')",
    "SECURITY LABEL ON TABLE a IS NULL",
    "SAVEPOINT n; DELETE FROM a; ROLLBACK TO n; RELEASE n",
];

/// The same statement in other clothes. A quote in it is doubled where it is put into a string.
fn disguises(statement: &str) -> Vec<String> {
    let quoted = statement.replace('\'', "''");
    let writes_in_with = statement.starts_with("WITH");
    let mut all = vec![
        statement.to_owned(),
        format!("/* /* */ ; */ {statement}; -- x"),
        format!("SELECT 1; {statement}"),
        format!("EXPLAIN ANALYZE {statement}"),
        format!("EXPLAIN (VERBOSE, ANALYZE on) {statement}"),
        format!("PREPARE w AS {statement}; EXECUTE w; DEALLOCATE w"),
        format!("DO $do$ BEGIN EXECUTE $x${statement}$x$; END $do$"),
    ];
    // Backslashes are something else in an escape string, and a string on two lines is another one in one.
    if !statement.contains(['\\', '\n']) {
        all.push(format!(
            "DO E'BEGIN EXECUTE E''{}''; END'",
            quoted.replace('\'', "''")
        ));
    }
    if !writes_in_with && statement.starts_with(['D', 'U', 'I']) {
        all.push(format!("WITH w AS ({statement} RETURNING 1) SELECT 1"));
        all.push(format!("COPY ({statement} RETURNING 1) TO STDOUT"));
        all.push(format!(
            "DO $do$ BEGIN IF true THEN {statement}; END IF; END $do$"
        ));
    }
    all
}

/// What pgaudit wrote about one statement.
#[derive(Debug)]
struct Entry {
    command: String,
    kind: String,
    object: String,
}

fn audit_entries(log: &str, case: usize) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if line["application_name"] != format!("case {case}") {
            continue;
        }
        let message = line["message"].as_str().unwrap_or("");
        if line["error_severity"] == "ERROR" {
            errors.push(message.to_owned());
        } else if let Some(audit) = message.strip_prefix("AUDIT: SESSION,") {
            let mut fields = audit.split(',');
            let mut field = || fields.next().unwrap_or("").to_owned();
            let (_, _, _) = (field(), field(), field());
            entries.push(Entry {
                command: field(),
                kind: field(),
                object: field(),
            });
        }
    }
    (entries, errors)
}

fn verb_of(command: &str) -> Option<Verb> {
    let verb = match command.split(' ').next()? {
        "SELECT" => Verb::Select,
        "INSERT" => Verb::Insert,
        "UPDATE" => Verb::Update,
        "DELETE" => Verb::Delete,
        "MERGE" => Verb::Merge,
        "TRUNCATE" => Verb::Truncate,
        "CREATE" => Verb::Create,
        "ALTER" => Verb::Alter,
        "DROP" => Verb::Drop,
        "GRANT" => Verb::Grant,
        "REVOKE" => Verb::Revoke,
        "COMMENT" => Verb::Comment,
        "LOCK" => Verb::Lock,
        "ANALYZE" => Verb::Analyze,
        "REFRESH" => Verb::Refresh,
        "REINDEX" => Verb::Reindex,
        "CLUSTER" => Verb::Cluster,
        "CALL" => Verb::Call,
        "DO" => Verb::Do,
        "EXPLAIN" => Verb::Explain,
        "PREPARE" => Verb::Prepare,
        "DEALLOCATE" => Verb::Deallocate,
        "DECLARE" => Verb::Declare,
        "FETCH" => Verb::Fetch,
        "SHOW" => Verb::Show,
        "REASSIGN" => Verb::Reassign,
        "NOTIFY" => Verb::Notify,
        "LISTEN" => Verb::Listen,
        _ => return None,
    };
    Some(verb)
}

/// Is this among the effects? A read of a table is also told as the read of what is done with it, and a name without a
/// schema is where the search_path leads.
fn tells(facts: &Facts, verb: Verb, relation: &str) -> bool {
    facts.effects.iter().any(|effect| {
        let same = effect.object.as_ref().is_some_and(|object| {
            relation == object.to_string()
                || (object.schema.is_none() && relation.ends_with(&format!(".{}", object.name)))
        });
        let told = effect.verb == verb
            || match effect.verb {
                // The server asks for the right to run what it explains.
                Verb::Explain => true,
                Verb::CopyTo | Verb::Create | Verb::Fetch => verb == Verb::Select,
                // Its parts are what the server reports.
                Verb::Merge => matches!(verb, Verb::Insert | Verb::Delete | Verb::Update),
                Verb::CopyFrom => verb == Verb::Insert,
                Verb::Insert => verb == Verb::Update,
                _ => false,
            };
        effect.dynamic || (same && told)
    })
}

fn check_case(sql: &str, entries: &[Entry], wrong: &mut Vec<String>) {
    let facts = facts(sql, Dialect::Postgres, false);
    let dynamic = facts.effects.iter().any(|effect| effect.dynamic);
    for entry in entries {
        let Some(verb) = verb_of(&entry.command) else {
            continue;
        };
        let bare = entry.object.rsplit('.').next().unwrap_or("");
        let named = sql
            .to_lowercase()
            .contains(&bare.trim_matches('"').to_lowercase());
        let relation = matches!(entry.kind.as_str(), "TABLE" | "VIEW" | "MATERIALIZED VIEW");
        let told = if relation && named && !bare.is_empty() && !entry.object.starts_with("pg_") {
            // A definition's tables may be told by the definition.
            tells(&facts, verb, &entry.object.replace('"', ""))
        } else {
            dynamic || facts.verbs.contains(&verb.name()) || verb == Verb::Select
        };
        if !told {
            wrong.push(format!(
                "{sql}\n    not told: {entry:?} in {:?}",
                facts.effects
            ));
        }
    }
    let done = |verb: Verb| {
        entries
            .iter()
            .any(|entry| verb_of(&entry.command) == Some(verb))
    };
    let runs = !["CREATE", "EXPLAIN (COSTS", "MERGE", "ALTER DEFAULT"]
        .iter()
        .any(|word| sql.starts_with(word));
    for effect in &facts.effects {
        let certain = !effect.uncertain
            && matches!(
                effect.verb,
                Verb::Insert
                    | Verb::Update
                    | Verb::Delete
                    | Verb::Truncate
                    | Verb::Drop
                    | Verb::Grant
            );
        // pgaudit logs an upsert as the INSERT it is; the server asks for the right to update as well.
        let upsert = effect.verb == Verb::Update && done(Verb::Insert);
        if runs && certain && !upsert && !done(effect.verb) {
            wrong.push(format!("{sql}\n    did not happen: {effect:?} {entries:?}"));
        }
    }
}

/// The server refuses them here, or has nothing to report.
fn may_fail(sql: &str) -> bool {
    ["IMPORT FOREIGN", "SECURITY LABEL"]
        .iter()
        .any(|start| sql.starts_with(start))
}

#[test]
fn pgaudit_reports_what_the_facts_tell() {
    let audit = [
        ("shared_preload_libraries", "pgaudit"),
        ("pgaudit.log", "all"),
        ("pgaudit.log_relation", "on"),
        ("pgaudit.log_statement", "off"),
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
    ];
    let settings = audit.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut server = Server::start(&Options {
        settings: settings.to_vec(),
        ..Options::default()
    })
    .unwrap();
    server.admin(SCHEMA).unwrap();
    let cases: Vec<String> = READS
        .iter()
        .chain(WRITES)
        .flat_map(|statement| disguises(statement))
        .chain(COMMANDS.iter().map(|statement| (*statement).to_owned()))
        .collect();
    let mut client = Client::connect(&server.dsn(), NoTls).unwrap();
    for (case, sql) in cases.iter().enumerate() {
        let name = format!("SET application_name = 'case {case}'");
        client.batch_execute("BEGIN").unwrap();
        client.batch_execute(&name).unwrap();
        let _ = client.batch_execute(sql);
        client
            .batch_execute("ROLLBACK; DEALLOCATE ALL; RESET application_name")
            .unwrap();
    }
    drop(client);
    server.stop().unwrap();
    let log = fs::read_to_string(server.log_path()).unwrap();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let mut reported = 0;
    for (case, sql) in cases.iter().enumerate() {
        let (entries, errors) = audit_entries(&log, case);
        // COPY to the client is more than the driver does in a simple query, but by then the server has reported it.
        let failed = errors.iter().find(|error| !error.contains("COPY"));
        if let Some(error) = failed.filter(|_| !may_fail(sql)) {
            wrong.push(format!("{sql}\n    failed: {error}"));
        }
        reported += entries.len();
        seen.extend(entries.iter().map(|entry| entry.command.clone()));
        check_case(sql, &entries, &mut wrong);
    }
    println!(
        "{} texts, {reported} entries of pgaudit, {} commands",
        cases.len(),
        seen.len()
    );
    assert!(
        cases.len() >= 300 && reported >= cases.len(),
        "{} {reported}",
        cases.len()
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Of the table with ten rows and no NULL.
const CONDITIONS: &[&str] = &[
    "true",
    "1=1",
    "id = id",
    "a.id = id",
    "NOT false",
    "'a' = 'a'",
    "'t'",
    "1 < 2",
    "x IS NULL OR x IS NOT NULL",
    "1 IN (2, 1)",
    "1 NOT IN (2, 3)",
    "1 BETWEEN 0 AND 2",
    "name LIKE '%'",
    "'abc' LIKE 'a_c'",
    "name ~ '.*'",
    "coalesce(NULL, true)",
    "CASE WHEN 1 > 2 THEN false ELSE true END",
    "(id IS NULL) IS NOT NULL",
    "id + 1 = id + 1",
    "lower(name) = lower(name)",
    "ok OR NOT ok",
    "id > 5 OR id <= 5",
    "(1, 2) = (1, 2)",
    "E'\\x61' = 'a'",
    "'a' || 'b' = 'ab'",
    "7 / 2 = 3",
    "-7 % 3 = -1",
    "1 = ANY (ARRAY[1, 2])",
    "id = id OR random() < 0",
    "NULL IS NULL",
    "'1' = 1",
    "1.50 = 1.5",
    "1e2 = 100",
    "' yes '::boolean",
    "true > false",
    "'b' > 'a'",
    "NULL IS NOT DISTINCT FROM NULL",
    "id IS NOT DISTINCT FROM id",
    "1 IS DISTINCT FROM 2",
    "1 ISNULL OR 1 NOTNULL",
    "2 BETWEEN SYMMETRIC 3 AND 1 OR true",
    "'a' COLLATE \"C\" = 'a'",
    "U&'\\0061' = 'a'",
    "$$a$$ = 'a'",
    "'a'\n'b' = 'ab'",
    "1 OPERATOR(pg_catalog.=) 1",
    "NOT (id <> id)",
    "(id <> id) IS NOT TRUE",
    "false",
    "id = 1",
    "1 = 2",
    "NULL",
    "NULL = NULL",
    "id <> id",
    "id IN (1, 2)",
    "name LIKE 'n1%'",
    "'a' LIKE 'b%'",
    "id > 5 OR id < 5",
    "id BETWEEN 1 AND 5",
    "id + 1 = id + 2",
    "x = 1 AND true",
    "CASE WHEN id = 1 THEN true END",
    "coalesce(NULL, false)",
    "7 / 2 = 3.5",
    "NOT ok",
    "'f'",
    "EXISTS (SELECT 1 WHERE false)",
    "'A' = 'a'",
    "'a ' = 'a'",
    "1 IN (2, NULL)",
    "NULL IN (1)",
    "1 NOT IN (2, NULL)",
    "'a' IS NULL",
    "false IS NOT FALSE",
];

#[test]
fn conditions_said_to_be_true_for_every_row_are() {
    let server = Server::start(&Options::default()).unwrap();
    server.admin(SCHEMA).unwrap();
    let mut client = Client::connect(&server.dsn(), NoTls).unwrap();
    let mut told = 0;
    for condition in CONDITIONS {
        let sql = format!("DELETE FROM a WHERE {condition}");
        let mut transaction = client.transaction().unwrap();
        let deleted = transaction
            .execute(&sql, &[])
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        transaction.rollback().unwrap();
        let facts = facts(&sql, Dialect::Postgres, false);
        told += usize::from(facts.missing_where);
        assert_eq!(facts.missing_where, deleted == 10, "{sql}: {deleted} of 10");
    }
    println!(
        "{told} of {} conditions are true for every row",
        CONDITIONS.len()
    );
    assert!(
        facts("DELETE FROM a", Dialect::Postgres, false)
            .effects
            .iter()
            .all(|effect| {
                effect
                    .object
                    .as_ref()
                    .is_some_and(|object| object.kind == ObjectKind::Relation)
            })
    );
}
