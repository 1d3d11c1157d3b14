export class Transcript {
    turns = new Map();
    #recalled = new Map();
    #unanswered;
    /** What was said, in order. */
    addMessages(messages) {
        let earlier;
        let asked;
        for (const said of messages) {
            if (said.role === "user" && said.job_id === null && said.id === null) {
                asked = said; // the history of a program's session: whoever answers next has the job
                continue;
            }
            // A chat that began with turns of another one: they have no job here.
            if (said.metadata.earlier && said.role === "user")
                earlier = `message-${said.id}`;
            const turn = this.#turn((said.metadata.earlier ? earlier : said.job_id) ?? `message-${said.id}`);
            if (said.role === "user")
                ask(turn, said);
            else if (!turn.follows && turn.endSeq === null)
                addSaid(turn, said);
            if (asked && turn.question === null)
                ask(turn, asked);
            asked = undefined;
        }
        this.#unanswered = asked;
        this.#askLast();
    }
    /** What became of jobs; it knows more than messages do. */
    addJobs(jobs) {
        for (const job of [...jobs].sort((one, other) => one.created - other.created)) {
            const turn = this.#turn(job.job_id);
            if (job.end_seq === null && (turn.follows || turn.endSeq !== null))
                continue; // its events know more
            turn.status = job.status;
            turn.ahead = job.position;
            turn.waits = job.waits ?? null;
            turn.model ??= job.model;
            turn.started = job.started;
            if (job.end_seq === null)
                continue; // its events tell the rest
            turn.ended = job.ended;
            turn.endSeq = job.end_seq;
            turn.error = job.error;
            if (job.response)
                answer(turn, job.response);
            else if (job.text)
                setText(turn, "text", job.text);
        }
        this.#askLast();
    }
    /** Take an event. Returns the turn that it changed, or null. */
    apply(event) {
        const turn = this.#turn(event.job_id);
        if (turn.endSeq !== null)
            return this.#recall(turn, event);
        if (event.type === "stream_end")
            end(turn, event.data, event);
        else if (event.type === "resync")
            resync(turn, event.data);
        else
            grow(turn, event);
        return turn;
    }
    /** The job that waits for a worker or a provider: those behind it in the session wait for it. */
    get waiting() {
        const turn = this.active;
        return turn && !turn.follows ? turn : null;
    }
    /** The job that is being answered, or the first that waits. */
    get active() {
        const open = [...this.turns.values()].filter((turn) => isOpen(turn));
        return open.find((turn) => turn.status === "running") ?? open[0] ?? null;
    }
    /** An ended turn is told once more: only its events know where tools and widgets stood between the words. */
    #recall(turn, event) {
        if (event.type === "stream_start" && !event.data.offset)
            this.#recalled.set(turn.id, { ...turn, follows: true });
        const again = this.#recalled.get(turn.id);
        if (!again)
            return null;
        if (event.type !== "stream_end" && event.type !== "resync") {
            grow(again, event);
            return null;
        }
        this.#recalled.delete(turn.id);
        if (event.type === "resync" || answerOf(again) !== answerOf(turn))
            return null;
        turn.blocks = again.blocks;
        return turn;
    }
    /** The history's last question is that of the job which goes on. */
    #askLast() {
        const turn = this.active;
        if (this.#unanswered && turn?.question === null)
            ask(turn, this.#unanswered);
    }
    #turn(id) {
        const known = this.turns.get(id);
        if (known)
            return known;
        const turn = {
            ...{ id, question: null, files: [], blocks: [], status: "completed", ahead: 0, waits: null, model: null },
            ...{ usage: null, error: null, finishReason: null, notice: null, started: null, ended: null },
            ...{ endSeq: null, follows: false },
        };
        this.turns.set(id, turn);
        return turn;
    }
}
export function isOpen(turn) {
    return turn.status === "queued" || turn.status === "running";
}
/** What was said before a turn, as a job takes it. What was not answered is left out: so it is in sessions. */
export function earlierTo(transcript, turn) {
    const turns = [...transcript.turns.values()];
    let question = null; // of one that was asked again, the first time
    return turns.slice(0, turns.indexOf(turn)).flatMap((before) => {
        question = before.question ?? question;
        const words = answerOf(before);
        if (!question || !words || before.status === "failed" || before.status === "expired")
            return [];
        return [{ role: "user", content: question }, { role: "assistant", content: words }];
    });
}
/** The words of the answer, as the model wrote them. */
export function answerOf(turn) {
    return joined(turn, "text");
}
function grow(turn, event) {
    switch (event.type) {
        case "job_queued":
            if (!turn.follows)
                turn.status = "queued";
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
            if (turn.follows)
                addBlock(turn, event);
    }
}
function start(turn, event) {
    const { offset = 0, provider, model } = event.data;
    if (offset === 0) {
        turn.blocks = [];
        turn.follows = true;
    }
    turn.status = "running";
    turn.waits = null;
    turn.notice = null;
    turn.started ??= event.time;
    if (model)
        turn.model = provider ? `${provider}/${model}` : model;
}
function addBlock(turn, event) {
    if (event.type === "tool_call") {
        turn.blocks.push({ kind: "tool", ...event.data });
    }
    else if (event.type === "tool_result") {
        const call = turn.blocks.find((block) => block.kind === "tool" && block.id === event.data.id);
        if (call?.kind === "tool")
            Object.assign(call, { result: event.data.content ?? null, failed: event.data.is_error });
    }
    else if (event.type === "widget") {
        turn.blocks.push({ kind: "widget", type: event.data.widget_type, data: event.data.data });
    }
    else if (event.type === "content") {
        turn.blocks.push({ kind: "content", type: event.data.content_type, data: event.data.data });
    }
}
function append(turn, kind, delta) {
    if (!turn.follows)
        return; // the end will tell all of it
    turn.notice = null;
    const last = turn.blocks.at(-1);
    if (last?.kind === kind)
        last.text += delta;
    else
        turn.blocks.push({ kind, text: delta });
}
function end(turn, data, event) {
    turn.status = data.status;
    turn.endSeq = event.seq;
    turn.ended = event.time;
    turn.notice = null;
    turn.error = data.error ?? null;
    turn.finishReason = data.finish_reason ?? null;
    turn.usage = data.usage ?? null;
    if (data.response)
        answer(turn, data.response);
    else {
        if (data.reasoning != null)
            setText(turn, "reasoning", data.reasoning);
        if (data.text != null)
            setText(turn, "text", data.text);
    }
}
function resync(turn, data) {
    turn.blocks = [];
    setText(turn, "reasoning", data.reasoning ?? "");
    setText(turn, "text", data.text ?? "");
    turn.status = data.status ?? "running";
    turn.follows = true;
}
function answer(turn, response) {
    setText(turn, "reasoning", response.reasoning ?? "");
    for (const call of response.tool_calls ?? []) {
        const known = turn.blocks.some((block) => block.kind === "tool" && block.id === call.id);
        if (!known)
            turn.blocks.push({ kind: "tool", ...call });
    }
    setText(turn, "text", response.content);
    turn.usage = response.usage ?? turn.usage;
    turn.finishReason = response.finish_reason ?? turn.finishReason;
    if (response.model)
        turn.model = response.provider ? `${response.provider}/${response.model}` : response.model;
}
/** Have the words be these. Blocks that already say them stay where they are, between tools and widgets. */
function setText(turn, kind, text) {
    if (joined(turn, kind) === text)
        return;
    turn.blocks = turn.blocks.filter((block) => block.kind !== kind);
    if (kind === "reasoning")
        turn.blocks.unshift({ kind, text });
    else
        turn.blocks.push({ kind, text });
}
function joined(turn, kind) {
    return turn.blocks.map((block) => (block.kind === kind ? block.text : "")).join("");
}
function ask(turn, said) {
    turn.question = textOf(said);
    turn.files = said.files;
}
function addSaid(turn, said) {
    if (said.widget) {
        const shown = { kind: "widget", type: said.widget.type, data: said.widget.data };
        const known = turn.blocks.some((block) => block.kind === "widget" && same(block, shown));
        if (!known)
            turn.blocks.push(shown);
    }
    else if (said.role === "assistant") {
        if (said.reasoning)
            setText(turn, "reasoning", said.reasoning);
        setText(turn, "text", textOf(said));
        if (said.metadata.partial)
            turn.status = "cancelled";
    }
    else if (said.role === "system") {
        turn.status = "failed";
        turn.error = { message: textOf(said).replace(/^Error: /, ""), code: "error" };
    }
}
function same(one, other) {
    return JSON.stringify(one) === JSON.stringify(other);
}
function textOf(said) {
    if (typeof said.content === "string")
        return said.content;
    return said.content.map((part) => part.text ?? `[${part.type}]`).join("\n");
}
