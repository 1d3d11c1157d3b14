import { SseDecoder } from "./sse.js";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5_000;
/** The gateway breaks every silence after 15 s: a connection that is silent for longer is dead. */
const LONGEST_SILENCE = 40_000;
const PAGE = 100;
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
    /** The latest sessions. */
    async sessions() {
        return (await this.#json("GET", `/sessions?limit=${PAGE}`)).items;
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
            const cursor = after && `&after=${encodeURIComponent(after)}`;
            const path = `/sessions/${encodeURIComponent(id)}/messages?limit=${PAGE}${cursor}`;
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
                await this.#pause(wait, undefined);
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
    async upload(file) {
        const form = new FormData();
        form.set("purpose", "user_data");
        form.set("file", file);
        return (await this.#request("POST", "/v1/files", { body: form })).json();
    }
    /**
     * A session's events, from its log and then live, each once and in order, without end. A connection that is
     * lost is made again and goes on behind the last event. Throws what the gateway refuses for good.
     */
    async *events(id, options = {}) {
        const { signal, onConnection } = options;
        let cursor = options.after ?? 0;
        for (let wait = FIRST_WAIT; !signal?.aborted; wait = Math.min(wait * 2, LONGEST_WAIT)) {
            let retry;
            try {
                for await (const message of this.#stream(id, cursor, options)) {
                    wait = FIRST_WAIT / 2;
                    retry = message.retry;
                    const event = JSON.parse(message.data);
                    // A resync is no event of the log: it has the seq up to which it speaks.
                    if (event.seq <= cursor && event.type !== "resync")
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
            }
            onConnection?.(false);
            await this.#pause(retry ?? wait, signal);
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
    async *#stream(id, after, { signal, onConnection }) {
        const silence = new Silence(signal);
        const cut = () => silence.end();
        this.#network.addEventListener("cut", cut);
        try {
            const path = `/sessions/${encodeURIComponent(id)}/events?after=${after}`;
            const response = await this.#request("GET", path, { signal: silence.signal });
            onConnection?.(true);
            const decoder = new SseDecoder();
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
                silence.broken();
                for (const message of decoder.push(piece.value))
                    yield { ...message, retry: decoder.retry };
            }
        }
        finally {
            this.#network.removeEventListener("cut", cut);
            silence.end();
        }
    }
    async #json(method, path, body, headers) {
        const response = await this.#request(method, path, {
            headers: { ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
            body: body === undefined ? null : JSON.stringify(body),
        });
        return response.json();
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
            if (init.signal?.aborted)
                throw error;
            throw new GatewayError("The gateway cannot be reached.", 0, "unreachable");
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
    #controller = new AbortController();
    #outer;
    #abort = () => this.#controller.abort();
    #timer;
    constructor(outer) {
        this.#outer = outer;
        this.#outer?.addEventListener("abort", this.#abort);
        if (this.#outer?.aborted)
            this.#abort();
        this.#timer = setTimeout(this.#abort, LONGEST_SILENCE);
    }
    get signal() {
        return this.#controller.signal;
    }
    broken() {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(this.#abort, LONGEST_SILENCE);
    }
    end() {
        clearTimeout(this.#timer);
        this.#outer?.removeEventListener("abort", this.#abort);
        this.#abort();
    }
}
/** Not randomUUID: pages that came over plain HTTP from elsewhere have none. */
function randomName() {
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
