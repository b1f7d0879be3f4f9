"""asyncpg: runs one statement, tells how it failed, and whether the connection lives on."""

import asyncio
import sys

import asyncpg


async def main():
    conn = await asyncpg.connect(ssl=False)
    try:
        await conn.execute(sys.argv[1])
        print("no error")
    except asyncpg.PostgresError as error:
        print("error:", error.sqlstate, " ".join(str(error).split()))
    try:
        print("then:", await conn.fetchval("SELECT 'alive'"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        print("then: closed")


asyncio.run(main())
