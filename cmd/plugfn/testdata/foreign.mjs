// What an application in Node does with PlugFn, with nothing of PlugFn's: it asks
// for an action and reads its result, and consumes events durably across two runs.
import { connect, headers } from "@nats-io/transport-node";
import { jetstream, jetstreamManager, AckPolicy } from "@nats-io/jetstream";
import { HTTP } from "cloudevents";
import assert from "node:assert/strict";

const [url, phase] = process.argv.slice(2);
const nc = await connect({ servers: url });
const js = jetstream(nc);
const jsm = await jetstreamManager(nc);

if (phase === "act") {
  const h = headers();
  h.set("Plugfn-Id", "from-node-1");
  const ack = await js.publish("plugfn.action.demo.slack.chat.postMessage", JSON.stringify({ channel: "#demo", text: "from Node" }), { headers: h });
  assert.equal(ack.stream, "PLUGFN_ACTIONS");
  await jsm.consumers.add("PLUGFN_RESULTS", { durable_name: "node-results", filter_subject: "plugfn.result.demo.slack.*.from-node-1", ack_policy: AckPolicy.Explicit });
  const results = await js.consumers.get("PLUGFN_RESULTS", "node-results");
  const m = await results.next({ expires: 15000 });
  assert.ok(m, "no result came");
  const result = m.json();
  m.ack();
  assert.equal(result.id, "from-node-1");
  assert.equal(result.outcome, "succeeded");
  assert.equal(result.attempts, 1);
  await jsm.consumers.add("PLUGFN_EVENTS", { durable_name: "node-events", filter_subject: "plugfn.event.*.github.issues.opened", ack_policy: AckPolicy.Explicit, ack_wait: 60e9 });
  console.log("acted");
} else {
  const events = await js.consumers.get("PLUGFN_EVENTS", "node-events");
  const m = await events.next({ expires: 15000 });
  assert.ok(m, "no event came");
  const all = {};
  for (const name of m.headers.keys()) all[name.toLowerCase()] = m.headers.get(name);
  all["content-type"] ??= "application/json";
  const event = HTTP.toEvent({ headers: all, body: m.string() });
  assert.equal(event.validate(), true);
  assert.equal(event.specversion, "1.0");
  assert.equal(event.type, "com.github.issues.opened");
  assert.equal(event.provider, "github");
  assert.equal(event.data.action, "opened");
  assert.ok(await m.ackAck(), "the acknowledgement was not taken");
  console.log("heard " + event.id);
}
await nc.drain();
