// node-postgres: runs one statement, tells how it failed, and whether the connection lives on.
const { Client } = require("pg");

async function main() {
  const client = new Client();
  // A connection that ends is told by an event as well.
  client.on("error", () => {});
  await client.connect();
  try {
    await client.query(process.argv[2]);
    console.log("no error");
  } catch (error) {
    console.log("error:", error.code, error.message.split(/\s+/).join(" "));
  }
  try {
    const result = await client.query("SELECT 'alive' AS state");
    console.log("then:", result.rows[0].state);
    await client.end();
  } catch {
    console.log("then: closed");
  }
}

main();
