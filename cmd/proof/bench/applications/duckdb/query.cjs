// Prints what DuckDB answers to a query, a line each row. Where the module is
// installed comes in NODE_PATH.
const { DuckDBInstance } = require('@duckdb/node-api');

async function main(query) {
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  for (const row of (await connection.runAndReadAll(query)).getRows()) {
    console.log(row.map(String).join('|'));
  }
}

main(process.argv[1]).catch((err) => {
  console.error(err.message);
  process.exitCode = 1;
});
