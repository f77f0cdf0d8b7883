// One call of mqtt.js over WebSocket, told by JSON on stdin; the answer is one line of JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const wanted = JSON.parse(readFileSync(0, "utf8"));
const { connectAsync } = createRequire(`${wanted.folder}/`)("mqtt");
const client = await connectAsync(wanted.url, {
  clientId: wanted.login,
  username: wanted.login,
  password: wanted.password,
  protocolVersion: 4,
  reconnectPeriod: 0,
});

const received = new Promise((resolve) => {
  const found = [];
  client.on("message", (topic, payload, packet) => {
    if (payload.length > 0) found.push([topic, payload.toString("hex"), packet.retain]);
    if (found.length === wanted.count) resolve(found);
  });
});

let answer = [];
if (wanted.call === "publish") {
  const payload = Buffer.from(wanted.payload, "hex");
  await client.publishAsync(wanted.topic, payload, { qos: 1, retain: true });
} else if (wanted.call === "receive") {
  await client.subscribeAsync(wanted.topic, { qos: 1 });
  answer = await received;
} else {
  try {
    await client.subscribeAsync(wanted.topic, { qos: 1 });
    answer = "granted";
  } catch {
    answer = "refused";
  }
}
console.log(JSON.stringify(answer));
await client.endAsync();
