// ioredis as an application uses it. Prints KILL when the server may be killed and restarted, and
// DONE at the end; any failure is an exception. Arguments: port.
"use strict";
const assert = require("node:assert");
const readline = require("node:readline");
const { Redis } = require("ioredis");

const port = Number(process.argv[2]);
const options = { port, retryStrategy: () => 50, maxRetriesPerRequest: null };

async function main() {
  const redis = new Redis(options);
  redis.on("error", () => {}); // reconnecting is what is tested
  await redis.flushall();
  assert.equal(await redis.set("io:a", "1"), "OK");
  assert.equal(await redis.incrby("io:a", 41), 42);
  await redis.hset("io:h", { x: "1", y: "2" });
  assert.deepEqual(await redis.hgetall("io:h"), { x: "1", y: "2" });
  await redis.rpush("io:l", "a", "b");
  assert.deepEqual(await redis.lrange("io:l", 0, -1), ["a", "b"]);
  assert.deepEqual((await redis.sadd("io:s", "m", "n")), 2);
  assert.equal((await redis.getBuffer("io:a")).toString(), "42");
  await assert.rejects(redis.lpush("io:a", "x"), /WRONGTYPE/);

  const pipeline = redis.pipeline();
  for (let n = 0; n < 1000; n += 1) pipeline.set(`io:p:${n}`, n);
  const answers = await pipeline.exec();
  assert.equal(answers.length, 1000);
  assert(answers.every(([error, reply]) => error === null && reply === "OK"));

  const done = await redis.multi().incr("io:t").incr("io:t").exec();
  assert.deepEqual(done, [[null, 1], [null, 2]]);
  const other = new Redis(options);
  other.on("error", () => {});
  await redis.watch("io:t");
  await other.set("io:t", "changed");
  assert.equal(await redis.multi().set("io:t", "lost").exec(), null);

  const hello = await other.call("HELLO", "2");
  assert(hello.includes("proto"));
  let seen = 0;
  const stream = redis.scanStream({ match: "io:p:*", count: 100 });
  for await (const keys of stream) seen += keys.length;
  assert(seen >= 1000);

  await redis.set("io:durable", "kept");
  console.log("KILL");
  await new Promise((resolve) => readline.createInterface({ input: process.stdin }).once("line", resolve));
  assert.equal(await redis.get("io:durable"), "kept");
  assert.equal(await other.get("io:p:999"), "999");
  console.log("DONE");
  redis.disconnect();
  other.disconnect();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
