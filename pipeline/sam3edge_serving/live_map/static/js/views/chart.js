// Counts over time, of one camera.
import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { draw, find, make, say } from "../dom.js";
import { byPlace } from "../order.js";
import { clock, tally, when } from "../words.js";

const HEIGHT = 220,
  SWATCH = 28, // of a line in the legend
  MARGIN = 48; // CSS pixels; the margin left and right has room for half of a time
const SECONDS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1200]; // between two marks
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5]]; // lines are told apart without their colours, too

export class ChartView {
  #state;
  #palette;
  #selection;
  #plot = null;
  #range = [0, 0]; // of the times that are shown, in seconds since 1970
  #plotted = ""; // of which series and colours the plot is made
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #select = find("counts-camera");

  constructor(state, selection, palette) {
    this.#state = state;
    this.#selection = selection;
    this.#palette = palette;
  }

  render(now) {
    const chosen = this.#selection.key;
    const cameras = this.#state.cameras
      .filter((camera) => camera.frame && (chosen === null || camera.device.key === chosen))
      .sort(byPlace);
    find("no-counts").hidden = cameras.length > 0;
    find("counts-box").hidden = cameras.length === 0;
    if (!cameras.length) return;
    options(
      this.#select,
      cameras.map((camera) => [camera.key, `${camera.device.name} · ${camera.source}`]),
    );
    const camera = cameras.find((one) => one.key === this.#select.value) ?? cameras[0];
    this.#draw(camera, Number(find("counts-span").value), now);
    say(find("counts-summary"), `Last frame, of ${when(camera.frame.time, now)}: ${tally(camera.frame.objects)}.`);
    find("counts-tables").replaceChildren(...(camera.counts ? tables(camera.counts) : []));
  }

  // The last seconds until now, as the device's own clock has it.
  #draw(camera, seconds, now) {
    const until = Math.floor(Math.max(camera.device.time(now), camera.frame.time) / 1000);
    const { times, series } = camera.series.table(seconds, until);
    this.#range = [until - seconds, until];
    const box = find("chart"),
      width = box.clientWidth;
    const plotted = JSON.stringify([camera.key, series.map((one) => one.label), this.#dark.matches]);
    if (plotted !== this.#plotted) {
      this.#plot?.destroy();
      const settings = this.#settings(series, width, this.#dark.matches);
      find("chart-legend").replaceChildren(make("li", { className: "quiet" }), ...settings.series.slice(1).map(entry));
      this.#plotted = plotted;
      this.#plot = new uPlot(settings, [times, ...series.map((one) => one.values)], box);
      return;
    }
    if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    this.#plot.setData([times, ...series.map((one) => one.values)]);
  }

  #settings(series, width, dark) {
    const ink = dark ? "#b9c0c9" : "#4d545e",
      line = dark ? "#33383f" : "#d5d9df";
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    return {
      width,
      height: HEIGHT,
      padding: [null, MARGIN, null, null],
      cursor: { drag: { x: false, y: false } },
      legend: { show: false },
      hooks: { setCursor: [read], setData: [read], ready: [read] },
      scales: { x: { range: () => this.#range }, y: { range: (_, least, most) => [0, Math.max(1, most * 1.05)] } },
      axes: [
        { ...axis, incrs: SECONDS, space: 90, values: (_, times) => times.map((at) => clock(1000 * at)) },
        { ...axis, size: MARGIN },
      ],
      series: [
        {},
        ...series.map(({ label }, at) => ({
          label,
          stroke: this.#palette.inkOf(label, dark),
          width: 2,
          dash: DASHES[at % DASHES.length],
        })),
      ],
    };
  }
}

// A line of the chart in its legend, as it is drawn.
function entry({ label, stroke, width, dash }) {
  const line = { x2: SWATCH, y1: 6, y2: 6, stroke, "stroke-width": width, "stroke-dasharray": dash.join(" ") };
  return make(
    "li",
    {},
    draw("svg", { width: SWATCH, height: 12, "aria-hidden": "true" }, draw("line", line)),
    ` ${label} `,
    make("strong"),
  );
}

// Say the counts in the legend: those below the pointer, else the last ones.
function read({ data: [times, ...values], cursor }) {
  const at = cursor.idx ?? times.length - 1;
  const [time, ...entries] = find("chart-legend").children;
  const which = cursor.idx == null ? "last, " : "";
  say(time, times.length ? `${which}at ${clock(1000 * times[at])}:` : "no frame in this time");
  entries.forEach((one, line) => say(one.lastElementChild, values[line][at]?.toFixed(1) ?? "–"));
}

// The entries of a select, [value, text], without a change of what is chosen.
export function options(select, wanted) {
  const written = JSON.stringify(wanted);
  if (select.written === written) return;
  select.written = written;
  const chosen = select.value;
  select.replaceChildren(...wanted.map(([value, text]) => make("option", { value, textContent: text })));
  if (wanted.some(([value]) => value === chosen)) select.value = chosen;
}

// What a device that tracks has counted.
function tables({ objects, zones, lines }) {
  return [
    table(
      "Objects",
      ["label", "now", "in all"],
      objects.map((one) => [one.label, one.current, one.total]),
    ),
    table(
      "Zones",
      ["zone", "label", "now", "entered"],
      zones.map((one) => [one.zone, one.label, one.current, one.entered]),
    ),
    table(
      "Lines",
      ["line", "label", "forward", "backward"],
      lines.map((one) => [one.line, one.label, one.forward, one.backward]),
    ),
  ].filter(Boolean);
}

function table(title, heads, rows) {
  if (!rows.length) return null;
  const cells = (name, texts) => texts.map((text) => make(name, { textContent: text }));
  return make(
    "table",
    {},
    make("caption", { textContent: title }),
    make("thead", {}, make("tr", {}, ...cells("th", heads))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells("td", row)))),
  );
}
