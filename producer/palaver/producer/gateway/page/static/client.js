import { SseDecoder } from "./sse.js";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5_000;
/** The gateway breaks every silence within 30 s: a connection that is silent for longer is dead. */
const LONGEST_SILENCE = 40_000;
const LONGEST_CONNECTING = 5_000;
/** Connections that a browser keeps for later beside the one it has just lost. */
const POOLED = 5;
/** A stream that was silent for so long when somebody has doubts about it is looked for again. */
const SUSPICIOUS_SILENCE = 5_000;
/** How often the length of a silence is looked at. */
const LOOK_AROUND = 1_000;
/** Answers are documents, and come at once. */
const LONGEST_REQUEST = 20_000;
const PAGE = 100;
/** What may be made for a reader whose events the log has lost: such a one stands in no log, and its seq says nothing. */
const MADE = new Set(["resync", "stream_end", "warning"]);
/** What the gateway refused (`status` as in HTTP), or that it was not reached (`status` 0). */
export class GatewayError extends Error {
    status;
    code;
    constructor(message, status, code) {
        super(message);
        this.status = status;
        this.code = code;
    }
    /** Whether the same request may succeed later. */
    get passing() {
        return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
    }
}
export class PalaverClient {
    #base;
    #key;
    #network = new EventTarget();
    constructor({ baseUrl = "", key = () => null } = {}) {
        this.#base = baseUrl;
        this.#key = key;
    }
    /** Names for `model`: aliases and `profile/model`. */
    async models() {
        const { data } = await this.#json("GET", "/v1/models");
        return data.map((model) => model.id);
    }
    async agents() {
        return (await this.#json("GET", "/agents")).items;
    }
    /** Sessions, the latest first; `after` is what the page before has given. */
    sessions(after = null) {
        return this.#json("GET", `/sessions?limit=${PAGE}${following(after)}`);
    }
    openSession(fields = {}) {
        return this.#json("POST", "/sessions", fields);
    }
    session(id) {
        return this.#json("GET", `/sessions/${encodeURIComponent(id)}`);
    }
    async deleteSession(id) {
        await this.#request("DELETE", `/sessions/${encodeURIComponent(id)}`);
    }
    /** All that was said in a session, the oldest first. */
    async messages(id) {
        const said = [];
        for (let after = ""; after !== null;) {
            const path = `/sessions/${encodeURIComponent(id)}/messages?limit=${PAGE}${following(after)}`;
            const page = await this.#json("GET", path);
            said.push(...page.items);
            after = page.after;
        }
        return said;
    }
    /** A session's jobs with their answers: those that go on, and the latest that have ended. */
    async jobs(id) {
        const path = `/jobs?session=${encodeURIComponent(id)}&whole=true&limit=${PAGE}`;
        return (await this.#json("GET", path)).items;
    }
    job(id) {
        return this.#json("GET", `/jobs/${id}`);
    }
    /** Say something; the answer comes as events with a seq above the `cursor` of what was accepted. */
    say(id, { idempotencyKey, ...message }) {
        const headers = idempotencyKey ? { "Idempotency-Key": idempotencyKey } : undefined;
        return this.#json("POST", `/sessions/${encodeURIComponent(id)}/messages`, message, headers);
    }
    /** `say`, again and again while the gateway is away: it is taken once, whatever the network does. */
    async sayOnce(id, message, tries = 8) {
        const named = { idempotencyKey: randomName(), ...message };
        for (let wait = FIRST_WAIT;; wait = Math.min(wait * 2, LONGEST_WAIT)) {
            try {
                return await this.say(id, named);
            }
            catch (error) {
                if (!(error instanceof GatewayError) || error.status !== 0 || --tries <= 0)
                    throw error;
                await this.#pause(jittered(wait), undefined);
            }
        }
    }
    cancel(jobId) {
        return this.#json("DELETE", `/jobs/${jobId}`);
    }
    retry(jobId) {
        return this.#json("POST", `/jobs/${jobId}/retry`);
    }
    file(id) {
        return this.#json("GET", `/v1/files/${encodeURIComponent(id)}`);
    }
    /** However long it takes; throws an AbortError once `signal` gives it up. */
    async upload(file, signal = null) {
        const form = new FormData();
        form.set("purpose", "user_data");
        form.set("file", file);
        return documentOf(await this.#request("POST", "/v1/files", { body: form, signal }));
    }
    /**
     * A session's events, from its log and then live, each once and in order, without end. A connection that is
     * lost is made again and goes on behind the last event. Throws what the gateway refuses for good.
     */
    async *events(id, options = {}) {
        const { signal, onConnection } = options;
        let cursor = options.after ?? 0;
        for (let wait = FIRST_WAIT; !signal?.aborted; wait = Math.min(wait * 2, LONGEST_WAIT)) {
            const decoder = new SseDecoder();
            let silent = false;
            try {
                for await (const message of this.#stream(id, cursor, decoder, options)) {
                    wait = FIRST_WAIT / 2;
                    const event = JSON.parse(message.data);
                    if (event.seq <= cursor && !MADE.has(event.type))
                        continue;
                    cursor = Number(message.id);
                    yield event;
                }
            }
            catch (error) {
                if (signal?.aborted)
                    return;
                if (error instanceof GatewayError && !error.passing)
                    throw error;
                silent = isAbort(error) && decoder.retry !== undefined;
                if (isAbort(error) && !silent)
                    this.#giveUpPooled();
            }
            onConnection?.(false);
            // A gateway that stops says when to come back, in a message without data: not all pages at one moment.
            if (!silent)
                await this.#pause(jittered(decoder.retry ?? wait), signal);
        }
    }
    /** Whoever waits to connect again tries at once: the network is back, it seems. */
    wake() {
        this.#network.dispatchEvent(new Event("wake"));
    }
    /** The network is gone, it seems: open streams are given up and looked for again. */
    cut() {
        this.#network.dispatchEvent(new Event("cut"));
    }
    /** This machine has slept, perhaps: streams that are silent are looked for again, and who waits tries at once. */
    doubt() {
        this.#network.dispatchEvent(new Event("doubt"));
        this.wake();
    }
    /**
     * What a browser keeps of a network that died is as dead, and it would try one after the other: all of them are
     * asked something at once, and those that say nothing are closed.
     */
    #giveUpPooled() {
        for (let connection = 0; connection < POOLED; connection++) {
            const signal = AbortSignal.timeout(LONGEST_CONNECTING);
            fetch(`${this.#base}/healthz`, { signal, cache: "no-store" }).catch(() => { }); // so it was dead
        }
    }
    async *#stream(id, after, decoder, options) {
        const { signal, patience = () => LONGEST_SILENCE, onConnection } = options;
        // Every stream begins with a hint when to come back: one that has none yet is still being connected.
        const silence = new Silence(signal, () => (decoder.retry === undefined ? LONGEST_CONNECTING : patience()));
        const cut = () => silence.end();
        const doubt = () => silence.lasted > SUSPICIOUS_SILENCE && silence.end();
        this.#network.addEventListener("cut", cut);
        this.#network.addEventListener("doubt", doubt);
        try {
            const path = `/sessions/${encodeURIComponent(id)}/events?after=${after}`;
            const response = await this.#request("GET", path, { signal: silence.signal });
            onConnection?.(true);
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
                silence.broken();
                yield* decoder.push(piece.value);
            }
        }
        finally {
            this.#network.removeEventListener("cut", cut);
            this.#network.removeEventListener("doubt", doubt);
            silence.end();
        }
    }
    async #json(method, path, body, headers) {
        const response = await this.#request(method, path, {
            headers: { ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
            body: body === undefined ? null : JSON.stringify(body),
            signal: AbortSignal.timeout(LONGEST_REQUEST),
        });
        return documentOf(response);
    }
    async #request(method, path, init = {}) {
        const headers = new Headers(init.headers);
        const key = this.#key();
        if (key)
            headers.set("Authorization", `Bearer ${key}`);
        let response;
        try {
            response = await fetch(this.#base + path, { ...init, method, headers, cache: "no-store" });
        }
        catch (error) {
            if (isAbort(error))
                throw error;
            throw unreachable();
        }
        if (!response.ok)
            throw await refusal(response);
        return response;
    }
    #pause(milliseconds, signal) {
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
    outer;
    patience;
    #controller = new AbortController();
    #abort = () => this.#controller.abort();
    #since = Date.now();
    #timer;
    constructor(outer, patience) {
        this.outer = outer;
        this.patience = patience;
        this.outer?.addEventListener("abort", this.#abort);
        if (this.outer?.aborted)
            this.#abort();
        this.#timer = setTimeout(() => this.#look(), LOOK_AROUND);
    }
    get signal() {
        return this.#controller.signal;
    }
    /** For how many milliseconds nothing has come. */
    get lasted() {
        return Date.now() - this.#since;
    }
    broken() {
        this.#since = Date.now();
    }
    end() {
        clearTimeout(this.#timer);
        this.outer?.removeEventListener("abort", this.#abort);
        this.#abort();
    }
    #look() {
        if (this.lasted > Math.min(this.patience(), LONGEST_SILENCE))
            this.#abort();
        else
            this.#timer = setTimeout(() => this.#look(), LOOK_AROUND);
    }
}
function isAbort(error) {
    return error instanceof DOMException && error.name === "AbortError";
}
async function documentOf(response) {
    try {
        return (await response.json());
    }
    catch (error) {
        if (isAbort(error))
            throw error;
        throw unreachable(); // cut off in the middle
    }
}
function unreachable() {
    return new GatewayError("The gateway cannot be reached.", 0, "unreachable");
}
/** Between half and one and a half of it: those who lost the same gateway do not come back at one moment. */
function jittered(milliseconds) {
    return milliseconds * (0.5 + Math.random());
}
function following(after) {
    return after ? `&after=${encodeURIComponent(after)}` : "";
}
/** Not randomUUID: pages that came over plain HTTP from elsewhere have none. */
export function randomName() {
    return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
async function refusal(response) {
    let told = {};
    try {
        told = (await response.json()).error ?? {};
    }
    catch {
        // No JSON: something before the gateway has answered.
    }
    const message = told.message ?? `HTTP ${response.status}`;
    return new GatewayError(message, response.status, told.code ?? String(response.status));
}
