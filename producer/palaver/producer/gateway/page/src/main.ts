/** The page: puts sidebar, conversation and composer together. The address names the session: `/#ID`. */
import { GatewayError, PalaverClient, randomName, type NewMessage } from "./client.js";
import { Composer, type Question } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, h } from "./dom.js";
import { forgetKey, keepKey, storedKey } from "./keys.js";
import { ModelChoice } from "./model_choice.js";
import { Sidebar, titleOf } from "./sidebar.js";
import { earlierTo, type Turn } from "./transcript.js";
import { dollars, TurnView } from "./turn_view.js";

const TITLE_LENGTH = 60;
const NEAR = 120; // pixels from the end, within which the end is what one looks at
const BLINK = 1_000; // milliseconds in which a connection is made again unnoticed

interface Asked {
  what: string;
  id: string;
  name: string;
}

class Page {
  readonly #client = new PalaverClient({ key: storedKey });
  readonly #sidebar = new Sidebar(this.#client, { remove: (id) => void this.#remove(id) });
  readonly #models = new ModelChoice(this.#client);
  readonly #composer = new Composer(this.#client, {
    send: (question) => this.#send(question),
    stop: () => void this.#stop(),
    edited: () => (this.#asked = null), // whoever types it again wants it asked again
    editLast: () => this.#editLast(),
    say: (words) => this.#say(words),
    refuse: (words) => this.#show("trouble", words),
  });
  readonly #scroll = byId("scroll");
  readonly #turns = byId("turns");
  readonly #views = new Map<string, TurnView>();
  readonly #fileNames = new Map<string, string>();
  readonly #dirty = new Set<string>();
  #conversation: Conversation | null = null;
  #editing: Turn | null = null;
  /** A question that may have been taken although the gateway did not say so. */
  #asked: Asked | null = null;
  #frame = 0;
  #blink = 0;
  #atEnd = true;

  async start(): Promise<void> {
    window.addEventListener("hashchange", () => this.#open());
    window.addEventListener("online", () => this.#client.doubt());
    window.addEventListener("offline", () => this.#client.cut());
    window.addEventListener("focus", () => void this.#refresh());
    document.addEventListener("visibilitychange", () => document.hidden || this.#client.doubt());
    window.addEventListener("keydown", (event) => this.#key(event));
    this.#scroll.addEventListener("scroll", () => this.#showEnd(this.#isAtEnd()), { passive: true });
    byId("down").addEventListener("click", () => this.#goToEnd());
    byId("new").addEventListener("click", () => (this.#goTo(null), this.#sidebar.open(false), this.#composer.focus()));
    byId("edit-off").addEventListener("click", () => (this.#editing = null));
    byId("skip").addEventListener("click", (event) => (event.preventDefault(), this.#composer.focus()));
    byId("key-form").addEventListener("submit", () => this.#takeKey());
    byId("forget").addEventListener("click", () => (forgetKey(), location.reload()));
    byId("forget").hidden = storedKey() === null;
    this.#open();
    if (matchMedia("(pointer: fine)").matches) this.#composer.focus();
    await this.#refresh();
  }

  async #refresh(): Promise<void> {
    await this.#told(async () => {
      await Promise.all([this.#sidebar.refresh(), this.#models.refresh()]);
      this.#showTitle();
    });
  }

  #goTo(id: string | null): void {
    location.hash = id === null ? "" : encodeURIComponent(id);
  }

  /** Show the session that the address names. */
  #open(): void {
    const id = named(location.hash);
    if (id === (this.#conversation?.id ?? null) && id !== null) return;
    this.#conversation?.close();
    this.#conversation = null;
    this.#connected(true);
    this.#editing = null;
    this.#views.clear();
    this.#turns.replaceChildren();
    this.#sidebar.current = id;
    this.#composer.enter(id);
    this.#atEnd = true;
    this.#show("trouble", "");
    this.#models.agent = null;
    if (id !== null) this.#follow(id);
    this.#showTitle();
    this.#draw();
  }

  #follow(id: string): void {
    const conversation: Conversation = new Conversation(this.#client, id, {
      changed: (turn) => this.#changed(conversation, turn),
      ended: (turn) => this.#say(turn.status === "completed" ? "The answer is complete." : `The answer ended: ${turn.status}.`),
      connected: (is) => this.#conversation === conversation && this.#connected(is),
      refused: (error) => this.#conversation === conversation && this.#failed(error),
    });
    this.#conversation = conversation;
    void conversation.run();
  }

  #connected(is: boolean): void {
    clearTimeout(this.#blink);
    if (is) this.#show("offline", "");
    else this.#blink = setTimeout(() => this.#show("offline", "Connecting again…"), BLINK);
  }

  /** Turns are drawn once a frame, however many events it brought. */
  #changed(conversation: Conversation, turn: Turn | null): void {
    if (conversation !== this.#conversation) return;
    for (const id of turn ? [turn.id] : conversation.transcript.turns.keys()) this.#dirty.add(id);
    if (turn === null) {
      this.#models.agent = conversation.session?.agent ?? null;
      this.#showTitle();
    }
    // A hidden tab has no frames; what it shows when one comes back to it must be there.
    if (document.hidden) this.#draw();
    else this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    this.#frame = 0;
    const turns = this.#conversation?.transcript.turns ?? new Map<string, Turn>();
    for (const id of this.#dirty) {
      const turn = turns.get(id);
      if (turn) this.#drawTurn(turn);
    }
    this.#dirty.clear();
    this.#composer.answering = Boolean(this.#conversation?.transcript.active);
    byId("welcome").hidden = this.#conversation !== null;
    this.#showSum([...turns.values()]);
    if (this.#atEnd) this.#goToEnd();
  }

  #goToEnd(): void {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#showEnd(true);
  }

  /** Who reads further up is not carried off by new words, and has a way back to them. */
  #showEnd(is: boolean): void {
    this.#atEnd = is;
    byId("down").hidden = is;
  }

  #drawTurn(turn: Turn): void {
    const view = this.#views.get(turn.id);
    if (view) return view.update(turn);
    const made = new TurnView(turn, {
      edit: (asked) => this.#edit(asked),
      retry: (asked) => void this.#retry(asked),
      fileName: (id) => this.#fileName(id),
    });
    this.#views.set(turn.id, made);
    this.#turns.append(made.element);
  }

  /** Of a file that was not attached here, the name is asked for. */
  #fileName(id: string): string {
    const known = this.#fileNames.get(id);
    if (known !== undefined) return known;
    this.#fileNames.set(id, "File");
    void this.#client.file(id).then(
      (file) => {
        this.#fileNames.set(id, file.filename);
        if (this.#conversation) this.#changed(this.#conversation, null);
      },
      () => {}, // it may be gone
    );
    return "File";
  }

  async #send({ text, files }: Question): Promise<void> {
    await this.#told(async () => {
      const edited = this.#editing;
      const earlier = edited && this.#conversation ? earlierTo(this.#conversation.transcript, edited) : [];
      for (const file of files) this.#fileNames.set(file.id, file.filename);
      const stored = [...(edited?.files ?? []), ...files.map((file) => file.id)];
      const message = { content: text, files: stored, ...this.#models.chosen, ...(earlier.length ? { earlier } : {}) };
      const { id, name } = await this.#asking(edited ? null : (this.#conversation?.id ?? null), message);
      const accepted = await this.#client.sayOnce(id, { ...message, idempotencyKey: name });
      this.#asked = null;
      this.#editing = null;
      this.#atEnd = true;
      if (this.#conversation?.id === id) this.#conversation.asked(accepted.job_id, text, message.files);
      else this.#goTo(id);
      void this.#refresh();
    });
  }

  /** Where it is asked, null: in a chat of its own; and by which name. Once more, it is the same chat and name. */
  async #asking(here: string | null, message: NewMessage): Promise<Asked> {
    const what = JSON.stringify([here, message, this.#models.chosenAgent]);
    if (this.#asked?.what !== what) {
      this.#asked = { what, id: here ?? (await this.#openSession(message.content)), name: randomName() };
    }
    return this.#asked;
  }

  async #openSession(text: string): Promise<string> {
    const line = text.split("\n", 1)[0] ?? "";
    const title = line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1)}…` : line;
    const session = await this.#client.openSession({ context: { title }, ...this.#models.chosenAgent });
    return session.session_id;
  }

  async #stop(): Promise<void> {
    const turn = this.#conversation?.transcript.active;
    if (turn) await this.#told(() => this.#client.cancel(turn.id));
  }

  async #retry(turn: Turn): Promise<void> {
    await this.#told(async () => {
      await this.#client.retry(turn.id); // its events show it
      this.#atEnd = true;
    });
  }

  async #remove(id: string): Promise<void> {
    await this.#told(() => this.#client.deleteSession(id));
    if (id === this.#asked?.id) this.#asked = null;
    if (id === this.#conversation?.id) this.#goTo(null);
    await this.#refresh();
  }

  #edit(turn: Turn): void {
    this.#editing = turn;
    this.#composer.write(turn.question ?? "", { editing: true });
  }

  #editLast(): void {
    const asked = [...(this.#conversation?.transcript.turns.values() ?? [])].filter((turn) => turn.question);
    const last = asked.at(-1);
    if (last) this.#edit(last);
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Escape" && !this.#sidebar.isOpen && !event.defaultPrevented) void this.#stop();
    if (event.altKey && event.key.toLowerCase() === "n") (event.preventDefault(), byId("new").click());
    const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
    if (event.key === "/" && !typing) (event.preventDefault(), this.#composer.focus());
  }

  /** Do something, and tell what went wrong; it is thrown on. */
  async #told<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await work();
      this.#show("trouble", "");
      return result;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.#failed(error);
      throw error;
    }
  }

  #failed(error: GatewayError): void {
    if (error.status === 401) byId<HTMLDialogElement>("key-dialog").open || byId<HTMLDialogElement>("key-dialog").showModal();
    else this.#show("trouble", error.message);
  }

  #takeKey(): void {
    keepKey(byId<HTMLInputElement>("key").value.trim(), byId<HTMLInputElement>("remember").checked);
    location.reload();
  }

  #show(id: "trouble" | "offline", words: string): void {
    byId(id).hidden = words === "";
    byId(id).textContent = words;
  }

  #showTitle(): void {
    const session = this.#conversation?.session;
    const title = session ? titleOf(session) : this.#conversation ? "Chat" : "New chat";
    byId("title").textContent = title;
    document.title = `${title} · Palaver`;
  }

  #showSum(turns: Turn[]): void {
    const sum = (of: (turn: Turn) => number | null | undefined) => turns.reduce((total, turn) => total + (of(turn) ?? 0), 0);
    const tokens = sum((turn) => turn.usage?.total_tokens);
    const cost = sum((turn) => turn.usage?.cost);
    byId("sum").replaceChildren(tokens ? h("span", {}, `${tokens.toLocaleString()} tokens${cost ? ` · ${dollars(cost)}` : ""}`) : "");
  }

  /** For who does not see the screen. */
  #say(words: string): void {
    byId("status").textContent = words;
  }

  #isAtEnd(): boolean {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }
}

/** The session that an address names, also one that somebody typed. */
function named(hash: string): string | null {
  try {
    return decodeURIComponent(hash.slice(1)) || null;
  } catch {
    return hash.slice(1);
  }
}

window.addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof GatewayError) event.preventDefault(); // it was told where it happened
});
void new Page().start();
