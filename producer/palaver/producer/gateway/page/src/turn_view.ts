/** One turn on the screen: what was asked, what was answered, and what may be done with it. */
import { h, icon } from "./dom.js";
import { copyButton, MarkdownView } from "./markdown.js";
import { answerOf, isOpen, type Block, type Turn } from "./transcript.js";
import { widgetView } from "./widgets.js";

export interface Actions {
  edit(turn: Turn): void;
  retry(turn: Turn): void;
  fileName(id: string): string;
}

interface Shown {
  kind: Block["kind"];
  element: HTMLElement;
  update(block: Block): void;
}

export class TurnView {
  readonly element = h("section", { class: "turn" });
  readonly #question = h("div", { class: "question" });
  readonly #answer = h("article", { class: "answer", "aria-label": "Answer" });
  readonly #blocks = h("div", { class: "blocks" });
  readonly #state = h("p", { class: "state" });
  readonly #footer = h("footer", { class: "facts" });
  readonly #actions: Actions;
  #shown: Shown[] = [];
  #asked: string | undefined;
  #told: string | undefined;

  constructor(turn: Turn, actions: Actions) {
    this.#actions = actions;
    this.element.dataset["job"] = turn.id;
    this.#answer.append(this.#blocks, this.#state, this.#footer);
    this.element.append(this.#question, this.#answer);
    this.update(turn);
  }

  update(turn: Turn): void {
    this.#showQuestion(turn);
    this.#showBlocks(turn);
    this.element.dataset["status"] = turn.status;
    this.#answer.setAttribute("aria-busy", String(isOpen(turn)));
    this.#state.replaceChildren(...stateOf(turn));
    this.#state.hidden = this.#state.childNodes.length === 0;
    this.#showFooter(turn);
  }

  #showQuestion(turn: Turn): void {
    const names = turn.files.map((id) => this.#actions.fileName(id));
    const asked = JSON.stringify([turn.question, names]);
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#question.hidden = turn.question === null;
    const files = names.map((name) => h("li", {}, icon("file"), name));
    const edit = h("button", { type: "button", class: "quiet", title: "Edit and ask again", onclick: () => this.#actions.edit(turn) });
    edit.append(icon("edit"), h("span", { class: "words" }, "Edit"));
    this.#question.replaceChildren(
      h("h2", { class: "unseen" }, "You"),
      h("div", { class: "bubble" }, turn.question ?? ""),
      ...(files.length ? [h("ul", { class: "files", "aria-label": "Files" }, ...files)] : []),
      h("div", { class: "tools" }, edit, copyButton(() => turn.question ?? "", "Copy question")),
    );
  }

  #showBlocks(turn: Turn): void {
    turn.blocks.forEach((block, index) => {
      let shown = this.#shown[index];
      if (shown?.kind !== block.kind) {
        for (const old of this.#shown.splice(index)) old.element.remove();
        shown = makeBlock(block);
        this.#shown.push(shown);
        this.#blocks.append(shown.element);
      }
      shown.update(block);
    });
    for (const old of this.#shown.splice(turn.blocks.length)) old.element.remove();
  }

  #showFooter(turn: Turn): void {
    const facts = isOpen(turn) ? "" : factsOf(turn).map(unbroken).join(" · ");
    const told = `${turn.status} ${facts}`;
    if (told === this.#told) return;
    this.#told = told;
    this.#footer.hidden = isOpen(turn);
    const retry = h("button", { type: "button", class: "quiet", title: "Ask this again", onclick: () => this.#actions.retry(turn) });
    retry.append(icon("retry"), h("span", { class: "words" }, "Ask again"));
    this.#footer.replaceChildren(
      h("span", { class: "numbers" }, facts),
      ...(answerOf(turn) ? [copyButton(() => answerOf(turn), "Copy answer")] : []),
      ...(turn.id.startsWith("message-") ? [] : [retry]),
    );
  }
}

function makeBlock(block: Block): Shown {
  switch (block.kind) {
    case "text":
      return textBlock();
    case "reasoning":
      return reasoningBlock();
    case "tool":
      return toolBlock();
    default:
      return objectBlock(block.kind);
  }
}

function textBlock(): Shown {
  const view = new MarkdownView();
  let text: string | undefined;
  return {
    kind: "text",
    element: view.element,
    update(block) {
      if (block.kind === "text" && block.text !== text) view.show((text = block.text));
    },
  };
}

function reasoningBlock(): Shown {
  const words = h("div", { class: "reasoning" });
  return {
    kind: "reasoning",
    element: h("details", { class: "fold" }, h("summary", {}, icon("thought"), "Reasoning"), words),
    update(block) {
      if (block.kind === "reasoning" && block.text !== words.textContent) words.textContent = block.text;
    },
  };
}

function toolBlock(): Shown {
  const summary = h("summary");
  const body = h("div", { class: "call" });
  const element = h("details", { class: "fold" }, summary, body);
  let told: string | undefined;
  return {
    kind: "tool",
    element,
    update(block) {
      const text = JSON.stringify(block);
      if (block.kind !== "tool" || text === told) return;
      told = text;
      const state = block.failed ? "failed" : block.result === undefined ? "called" : "done";
      summary.replaceChildren(icon("tool"), h("code", {}, block.name), h("span", { class: `badge ${state}` }, state));
      body.replaceChildren(h("h3", {}, "Arguments"), pretty(block.arguments, "Arguments"));
      if (block.result !== undefined) body.append(h("h3", {}, "Result"), pretty(block.result, "Result"));
    },
  };
}

function objectBlock(kind: "widget" | "content"): Shown {
  const element = h("div", { class: "widget" });
  let told: string | undefined;
  return {
    kind,
    element,
    update(block) {
      const text = JSON.stringify(block);
      if ((block.kind !== "widget" && block.kind !== "content") || text === told) return;
      told = text;
      element.replaceChildren(widgetView(block.type, block.data));
    },
  };
}

/** Any value, as it is read best. */
export function pretty(value: unknown, label: string): HTMLElement {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return h("pre", { tabindex: "0", "aria-label": label }, text);
}

function stateOf(turn: Turn): (Node | string)[] {
  if (turn.status === "queued" || (turn.waits && isOpen(turn))) return [h("span", { class: "pulse" }), turn.notice ?? placeOf(turn)];
  if (turn.status === "running") return [h("span", { class: "pulse" }), turn.notice ?? (turn.blocks.length ? "" : "Thinking…")];
  if (turn.error && turn.status !== "cancelled") return [h("strong", { class: "wrong" }, turn.error.message)];
  if (turn.status === "cancelled") return [h("em", {}, "Stopped.")];
  if (turn.finishReason === "length") return [h("em", {}, "The answer was cut at its longest length.")];
  return [];
}

/** Where a question stands that waits: in its chat, or else among all. */
function placeOf({ ahead, waits }: Turn): string {
  if (ahead > 0) return `Waiting: ${ahead} ahead in this chat`;
  if (waits === null) return "Waiting for a worker…";
  const place = waits.position > 0 ? `Waiting: ${waits.position.toLocaleString()} ahead` : "Waiting: next in line";
  return waits.seconds ? `${place}, ${duration(waits.seconds)}` : place;
}

/** About how long, with no more exactness than there is. */
export function duration(seconds: number): string {
  if (seconds < 60) return `about ${Math.max(5, Math.ceil(seconds / 5) * 5)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `about ${minutes} min` : `about ${Math.ceil(minutes / 60)} h`;
}

function factsOf({ model, usage, started, ended }: Turn): string[] {
  const facts = model ? [model] : [];
  if (usage?.total_tokens != null) facts.push(`${usage.estimated ? "about " : ""}${usage.total_tokens.toLocaleString()} tokens`);
  if (usage?.cost != null) facts.push(dollars(usage.cost));
  if (usage?.from_cache) facts.push("from the cache");
  if (started !== null && ended !== null) facts.push(`${Math.max(0, ended - started).toFixed(1)} s`);
  return facts;
}

/** A figure stays with its unit. */
function unbroken(fact: string): string {
  return fact.replaceAll(" ", "\u00a0");
}

/** US dollars, with the digits that matter. */
export function dollars(cost: number): string {
  return cost >= 0.01 || cost === 0 ? `$${cost.toFixed(2)}` : `$${Number(cost.toPrecision(2))}`;
}
