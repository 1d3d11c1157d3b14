/** Elements, without a framework. Text is always text: nothing here takes HTML. */
/** An element; attributes that are functions are listeners (`onclick`), `false` leaves one out. */
export function h(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (typeof value === "function")
            element.addEventListener(key.slice(2), value);
        else if (value !== false)
            element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => Boolean(child)));
    return element;
}
/** One of the icons of index.html. Whoever uses it says in words what it means. */
export function icon(name) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(space, "use");
    use.setAttribute("href", `#icon-${name}`);
    svg.append(use);
    return svg;
}
/** An element of index.html. */
export function byId(id) {
    const element = document.getElementById(id);
    if (element === null)
        throw new Error(`index.html has no #${id}`);
    return element;
}
