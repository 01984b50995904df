// ioredis with a cluster of three shards. Prints KILL when the server may be killed and restarted, and
// DONE at the end; any failure is an exception. Arguments: port.
"use strict";
const assert = require("node:assert");
const readline = require("node:readline");
const { Cluster } = require("ioredis");

const port = Number(process.argv[2]);

async function main() {
  const cluster = new Cluster([{ host: "127.0.0.1", port }], { clusterRetryStrategy: () => 100 });
  cluster.on("error", () => {}); // reconnecting is what is tested
  await new Promise((resolve) => cluster.once("ready", resolve));
  assert.equal(cluster.nodes("master").length, 3);
  await Promise.all(cluster.nodes("master").map((node) => node.flushall()));
  for (let n = 0; n < 300; n += 1) assert.equal(await cluster.set(`io:${n}`, n), "OK");
  const sizes = await Promise.all(cluster.nodes("master").map((node) => node.dbsize()));
  assert.equal(sizes.reduce((sum, size) => sum + size, 0), 300);
  assert(sizes.every((size) => size > 0), "each shard has some");
  const done = await cluster.multi().incr("{io}:t").incr("{io}:t").exec();
  assert.deepEqual(done, [[null, 1], [null, 2]]);
  await assert.rejects(cluster.mget("io:1", "io:2"), /CROSSSLOT/);
  console.log("KILL");
  await new Promise((resolve) => readline.createInterface({ input: process.stdin }).once("line", resolve));
  for (let n = 0; n < 300; n += 1) assert.equal(await cluster.get(`io:${n}`), String(n));
  console.log("DONE");
  cluster.disconnect();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
