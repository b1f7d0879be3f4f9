"""asyncpg: everything prepared, binary formats throughout, executemany, cursors, COPY."""

import asyncio
import datetime
import decimal
import os
import sys
import uuid

import asyncpg


async def values(conn, n):
    await conn.fetch(
        "SELECT $1::int2, $2::int4, $3::int8, $4::float4, $5::float8, $6::numeric, $7::bool, $8::text, $9::bytea",
        n % 30000, -n, n * 10**9, 0.5, -1.25, decimal.Decimal("-0.0012"), None, "Grüße \N{CRAB} 'q'", b"\x00\xff",
    )
    await conn.fetch(
        "SELECT $1::uuid, $2::date, $3::timestamptz, $4::timestamp, $5::interval, $6::int[], $7::text[], $8::jsonb",
        uuid.UUID(int=n), datetime.date(2026, 2, 28), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        datetime.datetime(1999, 12, 31, 23, 59, 59, 5), datetime.timedelta(days=1, seconds=2, microseconds=3),
        [1, None, 3], ["a", None, 'b"c'], '{"n": 1}',
    )


async def errors(conn):
    for statement, params in [
        ("SELEKT 1", ()),
        ("SELECT 1 / $1::int", (0,)),
        ("SELECT * FROM asyncpg_no_such_table", ()),
    ]:
        try:
            await conn.fetch(statement, *params)
        except asyncpg.PostgresError:
            continue
        raise AssertionError(f"no error from {statement}")


async def cursors_and_copies(conn, n):
    async with conn.transaction():
        rows = 0
        async for _ in conn.cursor("SELECT g FROM generate_series(1, $1::int) AS g", 23, prefetch=5):
            rows += 1
        assert rows == 23
        cursor = await conn.cursor("SELECT g FROM generate_series(1, 30) AS g")
        await cursor.fetch(4)
        await cursor.forward(5)
        assert (await cursor.fetchrow())[0] == 10
    records = [(n, f"copied {i}") for i in range(15)]
    await conn.copy_records_to_table("asyncpg_t", records=records, columns=["n", "name"])
    with open(os.devnull, "wb") as sink:
        await conn.copy_from_query("SELECT * FROM asyncpg_t WHERE n = $1", n, output=sink, format="csv")


async def main(statements):
    # asyncpg takes a PGHOST with colons for a list of ports.
    conn = await asyncpg.connect(
        host=os.environ["PGHOST"],
        port=int(os.environ["PGPORT"]),
        server_settings={"application_name": os.environ.get("PGAPPNAME", "asyncpg")},
    )
    await conn.execute("DROP TABLE IF EXISTS asyncpg_t; CREATE TABLE asyncpg_t (n int, name text)")
    for n in range(max(1, statements // 40)):
        await values(conn, n)
        await conn.executemany("INSERT INTO asyncpg_t VALUES ($1, $2)", [(n, f"many {i}") for i in range(10)])
        prepared = await conn.prepare("SELECT count(*) FROM asyncpg_t WHERE n = $1")
        for _ in range(5):
            assert await prepared.fetchval(n) == 10
        async with conn.transaction():
            await conn.execute("UPDATE asyncpg_t SET name = $2 WHERE n = $1", n, "x" * (1000 * (n % 90)))
        await errors(conn)
        try:
            async with conn.transaction():
                await conn.execute("DELETE FROM asyncpg_t")
                await conn.execute("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError:
            pass
        await cursors_and_copies(conn, n)
        await conn.execute("SELECT 1; SELECT 'simple, several'; SELECT 3")
    await conn.execute("DROP TABLE asyncpg_t")
    await conn.close()


asyncio.run(main(int(sys.argv[1])))
