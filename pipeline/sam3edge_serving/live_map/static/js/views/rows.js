// Lists of what has happened: events and errors.
import { Elements, find, make } from "../dom.js";
import { clock } from "../words.js";

class Rows {
  #rows;
  #list;
  #empty;
  #keys = new WeakMap();
  #last = 0;

  // words(row): what is said of it, [strong, text].
  constructor(section, rows, words) {
    this.#rows = rows;
    const [, empty, list] = find(section).children;
    this.#empty = empty;
    this.#list = new Elements(
      list,
      (row) => {
        const [strong, text] = words(row);
        return make(
          "li",
          {},
          make("time", {
            textContent: clock(row.at ?? row.time),
            dateTime: new Date(row.at ?? row.time).toISOString(),
          }),
          " ",
          make("strong", { textContent: row.device }),
          " ",
          make("span", { textContent: strong }),
          " ",
          make("span", { className: "quiet", textContent: text }),
        );
      },
      () => {},
    );
  }

  render() {
    this.#empty.hidden = this.#rows.length > 0;
    this.#list.show(this.#rows.map((row) => [this.#keyOf(row), row]));
  }

  #keyOf(row) {
    if (!this.#keys.has(row)) this.#keys.set(row, ++this.#last);
    return this.#keys.get(row);
  }
}

const LIFE = new Map([
  ["new", "appeared"],
  ["update", "changed"],
  ["end", "is gone"],
]);

const spaced = (word) => word.replaceAll("_", " ");

export class EventsView extends Rows {
  constructor(state) {
    super("events", state.events, ({ event, source }) => [
      `${event.label} #${event.track.slice(-4)} ${LIFE.get(event.type) ?? event.type}`,
      [
        ...event.reasons.map((one) => [spaced(one.kind), one.name, one.direction].filter(Boolean).join(" ")),
        event.zones.length ? `in ${event.zones.join(", ")}` : "",
        source,
      ]
        .filter(Boolean)
        .join(" · "),
    ]);
  }
}

export class ErrorsView extends Rows {
  constructor(state) {
    super("errors", state.errors, ({ about, name, reason }) => [`${about}${name ? ` ${name}` : ""}:`, reason]);
  }
}
