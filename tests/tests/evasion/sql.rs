//! Spellings.

use dbgov_tests::Result;
use dbgov_tests::postgres::Options;

use crate::stand::{Case, Stand};

const DROPS: &[&str] = &[
    "drop table {t}",
    "DROP TABLE {t};",
    "dRoP tAbLe {t}",
    "drop\ttable\t{t}",
    "drop\x0ctable\x0c{t}",
    "drop\ntable\r\n{t}",
    "\n\t ; ;drop table {t}",
    "drop/**/table/**/{t}",
    "drop/* /* nested */ */table /* ' */ {t}",
    "drop -- comment\ntable -- '\n{t}",
    "/* leading */ drop table {t}",
    "-- leading\ndrop table {t}",
    "-- leading\rdrop table {t}",
    "/* a /* b */ ' */ drop table {t}",
    "drop table if exists public.{t} cascade",
    "drop table\"{t}\"",
    "drop table U&\"\\0076{n}\"",
    "drop table U&\"!0076{n}\" UESCAPE '!'",
    "SELECT 1; DROP TABLE {t}",
    "SELECT 1;;; ;drop table {t};;",
    "SELECT ';'; DROP TABLE {t}; SELECT ';'",
    "SELECT $$ ; $$; DROP TABLE {t}",
    "SELECT $a$ $$ $b$ $a$; DROP TABLE {t}; SELECT $b$ $b$",
    "SELECT 1$a$; DROP TABLE {t}; SELECT '$a$'",
    "SELECT E'\\''; DROP TABLE {t}; --'",
    "SELECT E'a\\\\'; DROP TABLE {t}; --'",
    "SELECT '\\'; DROP TABLE {t}; --'",
    "SELECT 'a'\n'b'; DROP TABLE {t}",
    "SELECT \"a\"\"\" FROM (SELECT 1 AS \"a\"\"\") x; DROP TABLE {t}",
    "SELECT U&'\\0027'; DROP TABLE {t}; --'",
    "BEGIN; DROP TABLE {t}; COMMIT",
    "TRUNCATE {t}",
    "truncate table only {t} restart identity",
    "TRUNCATE public.{t}, after_it",
    "DROP SCHEMA public CASCADE",
    "DROP OWNED BY postgres",
    "ALTER TABLE {t} DROP COLUMN id; DROP TABLE {t}",
    "CREATE TABLE x_{t} (); DROP TABLE {t}, x_{t}",
    "DO $$ BEGIN DROP TABLE {t}; END $$",
    "DO 'BEGIN DROP TABLE {t}; END'",
    "DO LANGUAGE plpgsql $q$ BEGIN EXECUTE 'dr' || 'op table {t}'; END $q$",
    "DO $$ BEGIN EXECUTE format('%s table %I', 'drop', '{t}'); END $$",
    "DO $$ BEGIN EXECUTE convert_from('\\x64726f70207461626c65207630', 'utf8'); END $$",
    "do/**/$_$begin execute chr(100)||'rop table {t}';end$_$",
    "DO E'BEGIN \\x44ROP TABLE {t}; END'",
    "DO U&'BEGIN \\0044ROP TABLE {t}; END'",
    "DO 'BEGIN DR'\n'OP TABLE {t}; END'",
    "PREPARE p AS DELETE FROM {t}; EXECUTE p",
    "CREATE FUNCTION f_{t}() RETURNS void LANGUAGE sql AS 'DROP TABLE {t}'; SELECT f_{t}()",
    "CREATE FUNCTION f_{t}() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'dro'||'p table {t}';END$$; SELECT f_{t}()",
    "CREATE PROCEDURE f_{t}() BEGIN ATOMIC DELETE FROM {t}; END; CALL f_{t}()",
    "CREATE RULE r AS ON INSERT TO after_it DO ALSO DELETE FROM {t}; INSERT INTO after_it VALUES (1)",
    "SELECT query_to_xml('drop table {t}', true, true, '')",
    "SELECT query_to_xml('dr' || 'op table {t}', true, true, '')",
    "SELECT pg_catalog.\"query_to_xml\"('drop table {t}', true, true, '')",
    "SELECT U&\"query\\005fto_xml\"('drop table {t}', true, true, '')",
    "CREATE SCHEMA s_{t} CREATE TABLE x () ; DROP TABLE {t}",
    "COPY (SELECT 1) TO STDOUT; DROP TABLE {t}",
    "drop table {t}\x0b",
];

/// Every row.
const WRITES: &[&str] = &[
    "DELETE FROM {t}",
    "delete from only {t}",
    "DELETE FROM {t} *",
    "DELETE FROM {t} -- WHERE id = 1",
    "DELETE FROM {t} /* WHERE id = 1 */",
    "DELETE FROM {t} WHERE true",
    "DELETE FROM {t} WHERE 1=1",
    "DELETE FROM {t} WHERE 1 = 1 OR id = 5",
    "DELETE FROM {t} WHERE id = id",
    "DELETE FROM {t} WHERE {t}.id = {t}.id",
    "DELETE FROM {t} WHERE NOT false",
    "DELETE FROM {t} WHERE ((('a' = 'a')))",
    "DELETE FROM {t} WHERE 'abc' LIKE '%'",
    "DELETE FROM {t} WHERE 1 < 2 AND 2 > 1",
    "DELETE FROM {t} WHERE NULL IS NULL",
    "DELETE FROM {t} WHERE 1 IN (2, 1)",
    "DELETE FROM {t} WHERE 1 BETWEEN 0 AND 2",
    "DELETE FROM {t} WHERE true IS TRUE",
    "DELETE FROM {t} WHERE id IS NOT DISTINCT FROM id",
    "DELETE FROM {t} WHERE 't'",
    "DELETE FROM {t} WHERE 't'::bool",
    "DELETE FROM {t} WHERE CAST(1 AS bool)",
    "DELETE FROM {t} WHERE 1 <> 2",
    "DELETE FROM {t} USING after_it",
    "WITH x AS (DELETE FROM {t} RETURNING *) SELECT count(*) FROM x",
    "WITH a AS (SELECT 1), b AS (DELETE FROM {t}) SELECT * FROM a",
    "WITH RECURSIVE x AS (SELECT 1), y AS (UPDATE {t} SET id = 0 RETURNING id) TABLE y",
    "SELECT 1; DELETE FROM {t}",
    "EXPLAIN ANALYZE DELETE FROM {t}",
    "EXPLAIN ANALYSE VERBOSE DELETE FROM {t}",
    "EXPLAIN (ANALYZE) DELETE FROM {t}",
    "EXPLAIN (COSTS off, ANALYZE on, TIMING off) DELETE FROM {t}",
    "EXPLAIN (\"analyze\" 'true') DELETE FROM {t}",
    "EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM {t}",
    "MERGE INTO {t} USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    "UPDATE {t} SET id = 7; DELETE FROM {t}",
    "PREPARE p AS DELETE FROM {t}",
    "PREPARE p (int) AS UPDATE {t} SET id = $1",
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; DELETE FROM {t}; COMMIT",
    "BEGIN; SAVEPOINT a; DELETE FROM {t}; RELEASE a; COMMIT",
    "COPY (DELETE FROM {t} RETURNING *) TO STDOUT",
    "CREATE TABLE x_{t} AS WITH d AS (DELETE FROM {t} RETURNING *) SELECT * FROM d",
    "INSERT INTO after_it WITH d AS (DELETE FROM {t} RETURNING *) SELECT * FROM d",
    "SELECT * FROM {t} WHERE id = 1; DELETE FROM\n{t}",
];

const READS: &[&str] = &[
    "SELECT * FROM payroll.salaries",
    "SELECT * FROM \"payroll\" . /* */ \"salaries\"",
    "SELECT * FROM U&\"\\0070ayroll\".U&\"s\\0061laries\"",
    "SELECT * FROM PAYROLL.SaLaRiEs",
    "TABLE payroll.salaries",
    "COPY payroll.salaries TO STDOUT",
    "COPY (TABLE payroll.salaries) TO STDOUT",
    "SELECT (SELECT max(pay) FROM payroll.salaries)",
    "WITH x AS (SELECT * FROM payroll.salaries) SELECT * FROM x",
    "CREATE VIEW w_{t} AS SELECT * FROM payroll.salaries",
    "SELECT 1 UNION ALL SELECT pay FROM payroll.salaries",
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM payroll.salaries; FETCH ALL FROM c",
    "SET search_path = payroll; SELECT * FROM salaries",
    "SELECT * FROM {t} JOIN payroll.salaries ON true",
    "SELECT query_to_xml('select * from payroll.salaries', true, true, '')",
    "SELECT query_to_xml('select * from pay' || 'roll.salaries', true, true, '')",
    "SELECT table_to_xml('payroll.salaries', true, true, '')",
    "SELECT schema_to_xml('payroll', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT ts_stat('select to_tsvector(pay::text) from payroll.salaries')",
    "SELECT * FROM payroll.salaries TABLESAMPLE SYSTEM (100)",
    "ALTER TABLE payroll.salaries RENAME TO harmless",
    "CREATE TABLE x_{t} () INHERITS (payroll.salaries)",
    "CREATE TABLE x_{t} (LIKE payroll.salaries)",
    "LOCK payroll.salaries",
    "EXPLAIN ANALYZE TABLE payroll.salaries",
];

const PROGRAMS: &[&str] = &[
    "COPY {t} TO PROGRAM 'cat > /dev/null'",
    "copy {t} to/**/program $$true$$",
    "COPY (SELECT 1) TO '/tmp/dbgov-evasion'",
    "COPY after_it FROM '/dev/null'",
    "COPY after_it FROM PROGRAM 'echo 1'",
    "SELECT lo_import('/etc/hostname')",
    "SELECT pg_read_file('/etc/hostname')",
];

const CALLS: &[&str] = &[
    "SELECT wipe_{t}()",
    "SELECT public.\"wipe_{t}\"()",
    "SELECT * FROM wipe_{t}()",
    "SELECT U&\"wip\\0065_{t}\"()",
    "SELECT 1 WHERE wipe_{t}() IS NULL",
    "INSERT INTO after_it VALUES (1) RETURNING WIPE_{t}()",
    "VALUES (wipe_{t} /* */ ())",
];

fn cases() -> Vec<Case> {
    let all = |rule, list: &[&str]| -> Vec<Case> {
        list.iter().map(|text| Case::query(rule, *text)).collect()
    };
    let made = "CREATE FUNCTION wipe_{t}() RETURNS void LANGUAGE sql AS 'DELETE FROM {t}'";
    [
        all("", DROPS),
        all("", WRITES),
        all("", READS),
        all("no-programs", PROGRAMS),
        all("no-wipe", CALLS)
            .into_iter()
            .map(|case| case.made(made))
            .collect(),
    ]
    .concat()
}

#[test]
fn whatever_the_spelling() -> Result<()> {
    let mut cases = cases();
    let some: Vec<Case> = cases.iter().step_by(7).map(Case::bytewise).collect();
    let extended: Vec<Case> = cases
        .iter()
        .filter(|case| !case.name.contains(';'))
        .map(Case::extended)
        .collect();
    cases.extend(extended);
    cases.extend(some);
    let mut stand = Stand::start(&Options::default(), cases.len())?;
    stand.try_all(&cases)?;
    stand.judge(&cases)
}
