// Elements, made and kept. Texts are always text: nothing on this page is ever parsed as markup.
const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

// An element with properties (className, textContent, title, ...), data- and aria- attributes, and children.
export function make(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

// The same in SVG, where all of them are attributes.
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

// Change a text only if it is another one: what a screen reader follows is not said again.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// One element for each item, in their order; those of known keys are kept, and with them focus and open details.
export class Elements {
  #parent;
  #create;
  #update;
  #known = new Map();

  // create(item): an element; update(element, item): called for each, also for new ones.
  constructor(parent, create, update) {
    this.#parent = parent;
    this.#create = create;
    this.#update = update;
  }

  // items: [key, item] in order.
  show(items) {
    const wanted = new Map(items);
    for (const [key, element] of this.#known) {
      if (!wanted.has(key)) {
        element.remove();
        this.#known.delete(key);
      }
    }
    let next = this.#parent.firstElementChild;
    for (const [key, item] of wanted) {
      let element = this.#known.get(key);
      if (!element) {
        element = this.#create(item);
        this.#known.set(key, element);
      }
      if (element === next) next = next.nextElementSibling;
      else this.#parent.insertBefore(element, next);
      this.#update(element, item);
    }
  }
}
