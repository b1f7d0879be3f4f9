"""psycopg 3: runs one statement, tells how it failed, and whether the connection lives on."""

import sys

import psycopg

with psycopg.connect("", autocommit=True) as conn:
    try:
        conn.execute(sys.argv[1])
        print("no error")
    except psycopg.Error as error:
        print("error:", error.sqlstate, " ".join(str(error).split()))
    try:
        print("then:", conn.execute("SELECT 'alive'").fetchone()[0])
    except psycopg.Error:
        print("then: closed")
