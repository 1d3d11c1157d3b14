/**
 * What a session looks like: its stored messages, its jobs and its events, made into turns. Pure, and the same
 * whatever of it came first: an event that is told again changes nothing.
 */
import type { Failure, Job, PalaverEvent, Response, Said, Status, StreamEnd, Usage, Waits } from "./documents.js";

export type Block =
  | { kind: "text" | "reasoning"; text: string }
  | { kind: "tool"; id: string; name: string; arguments: unknown; result?: unknown; failed?: boolean }
  | { kind: "widget"; type: string; data: unknown }
  | { kind: "content"; type: string; data: unknown };

export interface Turn {
  /** The job that answers; of a message that no job said, its own id. */
  id: string;
  question: string | null;
  files: string[];
  blocks: Block[];
  status: Status;
  /** Jobs that are before it in the session, while it waits. */
  ahead: number;
  /** What it has to expect while it waits for a worker or a provider, if that is known. */
  waits: Waits | null;
  model: string | null;
  usage: Usage | null;
  error: Failure | null;
  finishReason: string | null;
  /** Something to be told while it goes on: a retry, a warning, progress. */
  notice: string | null;
  started: number | null;
  ended: number | null;
  /** The seq of its last event, once it has ended. */
  endSeq: number | null;
  /** Whether `blocks` have everything up to the last event: deltas may be added to them. */
  follows: boolean;
}

export class Transcript {
  readonly turns = new Map<string, Turn>();
  readonly #recalled = new Map<string, Turn>();
  #unanswered: Said | undefined;

  /** What was said, in order. */
  addMessages(messages: Said[]): void {
    let earlier: string | undefined;
    let asked: Said | undefined;
    for (const said of messages) {
      if (said.role === "user" && said.job_id === null && said.id === null) {
        asked = said; // the history of a program's session: whoever answers next has the job
        continue;
      }
      // A chat that began with turns of another one: they have no job here.
      if (said.metadata.earlier && said.role === "user") earlier = `message-${said.id}`;
      const turn = this.#turn((said.metadata.earlier ? earlier : said.job_id) ?? `message-${said.id}`);
      if (said.role === "user") ask(turn, said);
      else if (!turn.follows && turn.endSeq === null) addSaid(turn, said);
      if (asked && turn.question === null) ask(turn, asked);
      asked = undefined;
    }
    this.#unanswered = asked;
    this.#askLast();
  }

  /** What became of jobs; it knows more than messages do. */
  addJobs(jobs: Job[]): void {
    for (const job of [...jobs].sort((one, other) => one.created - other.created)) {
      const turn = this.#turn(job.job_id);
      if (job.end_seq === null && (turn.follows || turn.endSeq !== null)) continue; // its events know more
      turn.status = job.status;
      turn.ahead = job.position;
      turn.waits = job.waits ?? null;
      turn.model ??= job.model;
      turn.started = job.started;
      if (job.end_seq === null) continue; // its events tell the rest
      turn.ended = job.ended;
      turn.endSeq = job.end_seq;
      turn.error = job.error;
      if (job.response) answer(turn, job.response);
      else if (job.text) setText(turn, "text", job.text);
    }
    this.#askLast();
  }

  /** Take an event. Returns the turn that it changed, or null. */
  apply(event: PalaverEvent): Turn | null {
    const turn = this.#turn(event.job_id);
    if (turn.endSeq !== null) return this.#recall(turn, event);
    if (event.type === "stream_end") end(turn, event.data, event);
    else if (event.type === "resync") resync(turn, event.data);
    else grow(turn, event);
    return turn;
  }

  /** The job that waits for a worker or a provider: those behind it in the session wait for it. */
  get waiting(): Turn | null {
    const turn = this.active;
    return turn && !turn.follows ? turn : null;
  }

  /** The job that is being answered, or the first that waits. */
  get active(): Turn | null {
    const open = [...this.turns.values()].filter((turn) => isOpen(turn));
    return open.find((turn) => turn.status === "running") ?? open[0] ?? null;
  }

  /** An ended turn is told once more: only its events know where tools and widgets stood between the words. */
  #recall(turn: Turn, event: PalaverEvent): Turn | null {
    if (event.type === "stream_start" && !event.data.offset) this.#recalled.set(turn.id, { ...turn, follows: true });
    const again = this.#recalled.get(turn.id);
    if (!again) return null;
    if (event.type !== "stream_end" && event.type !== "resync") {
      grow(again, event);
      return null;
    }
    this.#recalled.delete(turn.id);
    if (event.type === "resync" || answerOf(again) !== answerOf(turn)) return null;
    turn.blocks = again.blocks;
    return turn;
  }

  /** The history's last question is that of the job which goes on. */
  #askLast(): void {
    const turn = this.active;
    if (this.#unanswered && turn?.question === null) ask(turn, this.#unanswered);
  }

  #turn(id: string): Turn {
    const known = this.turns.get(id);
    if (known) return known;
    const turn: Turn = {
      ...{ id, question: null, files: [], blocks: [], status: "completed", ahead: 0, waits: null, model: null },
      ...{ usage: null, error: null, finishReason: null, notice: null, started: null, ended: null },
      ...{ endSeq: null, follows: false },
    };
    this.turns.set(id, turn);
    return turn;
  }
}

export function isOpen(turn: Turn): boolean {
  return turn.status === "queued" || turn.status === "running";
}

/** What was said before a turn, as a job takes it. What was not answered is left out: so it is in sessions. */
export function earlierTo(transcript: Transcript, turn: Turn): { role: "user" | "assistant"; content: string }[] {
  const turns = [...transcript.turns.values()];
  let question: string | null = null; // of one that was asked again, the first time
  return turns.slice(0, turns.indexOf(turn)).flatMap((before) => {
    question = before.question ?? question;
    const words = answerOf(before);
    if (!question || !words || before.status === "failed" || before.status === "expired") return [];
    return [{ role: "user" as const, content: question }, { role: "assistant" as const, content: words }];
  });
}

/** The words of the answer, as the model wrote them. */
export function answerOf(turn: Turn): string {
  return joined(turn, "text");
}

function grow(turn: Turn, event: PalaverEvent): void {
  switch (event.type) {
    case "job_queued":
      if (!turn.follows) turn.status = "queued";
      turn.ahead = event.data.position ?? 0;
      return;
    case "stream_start":
      return start(turn, event);
    case "text_chunk":
      return append(turn, "text", event.data.delta);
    case "reasoning_chunk":
      return append(turn, "reasoning", event.data.delta);
    case "retry":
      turn.notice = `${event.data.error.message} Trying again${event.data.model ? ` with ${event.data.model}` : ""}.`;
      return;
    case "warning":
      turn.notice = event.data.message || event.data.code;
      return;
    case "progress":
      turn.notice = event.data.message || `${event.data.done ?? 0} of ${event.data.total ?? "?"}`;
      return;
    default:
      if (turn.follows) addBlock(turn, event);
  }
}

function start(turn: Turn, event: Extract<PalaverEvent, { type: "stream_start" }>): void {
  const { offset = 0, provider, model } = event.data;
  if (offset === 0) {
    turn.blocks = [];
    turn.follows = true;
  }
  turn.status = "running";
  turn.waits = null;
  turn.notice = null;
  turn.started ??= event.time;
  if (model) turn.model = provider ? `${provider}/${model}` : model;
}

function addBlock(turn: Turn, event: PalaverEvent): void {
  if (event.type === "tool_call") {
    turn.blocks.push({ kind: "tool", ...event.data });
  } else if (event.type === "tool_result") {
    const call = turn.blocks.find((block) => block.kind === "tool" && block.id === event.data.id);
    if (call?.kind === "tool") Object.assign(call, { result: event.data.content ?? null, failed: event.data.is_error });
  } else if (event.type === "widget") {
    turn.blocks.push({ kind: "widget", type: event.data.widget_type, data: event.data.data });
  } else if (event.type === "content") {
    turn.blocks.push({ kind: "content", type: event.data.content_type, data: event.data.data });
  }
}

function append(turn: Turn, kind: "text" | "reasoning", delta: string): void {
  if (!turn.follows) return; // the end will tell all of it
  turn.notice = null;
  const last = turn.blocks.at(-1);
  if (last?.kind === kind) last.text += delta;
  else turn.blocks.push({ kind, text: delta });
}

function end(turn: Turn, data: StreamEnd, event: { seq: number; time: number }): void {
  turn.status = data.status;
  turn.endSeq = event.seq;
  turn.ended = event.time;
  turn.notice = null;
  turn.error = data.error ?? null;
  turn.finishReason = data.finish_reason ?? null;
  turn.usage = data.usage ?? null;
  if (data.response) answer(turn, data.response);
  else {
    if (data.reasoning != null) setText(turn, "reasoning", data.reasoning);
    if (data.text != null) setText(turn, "text", data.text);
  }
}

function resync(turn: Turn, data: { text?: string; reasoning?: string; status?: Status }): void {
  turn.blocks = [];
  setText(turn, "reasoning", data.reasoning ?? "");
  setText(turn, "text", data.text ?? "");
  turn.status = data.status ?? "running";
  turn.follows = true;
}

function answer(turn: Turn, response: Response): void {
  setText(turn, "reasoning", response.reasoning ?? "");
  for (const call of response.tool_calls ?? []) {
    const known = turn.blocks.some((block) => block.kind === "tool" && block.id === call.id);
    if (!known) turn.blocks.push({ kind: "tool", ...call });
  }
  setText(turn, "text", response.content);
  turn.usage = response.usage ?? turn.usage;
  turn.finishReason = response.finish_reason ?? turn.finishReason;
  if (response.model) turn.model = response.provider ? `${response.provider}/${response.model}` : response.model;
}

/** Have the words be these. Blocks that already say them stay where they are, between tools and widgets. */
function setText(turn: Turn, kind: "text" | "reasoning", text: string): void {
  if (joined(turn, kind) === text) return;
  turn.blocks = turn.blocks.filter((block) => block.kind !== kind);
  if (kind === "reasoning") turn.blocks.unshift({ kind, text });
  else turn.blocks.push({ kind, text });
}

function joined(turn: Turn, kind: "text" | "reasoning"): string {
  return turn.blocks.map((block) => (block.kind === kind ? block.text : "")).join("");
}

function ask(turn: Turn, said: Said): void {
  turn.question = textOf(said);
  turn.files = said.files;
}

function addSaid(turn: Turn, said: Said): void {
  if (said.widget) {
    const shown = { kind: "widget" as const, type: said.widget.type, data: said.widget.data };
    const known = turn.blocks.some((block) => block.kind === "widget" && same(block, shown));
    if (!known) turn.blocks.push(shown);
  } else if (said.role === "assistant") {
    if (said.reasoning) setText(turn, "reasoning", said.reasoning);
    setText(turn, "text", textOf(said));
    if (said.metadata.partial) turn.status = "cancelled";
  } else if (said.role === "system") {
    turn.status = "failed";
    turn.error = { message: textOf(said).replace(/^Error: /, ""), code: "error" };
  }
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function textOf(said: Said): string {
  if (typeof said.content === "string") return said.content;
  return said.content.map((part) => part.text ?? `[${part.type}]`).join("\n");
}
