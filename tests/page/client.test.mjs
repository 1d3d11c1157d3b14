// The client in Node: how it comes back to a gateway that was lost. Run by test_pure.py, or by `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PalaverClient } from "../../producer/palaver/producer/gateway/page/static/client.js";
import { Conversation } from "../../producer/palaver/producer/gateway/page/static/conversation.js";

const HELLO = "retry: 1000\n: follow\n\n";
const told = (seq, type = "text_chunk") =>
  `id: ${seq}\ndata: ${JSON.stringify({ seq, type, job_id: "j1", time: 0, data: { delta: "w" } })}\n\n`;

/** A gateway that answers each request with the next text, and then ends it, unless it ends with an ellipsis. */
function gateway(t, answers) {
  const asked = [];
  t.mock.method(globalThis, "fetch", async (url, { signal }) => {
    asked.push(url);
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("no network");
    const ended = !answer.endsWith("…");
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(ended ? answer : answer.slice(0, -1)));
        if (ended) controller.close();
        signal.addEventListener("abort", () => ended || controller.error(signal.reason));
      },
    });
    return new Response(body);
  });
  return asked;
}

/** The seqs of so many events, and the milliseconds of all pauses before them. */
async function followed(t, count, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const client = new PalaverClient({ baseUrl: "http://gateway" });
  const seqs = [];
  const events = client.events("s", options);
  const reading = (async () => {
    while (seqs.length < count) seqs.push((await events.next()).value.seq);
    await events.return();
  })();
  let passed = 0;
  let done = false;
  void reading.then(() => (done = true));
  for (; !done && passed < 120_000; passed += 50) {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    if (!done) t.mock.timers.tick(50);
  }
  assert.ok(done, `only ${seqs}`);
  return { seqs, passed };
}

test("the hint of a gateway that stops is waited for, though it comes without an event", async (t) => {
  t.mock.method(Math, "random", () => 0.5); // neither sooner nor later than told
  const asked = gateway(t, [HELLO + told(1) + "retry: 1900\n: restarting\n\n", HELLO + told(2)]);
  const { seqs, passed } = await followed(t, 2);
  assert.deepEqual(seqs, [1, 2]);
  assert.ok(passed >= 1850 && passed <= 2000, `came back after ${passed} ms`);
  assert.deepEqual(asked, ["http://gateway/sessions/s/events?after=0", "http://gateway/sessions/s/events?after=1"]);
});

for (const [chance, least] of [[0, 500], [1, 1500]]) {
  test(`not all who lost a gateway come back at one moment: after ${least} ms`, async (t) => {
    t.mock.method(Math, "random", () => chance);
    gateway(t, [HELLO + told(1), HELLO + told(2)]);
    const { passed } = await followed(t, 2);
    assert.ok(passed >= least - 50 && passed <= least + 100, `came back after ${passed} ms`);
  });
}

test("what is made of jobs that the log has lost is told, whatever its seq", async (t) => {
  gateway(t, [HELLO + told(5) + told(4) + told(3, "stream_end") + told(4) + "…"]);
  const { seqs } = await followed(t, 3);
  assert.deepEqual(seqs, [5, 3, 4]);
});

test("a stream that falls silent without an end is left for another one, at once", async (t) => {
  const asked = gateway(t, [HELLO + told(1) + "…", HELLO + told(2)]);
  const { seqs, passed } = await followed(t, 2, { patience: () => 10_000 });
  assert.deepEqual(seqs, [1, 2]);
  assert.ok(passed > 9_000 && passed < 12_500, `noticed after ${passed} ms`);
  assert.equal(asked.length, 2);
});

test("a request that is never answered is given up", async (t) => {
  t.mock.method(AbortSignal, "timeout", () => AbortSignal.abort(new DOMException("late", "TimeoutError")));
  t.mock.method(globalThis, "fetch", async (_, { signal }) => signal.throwIfAborted());
  const client = new PalaverClient({ baseUrl: "http://gateway" });
  await assert.rejects(client.session("s"), { status: 0, code: "unreachable" });
});

test("an upload whose answer is cut has failed, and one may be given up", async (t) => {
  const file = new File(["tea"], "prices.txt");
  const client = new PalaverClient({ baseUrl: "http://gateway" });
  t.mock.method(globalThis, "fetch", async (_, { signal }) => (signal?.throwIfAborted(), new Response('{"id": "f')));
  await assert.rejects(client.upload(file), { status: 0, code: "unreachable" });
  await assert.rejects(client.upload(file, AbortSignal.abort()), { name: "AbortError" });
});

test("what was said although no event tells of it is looked for", async () => {
  const said = [];
  let show;
  const shown = new Promise((resolve) => (show = resolve));
  const client = {
    session: async () => ({ session_id: "s", resume_after: 0 }),
    messages: async () => [...said],
    jobs: async () => [],
    async *events() {
      said.push({ id: "1", role: "user", content: "meanwhile", files: [], job_id: "j1", metadata: {} });
      yield { seq: 1, type: "warning", job_id: "", time: 0, data: { code: "jobs_forgotten", message: "gone" } };
      await shown;
    },
  };
  const turns = () => [...conversation.transcript.turns.keys()];
  const ignored = { ended() {}, connected() {}, refused() {} };
  const conversation = new Conversation(client, "s", { ...ignored, changed: () => turns().length && show() });
  await conversation.run();
  assert.deepEqual(turns(), ["j1"]);
});
