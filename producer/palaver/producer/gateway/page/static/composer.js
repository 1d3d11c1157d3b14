/** Where questions are written: text, files, and the model that is to answer. */
import { GatewayError } from "./client.js";
import { byId, h, icon } from "./dom.js";
const DRAFT = "palaver.draft.";
export class Composer {
    client;
    handlers;
    #text = byId("text");
    #form = byId("composer");
    #send = byId("send");
    #stop = byId("stop");
    #list = byId("attached");
    #banner = byId("editing");
    #files = new Map();
    #uploads = new Set();
    #draft = "";
    #sending = false;
    constructor(client, handlers) {
        this.client = client;
        this.handlers = handlers;
        this.#form.addEventListener("submit", (event) => (event.preventDefault(), void this.#submit()));
        this.#text.addEventListener("input", () => (this.handlers.edited(), this.#changed()));
        this.#text.addEventListener("keydown", (event) => this.#key(event));
        this.#stop.addEventListener("click", () => handlers.stop());
        const picker = byId("picker");
        byId("attach").addEventListener("click", () => picker.click());
        picker.addEventListener("change", () => (this.attach(picker.files), (picker.value = "")));
        this.#text.addEventListener("paste", (event) => this.attach(event.clipboardData?.files));
        byId("edit-off").addEventListener("click", () => this.write("", { editing: false }));
        this.#takeDrops();
    }
    /** Whether an answer goes on, which may be stopped. */
    set answering(is) {
        this.#stop.hidden = !is;
    }
    /** The chat in which is written. What was not sent is kept for each, as long as the tab. */
    enter(id) {
        this.#draft = DRAFT + (id ?? "");
        this.#text.value = sessionStorage.getItem(this.#draft) ?? "";
        this.#banner.hidden = true;
        this.#changed();
    }
    write(text, { editing }) {
        this.#text.value = text;
        this.#banner.hidden = !editing;
        this.#changed();
        this.focus();
    }
    focus() {
        this.#text.focus();
        this.#text.setSelectionRange(this.#text.value.length, this.#text.value.length);
    }
    attach(files) {
        for (const file of files ?? []) {
            const upload = this.#upload(file);
            this.#uploads.add(upload);
            void upload.finally(() => this.#uploads.delete(upload));
        }
    }
    async #upload(file) {
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
        }
        catch (error) {
            if (giveUp.signal.aborted)
                return; // nobody wants it any more: nothing is to wait for it
            if (!(error instanceof GatewayError))
                throw error;
            item.classList.add("wrong");
            state.textContent = error.message;
            this.handlers.say(`${file.name} was not attached: ${error.message}`);
        }
    }
    async #submit() {
        const text = this.#text.value.trim();
        if (this.#sending)
            return;
        if (text === "")
            return this.#list.childElementCount ? this.handlers.refuse("Say what is to be done with the files.") : undefined;
        this.#sending = this.#send.disabled = true;
        try {
            await Promise.all(this.#uploads);
            if (this.#list.querySelector(".wrong"))
                return this.handlers.refuse("A file was not attached: remove it, or attach it again.");
            const sent = [...this.#files];
            await this.handlers.send({ text, files: sent.map(([, file]) => file) });
            for (const [item] of sent)
                (this.#files.delete(item), item.remove()); // others came meanwhile
            if (this.#text.value.trim() === text)
                this.write("", { editing: false });
        }
        catch (error) {
            if (!(error instanceof GatewayError))
                throw error; // it has been told, and the text is still there
        }
        finally {
            this.#sending = this.#send.disabled = false;
        }
    }
    #key(event) {
        if (event.isComposing)
            return;
        if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            void this.#submit();
        }
        else if (event.key === "ArrowUp" && this.#text.value === "") {
            event.preventDefault();
            this.handlers.editLast();
        }
    }
    #takeDrops() {
        const overlay = byId("drop");
        const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
        window.addEventListener("dragover", (event) => {
            if (!hasFiles(event))
                return;
            event.preventDefault();
            overlay.hidden = false;
        });
        window.addEventListener("dragleave", (event) => {
            if (event.relatedTarget === null)
                overlay.hidden = true;
        });
        window.addEventListener("drop", (event) => {
            if (!hasFiles(event))
                return;
            event.preventDefault();
            overlay.hidden = true;
            this.attach(event.dataTransfer?.files);
        });
    }
    #changed() {
        if (this.#banner.hidden)
            sessionStorage.setItem(this.#draft, this.#text.value);
        this.#text.rows = Math.min(10, Math.max(1, this.#text.value.split("\n").length));
    }
}
function size(bytes) {
    return bytes < 1024 ? `${bytes} B` : bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}
