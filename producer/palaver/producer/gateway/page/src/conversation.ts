/** One session, as long as it is on the screen: loaded, followed, and kept right however the network is. */
import { GatewayError, type PalaverClient } from "./client.js";
import type { Job, PalaverEvent, Session } from "./documents.js";
import { Transcript, type Turn } from "./transcript.js";

export interface Listener {
  /** This turn, or if null any of them, is another now. */
  changed(turn: Turn | null): void;
  /** Its answer has just come to its end. */
  ended(turn: Turn): void;
  connected(is: boolean): void;
  /** There is no such session, or it may not be read: nothing more will come. */
  refused(error: GatewayError): void;
}

/** While an answer goes on, words come; an answer that is thought about for longer costs a request now and then. */
const PATIENCE = 10_000;
const LONG_PATIENCE = 40_000;
const PLACE_EVERY = 3_000;
/** Events of ended answers that are told again at most, so that their tools and widgets stand in their places. */
const MOST_RECALLED = 1000;

export class Conversation {
  readonly transcript = new Transcript();
  session: Session | null = null;
  readonly #closed = new AbortController();
  #looking = false;
  #placing = false;

  constructor(
    readonly client: PalaverClient,
    readonly id: string,
    readonly listener: Listener,
  ) {}

  /** Load what was said and follow what is being said, until `close`. */
  async run(): Promise<void> {
    try {
      const after = await this.#load();
      const signal = this.#closed.signal;
      const onConnection = (is: boolean) => signal.aborted || this.listener.connected(is);
      const patience = () => (this.transcript.active?.status === "running" ? PATIENCE : LONG_PATIENCE);
      void this.#lookForPlace();
      for await (const event of this.client.events(this.id, { after, signal, patience, onConnection })) this.#take(event);
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      if (!(error instanceof GatewayError)) throw error;
      this.listener.refused(error);
    }
  }

  close(): void {
    this.#closed.abort();
  }

  /** This job answers that question: known here before its events say so. */
  asked(jobId: string, question: string, files: string[]): void {
    const said = { role: "user" as const, content: question, files, job_id: jobId };
    this.transcript.addMessages([{ ...said, id: null, reasoning: null, widget: null, metadata: {} }]);
    this.listener.changed(this.transcript.turns.get(jobId) ?? null);
    void this.#lookForPlace();
  }

  /** The cursor comes first: what happens while messages and jobs are fetched is then among the events. */
  async #load(): Promise<number> {
    const session = await this.#patiently(() => this.client.session(this.id));
    const messages = await this.#patiently(() => this.client.messages(this.id));
    const jobs = await this.#patiently(() => this.client.jobs(this.id));
    this.session = session;
    this.transcript.addMessages(messages);
    this.transcript.addJobs(jobs);
    this.listener.changed(null);
    return recallFrom(jobs, session.resume_after);
  }

  #take(event: PalaverEvent): void {
    if (event.job_id === "") return void this.#lookAgain(); // of jobs that nobody knows any more
    const knew = this.transcript.turns.get(event.job_id)?.endSeq != null;
    const turn = this.transcript.apply(event);
    if (turn === null) return;
    if (event.type === "stream_end" && !knew) this.listener.ended(turn);
    this.listener.changed(turn);
    // Asked elsewhere: its question is among the messages.
    if (event.type === "job_queued" && turn.question === null) void this.#lookForQuestions();
    if (event.type === "job_queued") void this.#lookForPlace();
    if (event.type === "resync" && turn.status !== "running" && turn.status !== "queued") void this.#lookAt(turn);
  }

  /** What was said although no event tells of it is among the messages. */
  async #lookAgain(): Promise<void> {
    await this.#load().catch((error: unknown) => {
      if (!(error instanceof GatewayError)) throw error; // who follows is told
    });
  }

  async #lookForQuestions(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const messages = await this.#patiently(() => this.client.messages(this.id)).catch(() => []);
    this.#looking = false;
    this.transcript.addMessages(messages);
    this.listener.changed(null);
  }

  /** What the answer that waits has to expect, now and then: no event tells how a queue moves. */
  async #lookForPlace(): Promise<void> {
    if (this.#placing) return;
    this.#placing = true;
    while (this.transcript.waiting) {
      await pause(PLACE_EVERY / 3); // most of them wait for no time at all
      const turn = this.transcript.waiting;
      if (turn === null || this.#closed.signal.aborted) break;
      const job = await this.client.job(turn.id).catch(() => null);
      if (job && this.transcript.waiting === turn) {
        turn.waits = job.waits ?? null;
        this.listener.changed(turn);
      }
      await pause((PLACE_EVERY * 2) / 3);
    }
    this.#placing = false;
  }

  async #lookAt(turn: Turn): Promise<void> {
    const job = await this.#patiently(() => this.client.job(turn.id)).catch(() => null);
    if (job === null) return;
    this.transcript.addJobs([job]);
    this.listener.changed(turn);
  }

  /** Again and again while the gateway is away. Throws what it refuses for good. */
  async #patiently<T>(request: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await request();
      } catch (error) {
        if (this.#closed.signal.aborted || !(error instanceof GatewayError) || !error.passing) throw error;
        this.listener.connected(false);
        await pause(1000);
      }
    }
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The cursor before the latest ended jobs that have few enough events; `after` if there are none. */
function recallFrom(jobs: Job[], after: number): number {
  const near = jobs.map((job) => job.cursor).filter((cursor) => cursor >= after - MOST_RECALLED);
  return Math.min(after, ...near);
}
