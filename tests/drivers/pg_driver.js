// node-postgres: simple and parameterised queries, named prepared statements, errors, transactions, big texts.
const { Client } = require("pg");

async function fails(client, text, values) {
  try {
    await client.query(text, values);
  } catch {
    return;
  }
  throw new Error(`no error from ${text}`);
}

async function round(client, n) {
  for (let k = 0; k < 4; k++) {
    await client.query("INSERT INTO node_t (n, name, data, at, tags, doc) VALUES ($1, $2, $3, $4, $5, $6)", [
      n, `it's “${n}” 🦀`, Buffer.from([0, 1, 254, 255]), new Date(Date.UTC(2026, 0, 1)), ["a", null, 'b"c'], { n },
    ]);
  }
  for (let k = 0; k < 5; k++) {
    await client.query({ name: "by-n", text: "SELECT name FROM node_t WHERE n = $1 AND $2::text IS NULL", values: [n, null] });
  }
  await client.query({ name: "rows", text: "SELECT g FROM generate_series(1, $1) AS g", values: [20], rowMode: "array" });
  await client.query({ text: "SELECT $1::int8, $2::float8, $3::bool", values: [n, 1.5, true], binary: true });
  await fails(client, "SELEKT 1");
  await fails(client, "SELECT 1 / $1::int", [0]);
  await fails(client, "SELECT * FROM node_no_such_table");
  await client.query("BEGIN");
  await client.query("DELETE FROM node_t WHERE n = $1", [n]);
  await fails(client, "SELECT 1 / 0");
  await fails(client, "SELECT 'in a failed transaction'");
  await client.query("ROLLBACK");
  await client.query("SELECT 1; SELECT 'two; not three'; UPDATE node_t SET name = NULL WHERE n = " + n);
  await client.query("SELECT length($1)", ["groß ".repeat(10000 + n)]);
  await client.query("/* comment */ SELECT '" + "literal ".repeat(5000) + "' -- tail");
  await client.query("");
}

async function main(statements) {
  const client = new Client();
  await client.connect();
  await client.query("DROP TABLE IF EXISTS node_t");
  await client.query("CREATE TABLE node_t (n int, name text, data bytea, at timestamptz, tags text[], doc jsonb)");
  for (let n = 0; n < Math.max(1, statements / 20); n++) {
    await round(client, n);
  }
  await client.query("DROP TABLE node_t");
  await client.end();
}

main(Number(process.argv[2])).catch((error) => {
  console.error(error);
  process.exit(1);
});
