// Lists of what has happened: events and errors.
import { Elements, find, make, say } from "../dom.js";
import { when } from "../words.js";

class Rows {
  #rows;
  #selection;
  #list;
  #empty;
  #keys = new WeakMap();
  #last = 0;

  // selection: whose rows are shown, see DevicesView; words(row): what is said of one, [strong, text].
  constructor(section, rows, selection, words) {
    this.#rows = rows;
    this.#selection = selection;
    const [, empty, list] = find(section).children;
    this.#empty = empty;
    this.#list = new Elements(
      list,
      (row) => {
        const [strong, text] = words(row);
        return make(
          "li",
          {},
          make("time", { dateTime: new Date(row.at ?? row.time).toISOString() }),
          " ",
          make("strong", { textContent: row.device }),
          " ",
          make("span", { textContent: strong }),
          " ",
          make("span", { className: "quiet", textContent: text }),
        );
      },
      (element, row) => say(element.firstElementChild, when(row.at ?? row.time, this.now)),
    );
  }

  render(now) {
    this.now = now;
    const rows = this.#rows.filter((row) => row.key === (this.#selection.key ?? row.key));
    this.#empty.hidden = rows.length > 0;
    this.#list.show(rows.map((row) => [this.#keyOf(row), row]));
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
  constructor(state, selection) {
    super("events", state.events, selection, ({ event, source }) => [
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
  constructor(state, selection) {
    super("errors", state.errors, selection, ({ about, name, reason }) => [`${about}${name ? ` ${name}` : ""}:`, reason]);
  }
}
