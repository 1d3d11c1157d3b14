import { byId, h, icon } from "./dom.js";
export class Sidebar {
    client;
    choices;
    #list = byId("sessions");
    #panel = byId("sidebar");
    #menu = byId("menu");
    #current = null;
    #sessions = [];
    #pages = 1;
    #more = false;
    constructor(client, choices) {
        this.client = client;
        this.choices = choices;
        this.#menu.addEventListener("click", () => this.open(!this.isOpen));
        byId("shade").addEventListener("click", () => this.open(false));
        this.#panel.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && this.isOpen)
                this.open(false);
        });
    }
    get isOpen() {
        return this.#menu.getAttribute("aria-expanded") === "true";
    }
    /** On a narrow screen the list lies over the chat. */
    open(is) {
        this.#menu.setAttribute("aria-expanded", String(is));
        document.body.classList.toggle("sidebar-open", is);
        if (is)
            this.#panel.querySelector("a, button")?.focus();
        else if (this.#panel.contains(document.activeElement))
            this.#menu.focus();
    }
    set current(id) {
        this.#current = id;
        this.#show();
    }
    async refresh() {
        const sessions = [];
        let after = null;
        for (let page = 0; page < this.#pages; page++) {
            const listed = await this.client.sessions(after);
            sessions.push(...listed.items);
            after = listed.after;
            if (after === null)
                break;
        }
        this.#sessions = sessions;
        this.#more = after !== null;
        this.#show();
    }
    #show() {
        const days = new Map();
        for (const session of this.#sessions) {
            const day = dayOf(session.created ?? 0);
            days.set(day, [...(days.get(day) ?? []), this.#item(session)]);
        }
        const groups = [...days].map(([day, items]) => h("li", {}, h("h3", {}, day), h("ul", {}, ...items)));
        if (groups.length === 0)
            groups.push(h("li", { class: "none" }, "No chats yet."));
        if (this.#more)
            groups.push(h("li", {}, h("button", { type: "button", class: "older quiet", onclick: () => this.#showOlder() }, "Older chats")));
        this.#list.replaceChildren(...groups);
    }
    #showOlder() {
        this.#pages++;
        void this.refresh();
    }
    #item(session) {
        const id = session.session_id;
        const name = titleOf(session);
        const link = h("a", { href: `#${encodeURIComponent(id)}`, title: name, onclick: () => this.open(false) }, name);
        if (id === this.#current)
            link.setAttribute("aria-current", "page");
        const remove = h("button", { type: "button", class: "quiet", "aria-label": `Delete ${name}`, title: "Delete" }, icon("trash"));
        remove.addEventListener("click", () => {
            if (confirm(`Delete “${name}” for good?`))
                this.choices.remove(id);
        });
        return h("li", {}, link, remove);
    }
}
/** What it is called in lists. */
export function titleOf(session) {
    const named = session.context.title;
    return typeof named === "string" && named.trim() ? named : (session.agent ?? "Chat");
}
function dayOf(seconds) {
    const date = new Date(seconds * 1000);
    const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
    if (days <= 0)
        return "Today";
    if (days === 1)
        return "Yesterday";
    return days < 7 ? "This week" : date.toLocaleDateString(undefined, { month: "long", year: "numeric" });
}
