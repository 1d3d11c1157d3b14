/** Who is to answer: a model, or in a new session an agent. The last choice is kept on this device. */
import type { PalaverClient } from "./client.js";
import { byId, h } from "./dom.js";

const NAME = "palaver.model";
const AGENT = "agent:";

export class ModelChoice {
  readonly #select = byId<HTMLSelectElement>("model");
  #models: string[] = [];
  #agents: string[] = [];
  #agent: string | null = null;

  constructor(readonly client: PalaverClient) {
    this.#select.addEventListener("change", () => localStorage.setItem(NAME, this.#select.value));
  }

  /** The agent of the session on the screen: it answers, whatever is chosen. */
  set agent(path: string | null) {
    if (path === this.#agent) return;
    this.#agent = path;
    this.#show();
  }

  get chosen(): { model?: string } {
    const value = this.#select.value;
    return this.#agent !== null || value === "" || value.startsWith(AGENT) ? {} : { model: value };
  }

  get chosenAgent(): { agent?: string } {
    const value = this.#select.value;
    return value.startsWith(AGENT) ? { agent: value.slice(AGENT.length) } : {};
  }

  async refresh(): Promise<void> {
    [this.#models, this.#agents] = await Promise.all([this.client.models(), this.client.agents()]);
    this.#show();
  }

  #show(): void {
    const options = this.#models.map((model) => h("option", { value: model }, model));
    const agents = this.#agents.map((path) => h("option", { value: AGENT + path }, path));
    if (this.#agent !== null) this.#select.replaceChildren(h("option", { value: AGENT + this.#agent }, this.#agent));
    else {
      const none = h("option", { value: "" }, "Default model");
      const groups = [group("Models", options), group("Agents", agents)].filter((one) => one.children.length);
      this.#select.replaceChildren(...(this.#models.includes("default") ? [] : [none]), ...groups);
    }
    this.#select.disabled = this.#agent !== null;
    const wanted = localStorage.getItem(NAME);
    const has = (value: string | null) => [...this.#select.options].some((option) => option.value === value);
    if (this.#agent === null) this.#select.value = has(wanted) ? wanted! : has("default") ? "default" : "";
  }
}

function group(label: string, options: HTMLOptionElement[]): HTMLOptGroupElement {
  return h("optgroup", { label }, ...options);
}
