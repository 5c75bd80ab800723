// Charts as SVG, from the data that `fanin.report.charts.Chart.as_dict()` makes.
"use strict";

const charts = (() => {
  const { html, svg } = dom;
  const MARGIN = { top: 10, right: 14, bottom: 40, left: 58 };
  const LETTER = 6.6; // about the width of a letter in pixels
  const MANY = 30; // dots that would hide one another
  const REACH = 24; // pixels from a dot at which it is pointed at
  const WRITTEN = new Intl.NumberFormat("en-US", { maximumFractionDigits: 9 }); // made once, since that is slow
  const [SMALLEST, LARGEST] = [1e-307, 1e307]; // that an axis shows
  const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  /** A number as people write it: 0.02, 1,500, 3×10⁻⁹. */
  function text(value, digits = 3) {
    if (value === null || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e5)) {
      const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
      const power = `10${[...String(Number(exponent))].map((each) => SUPERSCRIPTS[each]).join("")}`;
      const factor = Number(mantissa);
      return minus(factor === 1 ? power : factor === -1 ? `-${power}` : `${factor}×${power}`);
    }
    return minus(WRITTEN.format(value.toPrecision(digits)));
  }

  const minus = (shown) => shown.replaceAll("-", "−");

  /** About `count` round numbers from `low` to `high`, and three at least. */
  function linearTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const steps = [10, 5, 2, 1, 0.5, 0.2].map((each) => each * power);
    const fine = steps.filter((step, place) => (steps[place + 1] ?? 0) < rough); // the first one is the smallest above it
    for (const step of fine) {
      const ticks = [];
      for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place++) ticks.push(place * step + 0); // no −0
      if (ticks.length >= 3 || step === fine.at(-1)) return ticks;
    }
    return [];
  }

  /** Ticks of a logarithmic axis, at most about `count`: powers of ten, with 2 and 5 times them or finer if there are few. */
  function logTicks(low, high, count) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const within = (factors, every) => {
      const ticks = [];
      for (let power = first; power <= last; power += every) for (const factor of factors) ticks.push(factor * 10 ** power);
      return ticks.filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
    };
    const every = Math.max(1, Math.ceil((last - first) / (count + 1)));
    const choices = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 7]].map((factors) => within(factors, every));
    const fitting = choices.filter((ticks) => ticks.length > 1 && ticks.length <= count + 1);
    return fitting.at(-1) ?? (high / low < 8 ? linearTicks(low, high, Math.max(2, count - 1)) : choices[0]);
  }

  /**
   * A scale from an axis and the numbers along it to pixels; numbers that it cannot show give null. Room is the share of
   * the axis that stays free below the numbers and above them.
   */
  function scale(axis, numbers, from, to, room = [0, 0]) {
    const isShown = (value) => value !== null && Number.isFinite(value) && (!axis.is_log || value > 0);
    const [along, back] = axis.is_log ? [Math.log10, (value) => 10 ** value] : [(value) => value, (value) => value];
    const names = axis.names ?? [];
    let [low, high] = names.length ? [names.length - 0.5, -0.5] : (axis.limits ?? extent(numbers, isShown));
    if (low === high) [low, high] = axis.is_log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(low) || 1) / 2];
    let [start, end] = [along(low), along(high)];
    if (!axis.limits && !names.length) {
      [start, end] = [start - room[0] * (end - start), end + room[1] * (end - start)];
      [low, high] = [back(start), back(end)];
      if (axis.is_log) [low, high] = [Math.max(low, SMALLEST), Math.min(high, LARGEST)];
    }
    const place = (value) => (isShown(value) ? from + ((along(value) - start) / (end - start)) * (to - from) : null);
    const count = Math.max(2, Math.round(Math.abs(to - from) / (from > to ? 45 : 80)));
    const ticks = names.length ? names.map((_, each) => each) : (axis.is_log ? logTicks : linearTicks)(low, high, count);
    return { place, low, high, ticks, label: (tick) => names[tick] ?? text(tick) };
  }

  /** The smallest and the largest number that is shown. */
  function extent(numbers, isShown) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of numbers) {
      if (!isShown(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    return low <= high ? [low, high] : [1, 2];
  }

  /** The path through points, interrupted where one cannot be shown. */
  function path(xs, ys) {
    let [drawn, isOpen] = ["", false];
    for (let each = 0; each < xs.length; each++) {
      const isShown = xs[each] !== null && ys[each] !== null;
      if (isShown) drawn += `${isOpen ? "L" : "M"}${xs[each].toFixed(1)},${ys[each].toFixed(1)}`;
      isOpen = isShown;
    }
    return drawn;
  }

  /** Dots as one path, however many there are: lines without length, whose ends are round. */
  const dots = (xs, ys, places) => outlined(xs, ys, places, "h0");

  /** What is to be noticed, as one path: diamonds, smaller ones if they are many. */
  function diamonds(xs, ys, places) {
    const half = places.length > MANY ? 2.5 : 5.5;
    return outlined(xs, ys, places, `m0,${-half}l${half},${half}l${-half},${half}l${-half},${-half}Z`);
  }

  /** A path that draws the same at each point that can be shown. */
  function outlined(xs, ys, places, shape) {
    let drawn = "";
    for (const each of places)
      if (xs[each] !== null && ys[each] !== null) drawn += `M${xs[each].toFixed(1)},${ys[each].toFixed(1)}${shape}`;
    return drawn;
  }

  /** The elements of marks. */
  function drawn(marks, x, y) {
    const color = marks.color < 0 ? "guide" : marks.color % 6;
    const xs = marks.x.map(x.place);
    const ys = marks.y.map(y.place);
    if (marks.kind === "line") return [svg("path", { class: `line stroke-${color}`, d: path(xs, ys) })];
    if (marks.kind === "dots") {
      const shown = [svg("path", { class: `dots stroke-${color}`, d: dots(xs, ys, ys.keys()) })];
      if (marks.emphasized.length) shown.push(svg("path", { class: `emphasized${marks.emphasized.length > MANY ? " many" : ""}`, d: diamonds(xs, ys, marks.emphasized) }));
      return shown;
    }
    const outline = { bars: () => bars(xs, ys, y.place(y.low)), rows: () => lying(xs, ys, x, y), band: () => band(xs, ys, marks.upper.map(y.place)) };
    return [svg("path", { class: `${marks.kind} fill-${color}`, d: outline[marks.kind]() })];
  }

  /** The outline of bars that stand on the ground. */
  function bars(xs, ys, ground) {
    let drawn = "";
    ys.forEach((top, each) => {
      if (top === null || xs[each] === null || xs[each + 1] === null) return;
      drawn += `M${xs[each].toFixed(1)},${ground.toFixed(1)}V${top.toFixed(1)}H${xs[each + 1].toFixed(1)}V${ground.toFixed(1)}Z`;
    });
    return drawn;
  }

  /** The outline of bars that lie, each at its name. */
  function lying(xs, ys, x, y) {
    const [left, half] = [x.place(x.low), Math.abs(y.place(1) - y.place(0)) * 0.36];
    let drawn = "";
    xs.forEach((end, each) => {
      if (end === null || ys[each] === null) return;
      drawn += `M${left.toFixed(1)},${(ys[each] - half).toFixed(1)}H${end.toFixed(1)}v${(2 * half).toFixed(1)}H${left.toFixed(1)}Z`;
    });
    return drawn;
  }

  /** The outline of a band, of the points at which both ends can be shown. */
  function band(xs, lower, upper) {
    const seen = [...xs.keys()].filter((each) => xs[each] !== null && lower[each] !== null && upper[each] !== null);
    const pick = (of, order) => order.map((each) => of[each]);
    const back = [...seen].reverse();
    return seen.length ? `${path([...pick(xs, seen), ...pick(xs, back)], [...pick(upper, seen), ...pick(lower, back)])}Z` : "";
  }

  /** The picture of a chart in so many pixels, and where its dots are. */
  function picture(chart, width, height) {
    const has = (kind) => chart.marks.some((marks) => marks.kind === kind);
    const guided = (axis) => chart.guides.filter((guide) => guide.axis === axis).map((guide) => guide.at);
    const names = chart.y.names ?? [];
    const left = names.length ? Math.min(width / 2.5, 16 + LETTER * Math.max(...names.map((name) => name.length))) : MARGIN.left;
    const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
    const lengths = chart.marks.flatMap((marks) => marks.x);
    const heights = chart.marks.flatMap((marks) => [...marks.y, ...marks.upper]);
    const [standing, reclining] = [has("bars") && !chart.y.is_log, has("rows") && !chart.x.is_log];
    const x = scale(chart.x, [...lengths, ...guided("x"), ...(reclining ? [0] : [])], left, right, has("bars") || reclining ? [0, 0] : [0.03, 0.03]);
    const y = scale(chart.y, [...heights, ...guided("y"), ...(standing ? [0] : [])], bottom, MARGIN.top, standing ? [0, 0.04] : [0.05, 0.05]);
    const parts = [svg("path", { class: "frame", d: `M${left},${MARGIN.top}V${bottom}H${right}` })];
    for (const tick of y.ticks) {
      const at = y.place(tick);
      if (!names.length) parts.push(svg("path", { class: "tick", d: `M${left},${at}H${right}` }));
      parts.push(svg("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, short(y.label(tick), (left - 8) / LETTER)));
    }
    let free = -Infinity; // where the next label may begin
    for (const tick of x.ticks) {
      const [at, label] = [x.place(tick), x.label(tick)];
      const half = (LETTER * label.length) / 2;
      if (at - half < free || at + half > width) continue;
      parts.push(svg("text", { x: at, y: bottom + 16, "text-anchor": "middle" }, label));
      free = at + half + 6;
    }
    parts.push(svg("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, chart.x.label));
    const turned = `translate(12 ${(MARGIN.top + bottom) / 2}) rotate(-90)`;
    if (!names.length) parts.push(svg("text", { transform: turned, "text-anchor": "middle" }, chart.y.label));
    const labels = [];
    const lines = chart.guides.flatMap((guide) => guideline(guide, { x, y, left, right, bottom }, labels));
    parts.push(...lines, ...chart.marks.flatMap((marks) => drawn(marks, x, y)), ...labels.map((each) => each.element));
    const view = { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${chart.title}: ${chart.description}` };
    const labelled = chart.marks.filter((marks) => marks.labels.length).flatMap((marks) =>
      marks.labels.map((label, each) => ({ label, x: x.place(marks.x[each]), y: y.place(marks.y[each]), value: marks.y[each] })),
    );
    return { element: svg("svg", { ...view, height }, ...parts), labelled };
  }

  /** A text in so many letters. */
  const short = (label, most) => (label.length > most ? `${label.slice(0, Math.max(1, most - 1))}…` : label);

  /** The line of a guide; its label goes to the others, below those that it would cover. */
  function guideline(guide, { x, y, left, right, bottom }, labels) {
    const at = (guide.axis === "x" ? x : y).place(guide.at);
    if (at === null) return [];
    const isUpright = guide.axis === "x";
    if (guide.label) {
      const length = LETTER * guide.label.length;
      const isEnd = !isUpright || at + 4 + length > right;
      const from = isUpright ? (isEnd ? at - 4 - length : at + 4) : right - length;
      let level = isUpright ? MARGIN.top + 10 : at - 4;
      while (labels.some((each) => Math.abs(each.level - level) < 13 && from < each.to && each.from < from + length)) level += 13;
      const place = { class: "said", x: isUpright ? (isEnd ? at - 4 : at + 4) : right, y: level, "text-anchor": isEnd ? "end" : "start" };
      labels.push({ level, from, to: from + length, element: svg("text", place, guide.label) });
    }
    return [svg("path", { class: "guide", d: isUpright ? `M${at},${MARGIN.top}V${bottom}` : `M${left},${at}H${right}` })];
  }

  /** What the colours mean. */
  function legend(chart) {
    const entries = chart.marks.filter((marks) => marks.name).map((marks) => {
      const color = marks.color < 0 ? "guide" : marks.color % 6;
      const shape = { line: "M1,5H21", dots: "M11,5h0" }[marks.kind] ?? "M1,1H21V9H1Z";
      const paint = marks.kind === "line" || marks.kind === "dots" ? "stroke" : "fill";
      const key = svg("path", { class: `${marks.kind} ${paint}-${color}`, d: shape });
      return html("li", {}, svg("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" }, key), marks.name);
    });
    return entries.length > 1 ? html("ul", { class: "legend" }, ...entries) : null;
  }

  /**
   * Draws a chart into an element, in place of what it shows, and again whenever its width changes.
   *
   * @param {HTMLElement} place the element; its class becomes "chart".
   * @param {object} chart the data of the chart.
   * @param {number} [height] the height of the picture in pixels.
   * @param {number} [fixed] its width; without it, that of the element.
   */
  function draw(place, chart, height = 240, fixed = 0) {
    const frame = html("div");
    const hasLabels = chart.marks.some((marks) => marks.labels.length);
    const readout = hasLabels ? html("div", { class: "readout", "aria-live": "polite" }) : null;
    place.classList.add("chart");
    place.replaceChildren(
      ...[html("figcaption", {}, chart.title), legend(chart), frame, readout].filter((each) => each !== null),
    );
    let shown = null;
    const redraw = () => {
      const width = fixed || Math.max(240, Math.round(frame.clientWidth));
      if (shown?.width === width) return;
      shown = { width, ...picture(chart, width, height) };
      frame.replaceChildren(shown.element);
    };
    if (readout) frame.addEventListener("pointermove", (event) => (readout.textContent = nearest(shown, event)));
    observed.get(place)?.disconnect();
    const observer = new ResizeObserver(redraw);
    observed.set(place, observer);
    redraw();
    observer.observe(frame);
  }

  const observed = new WeakMap(); // the observer of each place, so that a new chart ends the old one's

  /** The label of the dot that is pointed at, and its value; "" if none is near. */
  function nearest(shown, event) {
    const frame = shown.element.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let [found, least] = [null, REACH];
    for (const dot of shown.labelled) {
      if (dot.x === null || dot.y === null) continue;
      const distance = Math.hypot(dot.x - x, dot.y - y);
      if (distance < least) [found, least] = [dot, distance];
    }
    return found ? `${found.label}: ${text(found.value, 4)}` : "";
  }

  return { draw, text, linearTicks, logTicks };
})();
