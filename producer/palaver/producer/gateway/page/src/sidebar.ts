/** The sessions on the left, and where one may begin another. */
import type { PalaverClient } from "./client.js";
import type { Listed, Session } from "./documents.js";
import { byId, h, icon } from "./dom.js";

export interface Choices {
  remove(id: string): void;
}

export class Sidebar {
  readonly #list = byId("sessions");
  readonly #panel = byId("sidebar");
  readonly #menu = byId<HTMLButtonElement>("menu");
  #current: string | null = null;
  #sessions: Session[] = [];
  #pages = 1;
  #more = false;

  constructor(
    readonly client: PalaverClient,
    readonly choices: Choices,
  ) {
    this.#menu.addEventListener("click", () => this.open(!this.isOpen));
    byId("shade").addEventListener("click", () => this.open(false));
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isOpen) this.open(false);
    });
  }

  get isOpen(): boolean {
    return this.#menu.getAttribute("aria-expanded") === "true";
  }

  /** On a narrow screen the list lies over the chat. */
  open(is: boolean): void {
    this.#menu.setAttribute("aria-expanded", String(is));
    document.body.classList.toggle("sidebar-open", is);
    if (is) this.#panel.querySelector<HTMLElement>("a, button")?.focus();
    else if (this.#panel.contains(document.activeElement)) this.#menu.focus();
  }

  set current(id: string | null) {
    this.#current = id;
    this.#show();
  }

  async refresh(): Promise<void> {
    const sessions: Session[] = [];
    let after: string | null = null;
    for (let page = 0; page < this.#pages; page++) {
      const listed: Listed<Session> = await this.client.sessions(after);
      sessions.push(...listed.items);
      after = listed.after;
      if (after === null) break;
    }
    this.#sessions = sessions;
    this.#more = after !== null;
    this.#show();
  }

  #show(): void {
    const days = new Map<string, HTMLElement[]>();
    for (const session of this.#sessions) {
      const day = dayOf(session.created ?? 0);
      days.set(day, [...(days.get(day) ?? []), this.#item(session)]);
    }
    const groups = [...days].map(([day, items]) => h("li", {}, h("h3", {}, day), h("ul", {}, ...items)));
    if (groups.length === 0) groups.push(h("li", { class: "none" }, "No chats yet."));
    if (this.#more) groups.push(h("li", {}, h("button", { type: "button", class: "older quiet", onclick: () => this.#showOlder() }, "Older chats")));
    this.#list.replaceChildren(...groups);
  }

  #showOlder(): void {
    this.#pages++;
    void this.refresh();
  }

  #item(session: Session): HTMLElement {
    const id = session.session_id;
    const name = titleOf(session);
    const link = h("a", { href: `#${encodeURIComponent(id)}`, title: name, onclick: () => this.open(false) }, name);
    if (id === this.#current) link.setAttribute("aria-current", "page");
    const remove = h("button", { type: "button", class: "quiet", "aria-label": `Delete ${name}`, title: "Delete" }, icon("trash"));
    remove.addEventListener("click", () => {
      if (confirm(`Delete “${name}” for good?`)) this.choices.remove(id);
    });
    return h("li", {}, link, remove);
  }
}

/** What it is called in lists. */
export function titleOf(session: Session): string {
  const named = session.context.title;
  return typeof named === "string" && named.trim() ? named : (session.agent ?? "Chat");
}

function dayOf(seconds: number): string {
  const date = new Date(seconds * 1000);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? "This week" : date.toLocaleDateString(undefined, { month: "long", year: "numeric" });
}
