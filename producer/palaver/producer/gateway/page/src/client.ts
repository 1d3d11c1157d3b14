/**
 * A client of the gateway for browsers, Node and Deno: fetch, server-sent events, and going on where one was.
 *
 *     const client = new PalaverClient({ baseUrl: "http://127.0.0.1:8080" });
 *     const session = await client.openSession();
 *     const { job_id } = await client.say(session.session_id, { content: "Hello" });
 *     for await (const event of client.events(session.session_id)) {
 *       if (event.type === "text_chunk") console.log(event.data.delta);
 *       if (event.type === "stream_end" && event.job_id === job_id) break;
 *     }
 */
import type { Accepted, FileObject, Job, Listed, PalaverEvent, Said, Session } from "./documents.js";
import { SseDecoder } from "./sse.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 5_000;
/** The gateway breaks every silence after 15 s: a connection that is silent for longer is dead. */
const LONGEST_SILENCE = 40_000;
const PAGE = 100;

/** What the gateway refused (`status` as in HTTP), or that it was not reached (`status` 0). */
export class GatewayError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export interface Options {
  baseUrl?: string;
  /** Asked before each request, so that it may change: an API key, or nothing on a gateway without keys. */
  key?: () => string | null;
}

export interface NewMessage {
  content: string;
  model?: string;
  files?: string[];
  /** What was said before it, in a session where nothing was said yet. */
  earlier?: { role: "user" | "assistant"; content: string }[];
  /** Names the message: one that is sent twice is taken once. */
  idempotencyKey?: string;
}

export interface Following {
  /** Only events with a seq above it. */
  after?: number;
  signal?: AbortSignal;
  /** Told when the stream is open, and when it is lost and looked for again. */
  onConnection?: (connected: boolean) => void;
}

export class PalaverClient {
  readonly #base: string;
  readonly #key: () => string | null;
  readonly #network = new EventTarget();

  constructor({ baseUrl = "", key = () => null }: Options = {}) {
    this.#base = baseUrl;
    this.#key = key;
  }

  /** Names for `model`: aliases and `profile/model`. */
  async models(): Promise<string[]> {
    const { data } = await this.#json<{ data: { id: string }[] }>("GET", "/v1/models");
    return data.map((model) => model.id);
  }

  async agents(): Promise<string[]> {
    return (await this.#json<Listed<string>>("GET", "/agents")).items;
  }

  /** The latest sessions. */
  async sessions(): Promise<Session[]> {
    return (await this.#json<Listed<Session>>("GET", `/sessions?limit=${PAGE}`)).items;
  }

  openSession(fields: { agent?: string; context?: object } = {}): Promise<Session> {
    return this.#json("POST", "/sessions", fields);
  }

  session(id: string): Promise<Session> {
    return this.#json("GET", `/sessions/${encodeURIComponent(id)}`);
  }

  async deleteSession(id: string): Promise<void> {
    await this.#request("DELETE", `/sessions/${encodeURIComponent(id)}`);
  }

  /** All that was said in a session, the oldest first. */
  async messages(id: string): Promise<Said[]> {
    const said: Said[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const cursor: string = after && `&after=${encodeURIComponent(after)}`;
      const path = `/sessions/${encodeURIComponent(id)}/messages?limit=${PAGE}${cursor}`;
      const page: Listed<Said> = await this.#json("GET", path);
      said.push(...page.items);
      after = page.after;
    }
    return said;
  }

  /** A session's jobs with their answers: those that go on, and the latest that have ended. */
  async jobs(id: string): Promise<Job[]> {
    const path = `/jobs?session=${encodeURIComponent(id)}&whole=true&limit=${PAGE}`;
    return (await this.#json<Listed<Job>>("GET", path)).items;
  }

  job(id: string): Promise<Job> {
    return this.#json("GET", `/jobs/${id}`);
  }

  /** Say something; the answer comes as events with a seq above the `cursor` of what was accepted. */
  say(id: string, { idempotencyKey, ...message }: NewMessage): Promise<Accepted> {
    const headers = idempotencyKey ? { "Idempotency-Key": idempotencyKey } : undefined;
    return this.#json("POST", `/sessions/${encodeURIComponent(id)}/messages`, message, headers);
  }

  /** `say`, again and again while the gateway is away: it is taken once, whatever the network does. */
  async sayOnce(id: string, message: NewMessage, tries = 8): Promise<Accepted> {
    const named = { idempotencyKey: randomName(), ...message };
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      try {
        return await this.say(id, named);
      } catch (error) {
        if (!(error instanceof GatewayError) || error.status !== 0 || --tries <= 0) throw error;
        await this.#pause(wait, undefined);
      }
    }
  }

  cancel(jobId: string): Promise<Job> {
    return this.#json("DELETE", `/jobs/${jobId}`);
  }

  retry(jobId: string): Promise<Accepted> {
    return this.#json("POST", `/jobs/${jobId}/retry`);
  }

  file(id: string): Promise<FileObject> {
    return this.#json("GET", `/v1/files/${encodeURIComponent(id)}`);
  }

  async upload(file: File): Promise<FileObject> {
    const form = new FormData();
    form.set("purpose", "user_data");
    form.set("file", file);
    return (await this.#request("POST", "/v1/files", { body: form })).json();
  }

  /**
   * A session's events, from its log and then live, each once and in order, without end. A connection that is
   * lost is made again and goes on behind the last event. Throws what the gateway refuses for good.
   */
  async *events(id: string, options: Following = {}): AsyncGenerator<PalaverEvent> {
    const { signal, onConnection } = options;
    let cursor = options.after ?? 0;
    for (let wait = FIRST_WAIT; !signal?.aborted; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      let retry: number | undefined;
      try {
        for await (const message of this.#stream(id, cursor, options)) {
          wait = FIRST_WAIT / 2;
          retry = message.retry;
          const event = JSON.parse(message.data) as PalaverEvent;
          // A resync is no event of the log: it has the seq up to which it speaks.
          if (event.seq <= cursor && event.type !== "resync") continue;
          cursor = Number(message.id);
          yield event;
        }
      } catch (error) {
        if (signal?.aborted) return;
        if (error instanceof GatewayError && !error.passing) throw error;
      }
      onConnection?.(false);
      await this.#pause(retry ?? wait, signal);
    }
  }

  /** Whoever waits to connect again tries at once: the network is back, it seems. */
  wake(): void {
    this.#network.dispatchEvent(new Event("wake"));
  }

  /** The network is gone, it seems: open streams are given up and looked for again. */
  cut(): void {
    this.#network.dispatchEvent(new Event("cut"));
  }

  async *#stream(id: string, after: number, { signal, onConnection }: Following) {
    const silence = new Silence(signal);
    const cut = () => silence.end();
    this.#network.addEventListener("cut", cut);
    try {
      const path = `/sessions/${encodeURIComponent(id)}/events?after=${after}`;
      const response = await this.#request("GET", path, { signal: silence.signal });
      onConnection?.(true);
      const decoder = new SseDecoder();
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        silence.broken();
        for (const message of decoder.push(piece.value)) yield { ...message, retry: decoder.retry };
      }
    } finally {
      this.#network.removeEventListener("cut", cut);
      silence.end();
    }
  }

  async #json<T>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
    const response = await this.#request(method, path, {
      headers: { ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return response.json() as Promise<T>;
  }

  async #request(method: string, path: string, init: RequestInit = {}): Promise<globalThis.Response> {
    const headers = new Headers(init.headers);
    const key = this.#key();
    if (key) headers.set("Authorization", `Bearer ${key}`);
    let response: globalThis.Response;
    try {
      response = await fetch(this.#base + path, { ...init, method, headers, cache: "no-store" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new GatewayError("The gateway cannot be reached.", 0, "unreachable");
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }

  #pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#network.removeEventListener("wake", done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#network.addEventListener("wake", done);
      signal?.addEventListener("abort", done);
    });
  }
}

/** Ends a request whose caller wants no more, or whose server has been silent for too long. */
class Silence {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #abort = () => this.#controller.abort();
  #timer: ReturnType<typeof setTimeout>;

  constructor(outer: AbortSignal | undefined) {
    this.#outer = outer;
    this.#outer?.addEventListener("abort", this.#abort);
    if (this.#outer?.aborted) this.#abort();
    this.#timer = setTimeout(this.#abort, LONGEST_SILENCE);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  broken(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, LONGEST_SILENCE);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#abort);
    this.#abort();
  }
}

/** Not randomUUID: pages that came over plain HTTP from elsewhere have none. */
function randomName(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function refusal(response: globalThis.Response): Promise<GatewayError> {
  let told: { message?: string; code?: string } = {};
  try {
    told = ((await response.json()) as { error?: typeof told }).error ?? {};
  } catch {
    // No JSON: something before the gateway has answered.
  }
  const message = told.message ?? `HTTP ${response.status}`;
  return new GatewayError(message, response.status, told.code ?? String(response.status));
}
