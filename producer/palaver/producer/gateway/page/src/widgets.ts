/**
 * Components that agents show. An agent says a kind and its data; the page knows a few kinds and shows the data of
 * all others as they are. To show one of your own, add it to `VIEWS`.
 */
import { h } from "./dom.js";

type View = (data: Record<string, unknown>) => HTMLElement | null;

const SAFE_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;

const VIEWS: Record<string, View> = {
  /** `{title?, columns: [name], rows: [[value]]}` */
  table: ({ columns, rows }) => {
    if (!Array.isArray(columns) || !Array.isArray(rows)) return null;
    const head = h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, words(name))));
    const body = rows.map((row) => h("tr", {}, ...[row].flat().map((value) => h("td", {}, words(value)))));
    return h("div", { class: "table", tabindex: "0" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
  },
  /** `{items: [value]}` */
  list: ({ items }) => (Array.isArray(items) ? h("ul", {}, ...items.map((item) => h("li", {}, words(item)))) : null),
  /** `{url: "data:image/…", alt?}`: images of other servers are not loaded. */
  image: ({ url, alt }) =>
    typeof url === "string" && SAFE_IMAGE.test(url) ? h("img", { src: url, alt: words(alt ?? "Image") }) : null,
};

/** A component, or its data. */
export function widgetView(type: string, data: unknown): HTMLElement {
  const fields = typeof data === "object" && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : {};
  const known = Object.hasOwn(VIEWS, type) ? VIEWS[type]?.(fields) : null;
  const title = typeof fields["title"] === "string" ? fields["title"] : type;
  return h("figure", { class: "card" }, h("figcaption", {}, title), known ?? facts(data));
}

function facts(data: unknown): HTMLElement {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    return h("pre", { tabindex: "0" }, typeof data === "string" ? data : JSON.stringify(data, null, 2));
  }
  const rows = Object.entries(data).filter(([name]) => name !== "title");
  return h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, words(value))]));
}

function words(value: unknown): string {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
