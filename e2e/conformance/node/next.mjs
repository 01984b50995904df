// Next instants of cron expressions by npm packages: a JSON request on each line of standard input,
// its answer on a line of standard output.
//
// {"peer":"croner-js","text":"0 7 * * *","zone":"Europe/Paris","at":[1800000000]}
// answers {"next":[1800003600]} (null where there is none) or {"error":"…"}. The peer `offsets`
// answers what the zone database of Node says, in seconds ahead of UTC.
import { createInterface } from "node:readline";
import { Cron } from "croner";
import { CronExpressionParser } from "cron-parser";

const seconds = (date) => Math.floor(date.getTime() / 1000);

// What a clock shows, minus UTC.
function offset(format, moment) {
  const parts = Object.fromEntries(
    format.formatToParts(new Date(moment * 1000)).map(({ type, value }) => [type, Number(value)]),
  );
  const { year, month, day, hour, minute, second } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000 - moment;
}

const peers = {
  offsets({ zone, at }) {
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
      hour: "numeric", minute: "numeric", second: "numeric",
    });
    return at.map((moment) => offset(format, moment));
  },
  "croner-js"({ text, zone, at }) {
    const cron = new Cron(text, { timezone: zone, paused: true });
    return at.map((moment) => {
      const next = cron.nextRun(new Date(moment * 1000));
      return next ? seconds(next) : null;
    });
  },
  "cron-parser"({ text, zone, at }) {
    CronExpressionParser.parse(text, { tz: zone });
    return at.map((moment) => {
      const options = { tz: zone, currentDate: new Date(moment * 1000) };
      try {
        return seconds(CronExpressionParser.parse(text, options).next().toDate());
      } catch {
        return null;
      }
    });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { next: peers[request.peer](request) };
  } catch (error) {
    answer = { error: String(error.message) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
