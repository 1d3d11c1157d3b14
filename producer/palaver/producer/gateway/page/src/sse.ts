/** Server-sent events: text in, messages out. Pure. https://html.spec.whatwg.org/multipage/server-sent-events.html */

export interface Message {
  /** The last `id` that was told, in this message or in one before it. */
  id: string;
  data: string;
}

export class SseDecoder {
  /** How long to wait before coming back, in milliseconds, if the server has said so. */
  retry: number | undefined;
  #rest = "";
  #id = "";
  #data: string[] = [];

  /** The messages that a piece of the stream completes; pieces may be cut anywhere. */
  push(piece: string): Message[] {
    const text = this.#rest + piece;
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  #line(line: string): Message | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return undefined; // comments and unknown fields say nothing
  }

  #dispatch(): Message | undefined {
    const data = this.#data;
    this.#data = [];
    return data.length ? { id: this.#id, data: data.join("\n") } : undefined;
  }
}
