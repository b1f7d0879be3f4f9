//! Utility statements and definitions.

use super::check_all;

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
            "1 ok create,delete,select t,u missing_where",
        ),
        (
            "CREATE SCHEMA s CREATE TABLE t (a int) GRANT SELECT ON t TO bob",
            "1 ok create,grant t",
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
