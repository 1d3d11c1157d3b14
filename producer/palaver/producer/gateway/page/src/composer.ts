/** Where questions are written: text, files, and the model that is to answer. */
import { GatewayError, type PalaverClient } from "./client.js";
import type { FileObject } from "./documents.js";
import { byId, h, icon } from "./dom.js";

export interface Question {
  text: string;
  files: FileObject[];
}

export interface Handlers {
  /** Resolves once it is taken; until then, and if it throws, the text stays. */
  send(question: Question): Promise<void>;
  stop(): void;
  /** The text is another one now. */
  edited(): void;
  editLast(): void;
  say(words: string): void;
  /** Tell why it is not sent. */
  refuse(words: string): void;
}

const DRAFT = "palaver.draft.";

export class Composer {
  readonly #text = byId<HTMLTextAreaElement>("text");
  readonly #form = byId<HTMLFormElement>("composer");
  readonly #send = byId<HTMLButtonElement>("send");
  readonly #stop = byId<HTMLButtonElement>("stop");
  readonly #list = byId<HTMLUListElement>("attached");
  readonly #banner = byId("editing");
  readonly #files = new Map<HTMLElement, FileObject>();
  readonly #uploads = new Set<Promise<void>>();
  #draft = "";
  #sending = false;

  constructor(
    readonly client: PalaverClient,
    readonly handlers: Handlers,
  ) {
    this.#form.addEventListener("submit", (event) => (event.preventDefault(), void this.#submit()));
    this.#text.addEventListener("input", () => (this.handlers.edited(), this.#changed()));
    this.#text.addEventListener("keydown", (event) => this.#key(event));
    this.#stop.addEventListener("click", () => handlers.stop());
    const picker = byId<HTMLInputElement>("picker");
    byId("attach").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => (this.attach(picker.files), (picker.value = "")));
    this.#text.addEventListener("paste", (event) => this.attach(event.clipboardData?.files));
    byId("edit-off").addEventListener("click", () => this.write("", { editing: false }));
    this.#takeDrops();
  }

  /** Whether an answer goes on, which may be stopped. */
  set answering(is: boolean) {
    this.#stop.hidden = !is;
  }

  /** The chat in which is written. What was not sent is kept for each, as long as the tab. */
  enter(id: string | null): void {
    this.#draft = DRAFT + (id ?? "");
    this.#text.value = sessionStorage.getItem(this.#draft) ?? "";
    this.#banner.hidden = true;
    this.#changed();
  }

  write(text: string, { editing }: { editing: boolean }): void {
    this.#text.value = text;
    this.#banner.hidden = !editing;
    this.#changed();
    this.focus();
  }

  focus(): void {
    this.#text.focus();
    this.#text.setSelectionRange(this.#text.value.length, this.#text.value.length);
  }

  attach(files: FileList | null | undefined): void {
    for (const file of files ?? []) {
      const upload = this.#upload(file);
      this.#uploads.add(upload);
      void upload.finally(() => this.#uploads.delete(upload));
    }
  }

  async #upload(file: File): Promise<void> {
    const state = h("span", { class: "size" }, "uploading…");
    const remove = h("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}` }, icon("close"));
    const item = h("li", {}, icon("file"), h("span", { class: "name" }, file.name), state, remove);
    const giveUp = new AbortController();
    remove.addEventListener("click", () => (giveUp.abort(), this.#files.delete(item), item.remove()));
    this.#list.append(item);
    try {
      const stored = await this.client.upload(file, giveUp.signal);
      this.#files.set(item, stored);
      state.textContent = size(stored.bytes);
      this.handlers.say(`${file.name} is attached.`);
    } catch (error) {
      if (giveUp.signal.aborted) return; // nobody wants it any more: nothing is to wait for it
      if (!(error instanceof GatewayError)) throw error;
      item.classList.add("wrong");
      state.textContent = error.message;
      this.handlers.say(`${file.name} was not attached: ${error.message}`);
    }
  }

  async #submit(): Promise<void> {
    const text = this.#text.value.trim();
    if (this.#sending) return;
    if (text === "") return this.#list.childElementCount ? this.handlers.refuse("Say what is to be done with the files.") : undefined;
    this.#sending = this.#send.disabled = true;
    try {
      await Promise.all(this.#uploads);
      if (this.#list.querySelector(".wrong")) return this.handlers.refuse("A file was not attached: remove it, or attach it again.");
      const sent = [...this.#files];
      await this.handlers.send({ text, files: sent.map(([, file]) => file) });
      for (const [item] of sent) (this.#files.delete(item), item.remove()); // others came meanwhile
      if (this.#text.value.trim() === text) this.write("", { editing: false });
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error; // it has been told, and the text is still there
    } finally {
      this.#sending = this.#send.disabled = false;
    }
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      void this.#submit();
    } else if (event.key === "ArrowUp" && this.#text.value === "") {
      event.preventDefault();
      this.handlers.editLast();
    }
  }

  #takeDrops(): void {
    const overlay = byId("drop");
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    window.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      overlay.hidden = false;
    });
    window.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) overlay.hidden = true;
    });
    window.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      overlay.hidden = true;
      this.attach(event.dataTransfer?.files);
    });
  }

  #changed(): void {
    if (this.#banner.hidden) sessionStorage.setItem(this.#draft, this.#text.value);
    this.#text.rows = Math.min(10, Math.max(1, this.#text.value.split("\n").length));
  }
}

function size(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}
