/**
 * Markdown of models, which are not to be trusted: parsed by marked, cleaned by DOMPurify. No image is loaded from
 * anywhere (it could tell somebody what was read), links tell nobody where they were found, and nothing in an
 * answer can look like a part of the page: there are no ids, classes, styles or forms.
 */
import { h, icon } from "./dom.js";
import { Marked } from "./vendor/marked.js";
import DOMPurify from "./vendor/purify.js";

const TAGS = [
  ...["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img"],
  ...["input", "kbd", "li", "mark", "ol", "p", "pre", "s", "strong", "sub", "sup"],
  ...["table", "tbody", "td", "th", "thead", "tr", "ul"],
];
const ATTRIBUTES = ["href", "title", "src", "alt", "start", "align", "class", "type", "checked", "disabled"];
const SAFE_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;

const marked = new Marked({ gfm: true, breaks: true });

/** Shows a text that grows: only the blocks that changed since the last time are made anew. */
export class MarkdownView {
  readonly element = h("div", { class: "markdown" });
  #shown: { raw: string; nodes: ChildNode[] }[] = [];
  #links = "";
  #plain = false;

  show(text: string): void {
    try {
      if (!this.#plain) return this.#render(text);
    } catch {
      this.#plain = true; // nested deeper than marked can follow: it stays a text
    }
    this.element.replaceChildren(h("pre", { tabindex: "0" }, text));
  }

  #render(text: string): void {
    const tokens = marked.lexer(text);
    const links = JSON.stringify(tokens.links);
    let same = 0;
    // Where links lead may be said behind the blocks that have them.
    while (links === this.#links && same < tokens.length && tokens[same]?.raw === this.#shown[same]?.raw) same++;
    this.#links = links;
    for (const block of this.#shown.splice(same)) for (const node of block.nodes) node.remove();
    for (const token of tokens.slice(same)) {
      const nodes = [...cleaned(marked.parser([token])).childNodes];
      this.element.append(...nodes);
      this.#shown.push({ raw: token.raw, nodes });
    }
  }
}

/** HTML as nodes that may be shown. */
function cleaned(html: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  // Ours are put in below: none that a model wrote stays but what names a language.
  for (const element of fragment.querySelectorAll("[class]")) if (!element.matches("pre > code")) element.removeAttribute("class");
  for (const link of fragment.querySelectorAll("a")) tamed(link);
  for (const image of fragment.querySelectorAll("img")) if (!SAFE_IMAGE.test(image.src)) image.replaceWith(linked(image));
  for (const input of fragment.querySelectorAll("input")) checkbox(input);
  for (const code of fragment.querySelectorAll("pre > code")) framed(code as HTMLElement);
  for (const table of fragment.querySelectorAll("table")) scrollable(table);
  return fragment;
}

function tamed(link: HTMLAnchorElement): void {
  if (!/^(https?|mailto):/i.test(link.getAttribute("href") ?? "")) {
    link.replaceWith(...link.childNodes); // nothing of this page, and no script
    return;
  }
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

/** Instead of an image of somebody else's server, a link to it. */
function linked(image: HTMLImageElement): Node {
  const words = `Image: ${image.alt || "without a description"}`;
  if (!/^https?:/i.test(image.getAttribute("src") ?? "") || image.closest("a")) return document.createTextNode(words);
  const link = h("a", { href: image.src }, words);
  tamed(link);
  return link;
}

function checkbox(input: HTMLInputElement): void {
  if (input.type !== "checkbox") input.remove();
  else input.disabled = true;
}

/** A code block with its language and a button that copies it. */
function framed(code: HTMLElement): void {
  const pre = code.parentElement!;
  const language = /(?:^|\s)language-([\w+#.-]{1,30})/.exec(code.className)?.[1] ?? "text";
  const frame = h("figure", { class: "code" });
  code.removeAttribute("class");
  pre.replaceWith(frame);
  pre.tabIndex = 0; // whoever has no mouse scrolls it too
  pre.setAttribute("aria-label", `Code: ${language}`);
  frame.append(h("figcaption", {}, h("span", {}, language), copyButton(() => code.textContent ?? "", "Copy code")), pre);
}

function scrollable(table: HTMLTableElement): void {
  const box = h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" });
  table.replaceWith(box);
  box.append(table);
}

/** Copies a text, and says so for a moment. */
export function copyButton(text: () => string, label: string): HTMLButtonElement {
  const words = h("span", { class: "words" }, "Copy");
  const button = h("button", { type: "button", class: "quiet", "aria-label": label, title: label }, icon("copy"), words);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      words.textContent = "Copied";
    } catch {
      words.textContent = "Not allowed";
    }
    setTimeout(() => (words.textContent = "Copy"), 1500);
  });
  return button;
}
