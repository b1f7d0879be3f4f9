"""psycopg 3: simple, extended and prepared statements, text and binary parameters, pipelines, cursors, COPY."""

import datetime
import decimal
import sys
import uuid

import psycopg
from psycopg import sql


def table_work(conn, n):
    with conn.cursor() as cur:
        cur.execute(
            "INSERT INTO psycopg_t (n, name, data, at, price, tags, doc) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (n, "it's “%d” \N{CRAB}" % n, bytes(range(n % 256)), datetime.datetime(2026, 1, 1, 12, n % 60),
             decimal.Decimal("12.50") + n, ["a", None, 'q"uote'], psycopg.types.json.Jsonb({"n": n})),
        )
        cur.execute("SELECT name FROM psycopg_t WHERE n = %b AND name IS NOT NULL", (n,))
        assert cur.fetchone() is not None
        cur.execute("UPDATE psycopg_t SET name = %s WHERE n = %s", (None if n % 3 == 0 else "ünï\ncode\t", n))
        cur.execute("SELECT %s::int, %s::float8, %b::uuid, %s::bool", (None, 1.5, uuid.UUID(int=n), n % 2 == 0))


def errors(conn):
    for statement, params in [
        ("SELEKT 1", None),
        ("SELECT 1 / %s", (0,)),
        ("SELECT * FROM psycopg_no_such_table", None),
        ("SELECT %s::int", ("no number",)),
        ("INSERT INTO psycopg_t (n, price) VALUES (%s, %s)", (1, "x" * 20)),
    ]:
        try:
            conn.execute(statement, params)
        except psycopg.Error:
            continue
        raise AssertionError(f"no error from {statement}")


def transactions(conn, n):
    with conn.transaction():
        conn.execute("UPDATE psycopg_t SET price = price + 1 WHERE n = %s", (n,))
    try:
        with conn.transaction():
            conn.execute("DELETE FROM psycopg_t WHERE n = %s", (n,))
            with conn.transaction():
                conn.execute("SELECT 1 / 0")
    except psycopg.errors.DivisionByZero:
        pass


def copies_and_cursors(conn, n):
    with conn.cursor() as cur:
        with cur.copy("COPY psycopg_t (n, name) FROM STDIN") as copy:
            for i in range(20):
                copy.write_row((100000 + n, f"copied {i}\t\\"))
        with cur.copy("COPY (SELECT n, name FROM psycopg_t WHERE n >= 100000) TO STDOUT (FORMAT BINARY)") as copy:
            for _ in copy:
                pass
        cur.execute("DELETE FROM psycopg_t WHERE n >= 100000")
    with conn.transaction(), conn.cursor("cursor %d" % n) as cur:
        cur.itersize = 7
        cur.execute("SELECT g FROM generate_series(1, %s) AS g", (25,))
        assert sum(1 for _ in cur) == 25
    with conn.transaction(), conn.cursor("scrolls", scrollable=True) as cur:
        cur.execute("SELECT g FROM generate_series(1, 9) AS g")
        cur.scroll(5)
        assert cur.fetchone() == (6,)


def pipelines(conn, n):
    with conn.pipeline() as pipeline:
        cursors = [conn.execute("SELECT %s::int + 1", (i,)) for i in range(10)]
        conn.execute("INSERT INTO psycopg_t (n, name) VALUES (%s, %s)", (n + 50000, "pipelined"))
        pipeline.sync()
        assert [cur.fetchone()[0] for cur in cursors] == list(range(1, 11))
    with conn.pipeline() as pipeline:
        try:
            conn.execute("SELECT 1")
            conn.execute("SELECT 1 / %s", (0,))
            conn.execute("SELECT 'skipped until sync'")
            pipeline.sync()
        except psycopg.errors.DivisionByZero:
            # It may have come back before the sync was sent.
            try:
                pipeline.sync()
            except psycopg.errors.PipelineAborted:
                pass
        conn.execute("SELECT 'after sync'")


def big_and_many(conn, n):
    conn.execute("SELECT length(%s)", ("big " * (20000 + n),))
    conn.execute(sql.SQL("SELECT {}").format(sql.Literal("literal " * 10000)))
    with conn.cursor() as cur:
        cur.executemany("INSERT INTO psycopg_t (n, name) VALUES (%s, %s)", [(n + 70000, str(i)) for i in range(10)])
    conn.execute("SELECT 1; SELECT 'two; not three'; ; SELECT 2 -- end", prepare=False)
    psycopg.ClientCursor(conn).execute("SELECT %s, %s", ("client-side's", n))


def main(statements):
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS psycopg_t")
        conn.execute(
            "CREATE TABLE psycopg_t (n int, name text, data bytea, at timestamptz, price numeric, tags text[], doc jsonb)"
        )
        for n in range(max(1, statements // 60)):
            conn.prepare_threshold = [0, 5, None][n % 3]
            for k in range(3):
                table_work(conn, n * 3 + k)
            errors(conn)
            transactions(conn, n)
            copies_and_cursors(conn, n)
            pipelines(conn, n)
            big_and_many(conn, n)
        conn.execute("DROP TABLE psycopg_t")


main(int(sys.argv[1]))
