// The pure parts of the page in Node: run by test_pure.py, or by `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SseDecoder } from "../../producer/palaver/producer/gateway/page/static/sse.js";
import { answerOf, earlierTo, Transcript } from "../../producer/palaver/producer/gateway/page/static/transcript.js";

const event = (seq, type, data = {}, job_id = "j1") => ({ seq, type, job_id, time: seq, data });
const LOG = [
  event(1, "job_queued", { position: 0 }),
  event(2, "stream_start", { model: "m", provider: "p", offset: 0 }),
  event(3, "reasoning_chunk", { delta: "hm" }),
  event(4, "text_chunk", { delta: "one " }),
  event(5, "tool_call", { id: "c1", name: "price", arguments: {} }),
  event(6, "tool_result", { id: "c1", content: 4.5 }),
  event(7, "text_chunk", { delta: "two" }),
  event(8, "stream_end", { status: "completed", response: { content: "one two", reasoning: "hm" } }),
];
const JOB = {
  ...{ job_id: "j1", status: "completed", model: "p/m", position: 0, created: 1, started: 2, ended: 8, end_seq: 8 },
  ...{ text: null, error: null, response: { content: "one two", reasoning: "hm" } },
};
const said = (role, content, fields = {}) => ({
  ...{ role, content, id: null, job_id: null, reasoning: null, widget: null, files: [], metadata: {} },
  ...fields,
});

test("events make a turn, in the order in which they came", () => {
  const transcript = new Transcript();
  for (const told of LOG) transcript.apply(told);
  const turn = transcript.turns.get("j1");
  assert.equal(answerOf(turn), "one two");
  assert.deepEqual(turn.blocks.map((block) => block.kind), ["reasoning", "text", "tool", "text"]);
  assert.equal(turn.blocks[2].result, 4.5);
  assert.equal(turn.model, "p/m");
});

test("wherever events begin, and whatever is known by then, the words are the same", () => {
  for (let first = 0; first <= LOG.length; first++) {
    for (const jobs of [[], [JOB]]) {
      const transcript = new Transcript();
      transcript.addMessages([said("user", "?", { job_id: "j1" })]);
      transcript.addJobs(jobs);
      for (const told of [...LOG.slice(first), ...LOG]) transcript.apply(told); // and all of it once more
      const kinds = transcript.turns.get("j1").blocks.map((block) => block.kind);
      assert.deepEqual(kinds, ["reasoning", "text", "tool", "text"], `from ${first}, ${jobs.length} known`);
      assert.equal(answerOf(transcript.turns.get("j1")), "one two", `from ${first}, ${jobs.length} known`);
    }
  }
});

test("what was known of a job before its events came changes nothing", () => {
  const transcript = new Transcript();
  const open = { ...JOB, end_seq: null, response: null, ended: null };
  for (const [count, late, status] of [[2, "queued", "running"], [8, "running", "completed"]]) {
    for (const told of LOG.slice(0, count)) transcript.apply(told);
    transcript.addJobs([{ ...open, status: late }]);
    assert.equal(transcript.turns.get("j1").status, status);
  }
  assert.equal(transcript.active, null);
});

test("a new attempt takes the words back, one that goes on does not", () => {
  const transcript = new Transcript();
  for (const told of LOG.slice(0, 5)) transcript.apply(told);
  transcript.apply(event(6, "stream_start", { offset: 4 }));
  assert.equal(answerOf(transcript.turns.get("j1")), "one ");
  transcript.apply(event(7, "stream_start", { offset: 0 }));
  assert.equal(answerOf(transcript.turns.get("j1")), "");
  transcript.apply(event(8, "text_chunk", { delta: "anew" }));
  assert.equal(answerOf(transcript.turns.get("j1")), "anew");
});

test("a resync replaces what was there, and the answer goes on behind it", () => {
  const transcript = new Transcript();
  transcript.apply(event(40, "resync", { seq: 40, text: "so far", reasoning: "", status: "running" }));
  transcript.apply(event(41, "text_chunk", { delta: " and on" }));
  assert.equal(answerOf(transcript.turns.get("j1")), "so far and on");
});

test("a session of a program: its questions have no job", () => {
  const transcript = new Transcript();
  const lines = [said("user", "a"), said("assistant", "A", { job_id: "j0" }), said("user", "b")];
  transcript.addMessages(lines);
  transcript.addJobs([{ ...JOB, status: "running", end_seq: null, response: null, ended: null }]);
  const asked = [...transcript.turns.values()].map((turn) => turn.question);
  assert.deepEqual(asked, ["a", "b"]);
});

test("what is told of a chat that goes on elsewhere: questions with their answers", () => {
  const transcript = new Transcript();
  const turn = (job_id, question, answer, status = "completed") => {
    transcript.addMessages([...(question ? [said("user", question, { job_id })] : [])]);
    transcript.addJobs([{ ...JOB, job_id, status, created: transcript.turns.size, response: { content: answer } }]);
  };
  turn("j1", "a", "", "failed");
  turn("j2", null, "A"); // asked again
  turn("j3", "b", "B");
  const told = earlierTo(transcript, transcript.turns.get("j3"));
  assert.deepEqual(told.map((message) => message.content), ["a", "A"]);
});

test("server-sent events may be cut anywhere", () => {
  const text = ': hello\r\nretry: 700\r\nid: 1\r\ndata: {"a":"é😀"}\r\n\r\nid: 2\ndata: x\ndata:y\n\n: keep-alive\n\nid: 3\rdata: z\r\r\n';
  for (let cut = 0; cut <= text.length; cut++) {
    const decoder = new SseDecoder();
    const messages = [...decoder.push(text.slice(0, cut)), ...decoder.push(text.slice(cut))];
    assert.deepEqual(messages, [
      { id: "1", data: '{"a":"é😀"}' },
      { id: "2", data: "x\ny" },
      { id: "3", data: "z" },
    ], `cut at ${cut}`);
    assert.equal(decoder.retry, 700);
  }
});
