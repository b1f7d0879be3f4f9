//! Code: what can be read in the bodies of DO, functions, rules and views, and what cannot.

use super::*;

#[test]
fn statements_in_code_are_read_as_statements() {
    check_effects(&[
        (
            "DO $$ BEGIN DELETE FROM t WHERE true; END $$",
            "do, delete t!",
        ),
        (
            "DO $$ DECLARE n int := (SELECT count(*) FROM a); BEGIN SELECT x INTO n FROM b, c WHERE d; END $$",
            "do, call count, select a, select b, select c",
        ),
        (
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM a) THEN PERFORM f(x) FROM b; ELSIF g() THEN DROP TABLE c; ELSE NULL; END IF; END $$",
            "do, select a, call f, select b, call g, drop c",
        ),
        (
            "DO $$ <<l>> BEGIN FOR r IN SELECT * FROM a LOOP UPDATE b SET x = CASE WHEN y THEN 1 END WHERE z; END LOOP; END $$",
            "do, select a, update b",
        ),
        (
            "DO $$ BEGIN FOR i IN REVERSE 1..f(2) LOOP x.y[1] := (SELECT 1 FROM a); n = g(1); END LOOP; END $$",
            "do, call f, select a, call g",
        ),
        (
            "DO $$ BEGIN TRUNCATE a; EXCEPTION WHEN others THEN DELETE FROM b RETURNING c INTO STRICT d; END $$",
            "do, truncate a, delete b!",
        ),
        (
            "DO $$ BEGIN WHILE f() LOOP CALL p(1); END LOOP; RAISE NOTICE '%', g(1); END $$",
            "do, call f, call p, call g?",
        ),
        (
            "DO $$ BEGIN INSERT INTO t VALUES (1) RETURNING a INTO b; END $$",
            "do, insert t",
        ),
        ("DO 'BEGIN DELETE FROM t; END'", "do, delete t!"),
        (r"DO E'BEGIN DR\117P TABLE x; END'", "do, drop x"),
        (
            "DO LANGUAGE plpgsql $x$ BEGIN DO $$ BEGIN DROP TABLE t; END $$; END $x$",
            "do, drop t",
        ),
        ("DO $$ BEGIN SELECT 'DROP TABLE x'; END $$", "do, select"),
        ("DO $$ BEGIN NULL; -- DROP TABLE x\nEND $$", "do"),
        (
            "DO $$ BEGIN OPEN c FOR SELECT * FROM a; RETURN QUERY DELETE FROM b RETURNING *; END $$",
            "do, select a, delete b!",
        ),
    ]);
}

#[test]
fn text_made_at_run_time_may_be_anything() {
    check_effects(&[
        ("DO $$ BEGIN EXECUTE 'DROP TABLE x'; END $$", "do, drop x"),
        (
            "DO $$ BEGIN EXECUTE ('DROP TABLE x') USING 1; END $$",
            "do, drop x",
        ),
        (
            "DO $$ BEGIN EXECUTE E'DR\\x4fP TABLE x' INTO y; END $$",
            "do, drop x",
        ),
        (
            "DO $$ BEGIN EXECUTE $q$DELETE FROM t WHERE id = $1$q$ USING 1; END $$",
            "do, delete t",
        ),
        (
            "DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE x'; END $$",
            "do, unknown?~",
        ),
        (
            "DO $$ BEGIN EXECUTE format('DROP TABLE %I', x); END $$",
            "do, unknown?~",
        ),
        (
            "DO $$ BEGIN RETURN QUERY EXECUTE q; END $$",
            "do, unknown?~",
        ),
        (
            "DO $$ BEGIN FOR r IN EXECUTE q LOOP NULL; END LOOP; END $$",
            "do, unknown?~",
        ),
        (
            "DO $$ BEGIN OPEN c FOR EXECUTE q USING 1; END $$",
            "do, unknown?~",
        ),
        (
            "DO $$ BEGIN IF x THEN EXECUTE q; END IF; END $$",
            "do, unknown?~",
        ),
        (
            "DO LANGUAGE plpython3u $$ plpy.execute('DROP TABLE x') $$",
            "do, unknown?~",
        ),
        (
            "SELECT query_to_xml('DELETE FROM t', true, false, '')",
            "call query_to_xml, unknown?~, select",
        ),
        (
            "SELECT * FROM public.dblink('', 'DROP TABLE x') AS t(a int)",
            "call public.dblink, unknown?~, select",
        ),
        (
            "SELECT * FROM dblink('', 'DROP TABLE x') AS (a int)",
            "call dblink, unknown?~, select",
        ),
        (
            "ALTER TABLE t ALTER a TYPE text USING dblink_exec('DROP TABLE x')",
            "alter t, call dblink_exec, unknown?~",
        ),
        (
            "CREATE INDEX ON t (dblink_exec(a))",
            "create t, call dblink_exec, unknown?~",
        ),
        // A statement that cannot be read is another thing.
        ("garbage", "unknown?"),
        (
            "SELECT dblink('', 'x') )",
            "unknown?, select?, call dblink?, unknown?~",
        ),
    ]);
}

#[test]
fn definitions_carry_what_their_bodies_do() {
    check_effects(&[
        (
            "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1 FROM u'",
            "create f, delete t!, select u",
        ),
        (
            "CREATE OR REPLACE FUNCTION s.f() RETURNS trigger AS $$ BEGIN INSERT INTO log SELECT NEW.*; RETURN NEW; END $$ LANGUAGE 'plpgsql'",
            "create s.f, insert log, select",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'drop', 'table'",
            "create f",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE plperl AS 'spi_exec_query(1)'",
            "create f, unknown?~",
        ),
        (
            "CREATE FUNCTION f(a int) RETURNS int RETURN g(a) + (SELECT 1 FROM t)",
            "create f, call g, select t",
        ),
        (
            "CREATE PROCEDURE p() BEGIN ATOMIC UPDATE a SET b = CASE WHEN c THEN 1 END; INSERT INTO d VALUES (1); END",
            "create p, update a!, insert d",
        ),
        (
            "CREATE FUNCTION atomic() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP TABLE t",
            "create atomic, select, drop t",
        ),
        (
            "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING",
            "create t, create r",
        ),
        (
            "CREATE RULE r AS ON UPDATE TO t WHERE f(old.a) DO ALSO (INSERT INTO u VALUES (1); NOTIFY n)",
            "create t, create r, call f, insert u, notify n",
        ),
        (
            "CREATE POLICY p ON t USING (EXISTS (SELECT 1 FROM u WHERE g(u.x)))",
            "create t, create p, select u, call g",
        ),
        (
            "CREATE TRIGGER g AFTER UPDATE ON t FOR EACH ROW WHEN (f(NEW.a) > 0) EXECUTE PROCEDURE s.h('x')",
            "create t, create g, call f, call s.h",
        ),
        (
            "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()",
            "create e, call f",
        ),
        (
            "CREATE SCHEMA s CREATE TABLE t (a int) GRANT SELECT, CREATE ON t TO bob CREATE VIEW v AS SELECT * FROM t",
            "create s, create t, grant t, create v, select t",
        ),
        (
            "CREATE STATISTICS s (ndistinct) ON a, b FROM t",
            "create s, create t",
        ),
        (
            "CREATE PUBLICATION p FOR TABLE a, b; ALTER PUBLICATION p ADD TABLE c",
            "create p, create a, create b, alter p, alter c",
        ),
        ("CREATE TABLE t AS EXECUTE p(1)", "create t, execute p"),
        (
            "CREATE TABLE t (a int CHECK (f(a)) NO INHERIT, b int GENERATED ALWAYS AS (g(a)) STORED)",
            "create t, call f, call g",
        ),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s, u GRANT SELECT ON TABLES TO b",
            "alter s, grant s, alter u, grant u",
        ),
    ]);
}

#[test]
fn flags_are_on_the_effect_they_belong_to() {
    check_effects(&[
        (
            "DELETE FROM a; DELETE FROM b WHERE id = 1",
            "delete a!, delete b",
        ),
        (
            "WITH x AS (UPDATE a SET b = 1 RETURNING *) DELETE FROM c USING x WHERE c.id = x.id",
            "delete c, update a!",
        ),
        (
            "MERGE INTO t USING u ON 1 = 1 WHEN MATCHED THEN DELETE",
            "merge t!, select u",
        ),
        (
            "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
            "merge t, select u",
        ),
        (
            "COPY a TO '/x'; COPY b FROM STDIN",
            "copy_to a@, copy_from b",
        ),
        (
            "COPY (SELECT * FROM a) TO PROGRAM 'x'",
            "copy_to@, select a",
        ),
        (
            "SELECT pg_read_file('x'), now()",
            "call pg_read_file@, call now, select",
        ),
        (
            "SELECT lo_import('/etc/passwd'), lo_unlink(1)",
            "call lo_import@, call lo_unlink, select",
        ),
        ("SELECT * FROM pg_ls_dir('.')", "call pg_ls_dir@, select"),
        (
            "DELETE FROM a; DELETE FROM b WHERE ) x",
            "delete a!, unknown?, delete b?, unknown b?",
        ),
        (
            "EXPLAIN (\"analyze\") DELETE FROM t",
            "explain t, delete t!",
        ),
        (
            "EXPLAIN (ANALYZE 'off', ANALYZE) DELETE FROM t",
            "explain t, delete t!",
        ),
        ("EXPLAIN (ANALYZE, ANALYZE 0) DELETE FROM t", "explain t"),
        ("EXPLAIN (ANALYZE OFF) DELETE FROM t", "explain t"),
        ("EXPLAIN (ANALYZE E'fals\\145') DELETE FROM t", "explain t"),
        (
            "EXPLAIN (ANALYZE maybe) DELETE FROM t",
            "explain t, delete t!",
        ),
        ("EXPLAIN ANALYZE EXECUTE p", "execute p, explain"),
        (
            "CLUSTER i ON t; CLUSTER (VERBOSE) u USING i",
            "cluster t, cluster u",
        ),
    ]);
}
