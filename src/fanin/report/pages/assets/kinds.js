// What a report is about: the tensors of an audit, or the parameters of a plan. For each, the items of its table, its
// columns, and what is said of one item. The rest of the page is the same.
"use strict";

const kinds = (() => {
  const { html, svg } = dom;
  const { text } = charts;
  const TIMES = "×";

  /** A text on one line, in which control characters, marks of direction and the like are shown escaped. */
  const visible = (value) => value.replace(/[\p{C}\p{Z}]/gu, escaped);

  function escaped(character) {
    if (character === " ") return " ";
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    if (short) return short;
    const code = character.codePointAt(0);
    const hex = (digits) => code.toString(16).padStart(digits, "0");
    return code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
  }

  const shapeOf = (shape) => shape.join(TIMES) || "()";
  const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);
  const distinct = (values) => [...new Set(values)];
  const known = (values) => values.filter((value) => value !== null && value !== undefined);

  /** What several items have in common; "" for nothing. */
  function common(values) {
    const found = distinct(values);
    return found.length === 1 ? found[0] : "";
  }

  /** The cell of a column of texts, which branches leave empty. */
  const textOf = (key) => (some, row) => (row.node.isBranch ? "" : common(some.map((item) => item[key])));

  /** Numbers, from the smallest to the largest. */
  function range(values, digits = 3) {
    const found = known(values);
    if (!found.length) return "";
    const ends = [smallest(found), largest(found)].map((value) => text(value, digits));
    return distinct(ends).join("–");
  }

  const smallest = (values) => values.reduce((a, b) => Math.min(a, b));
  const largest = (values) => values.reduce((a, b) => Math.max(a, b));

  /** The largest number; null if none is known. */
  const most = (values) => (known(values).length ? largest(known(values)) : null);

  /** The ratio that is farthest from 1; null if none is known. */
  function farthest(values) {
    let found = null;
    for (const value of known(values)) if (found === null || off(value) > off(found)) found = value;
    return found;
  }

  const off = (ratio) => (ratio > 0 ? Math.abs(Math.log2(ratio)) : Infinity);

  // ---------------------------------------------------------------- what cells show

  /** A verdict as a mark and a word. */
  const badge = (word, tone) => html("span", { class: `badge ${tone}` }, html("span", { class: `mark ${tone}`, "aria-hidden": "true" }), word);

  /** The worst verdict of a row; of a branch, with the number of parameters that have it, if it is not that of all. */
  function verdictCell(some, row, worst, tone) {
    const shown = badge(worst.verdict, tone);
    const count = some.filter((item) => item.rank === worst.rank).length;
    if (row.node.isBranch && count < some.length) shown.append(html("span", { class: "count" }, count.toLocaleString("en-US")));
    return shown;
  }

  /** A text that tells all of itself to a pointer, since a column may be narrower than it. */
  const titled = (value, short = (all) => all) => (value ? html("span", { title: value }, short(value)) : "");

  /** A rule as its number and its name, without its line: rule 4 (line 12) “norms” is 4: norms. */
  const shortRule = (value) => value.replace(/^rule (\d+)(?: \(line \d+\))?(?: “(.*)”)?$/s, (all, number, name) => (name ? `${number}: ${name}` : `rule ${number}`));

  /** A ratio as a number and a bar from 1 to it, on a logarithmic scale that ends at 1/4 and 4. */
  function ratioCell(ratio, tone) {
    if (ratio === null) return null;
    const [middle, half] = [30, 28];
    const end = middle + (half * Math.max(-2, Math.min(2, Math.log2(ratio || 1e-9)))) / 2;
    const bar = svg(
      "svg",
      { class: `ratio ${tone}`, viewBox: "0 0 60 14", "aria-hidden": "true" },
      svg("path", { class: "rail", d: "M2,7H58" }),
      svg("path", { class: "one", d: "M30,1V13" }),
      svg("rect", { x: Math.min(middle, end) - 0.75, y: 4, width: Math.abs(end - middle) + 1.5, height: 6, rx: 1 }),
    );
    return html("span", { class: "ratio" }, html("span", { class: "number" }, `${TIMES} ${text(ratio)}`), bar);
  }

  /** How values are spread, as bars, over the line of how they should be. */
  function sparkline(line, laws) {
    if (!line) return null;
    const [values, law] = line;
    const step = 96 / values.length;
    const height = (digit) => (22 * parseInt(digit, 36)) / 35;
    const bars = [...values].map((digit, place) => (digit === "0" ? "" : `M${(place * step).toFixed(1)},24V${(24 - height(digit)).toFixed(1)}h${(step - 0.6).toFixed(1)}V24Z`));
    const points = law < 0 ? "" : [...laws[law]].map((digit, place) => `${place ? "L" : "M"}${((place + 0.5) * step).toFixed(1)},${(24 - height(digit)).toFixed(1)}`).join("");
    return svg(
      "svg",
      { class: "sparkline", viewBox: "0 0 96 25", "aria-hidden": "true" },
      svg("path", { class: "bars fill-0", d: bars.join("") }),
      svg("path", { class: "line stroke-1", d: points }),
      svg("path", { class: "ground", d: "M0,24.5H96" }),
    );
  }

  /** A list of names and values, of which those without a value are left out. */
  function facts(entries) {
    const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return html("dl", { class: "facts" }, ...shown.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
  }

  const column = (key, label, kind, cell, more = {}) => ({ key, label, kind, cell, canSort: "sort" in more, ...more });
  const first = (key) => (items) => items[0][key];

  /** The worst of some items, and its tone. */
  function ranked(view) {
    const worst = (some) => some.reduce((a, b) => (b.rank > a.rank ? b : a));
    return { worst, tone: (some) => view.tones[worst(some).verdict] };
  }

  /** The columns that parameters have, whatever is said of them. */
  const ofParameters = [
    column("shape", "shape", "text shape", textOf("shape"), { sort: first("size"), sortedBy: "size" }),
    column("dtype", "dtype", "text dtype", textOf("dtype"), { sort: first("dtype") }),
    column("role", "role", "text role", textOf("role"), { sort: first("role") }),
  ];

  // ---------------------------------------------------------------- an audit

  /** The tensors of an audit. */
  function audit(data, view) {
    const { tensors } = data.audit;
    const order = Object.keys(view.tones); // the worst last
    const items = tensors.map((each, number) => ({
      number,
      name: visible(each.name),
      shape: shapeOf(each.shape),
      size: sizeOf(each.shape),
      dtype: each.dtype,
      role: each.role,
      std: each.statistics && each.statistics.size ? each.statistics.stddev : null,
      ratio: each.statistics && each.expected_stddev && each.statistics.stddev !== null ? each.statistics.stddev / each.expected_stddev : null,
      verdict: each.verdict,
      rank: order.indexOf(each.verdict),
      what: visible(each.problems.length ? distinct(each.problems.map((problem) => problem.code)).join(", ") : each.fits.join(" or ") || each.reason),
    }));
    const { worst, tone } = ranked(view);
    const columns = [
      ...ofParameters,
      column("std", "std", "right std", (some, row) => (row.node.isBranch ? "" : range(some.map((item) => item.std))), { sort: (some) => most(some.map((item) => item.std)) }),
      column("ratio", "std ÷ expected", "ratio", (some, row) => (row.node.isBranch ? null : ratioCell(farthest(some.map((item) => item.ratio)), tone(some))), { sort: (some) => farthest(some.map((item) => item.ratio)) }),
      column("values", "values", "values", (some, row) => (row.node.isBranch ? null : sparkline(view.sparklines.lines[worst(some).number], view.sparklines.laws))),
      column("verdict", "verdict", "verdict", (some, row) => verdictCell(some, row, worst(some), tone(some)), { sort: (some) => worst(some).rank }),
      column("what", "what it is", "text what", (some, row) => (row.node.isBranch ? "" : titled(worst(some).what))),
    ];
    return {
      items,
      columns,
      noun: "tensor",
      filters: { verdict: "verdict", role: "role", dtype: "dtype" },
      tone: (item) => view.tones[item.verdict],
      codes: (item) => distinct(tensors[item.number].problems.map((problem) => problem.code)),
      about: (item) => aboutTensor(tensors[item.number], item),
    };
  }

  /** What is said of a tensor. */
  function aboutTensor(each, item) {
    const found = each.statistics;
    const count = (value) => (value ? value.toLocaleString("en-US") : null);
    return [
      html("p", { class: "reason" }, visible(each.reason)),
      ...each.problems.flatMap((problem, place) => [
        place ? html("p", {}, html("code", {}, problem.code), ` ${visible(problem.message)}`) : null,
        problem.advice ? html("p", { class: "advice" }, html("b", {}, "What to do: "), visible(problem.advice)) : null,
      ]),
      facts([
        ["Shape", item.shape],
        ["Elements", found ? found.size.toLocaleString("en-US") : item.size.toLocaleString("en-US")],
        ["Dtype", each.dtype],
        ["Role", each.role],
        ["Layer", each.layer && visible(each.layer)],
        ["Expected", each.expected && visible(each.expected)],
        ["Fits", visible(each.fits.join(" or "))],
        ["Also named", visible(each.tied.join(", "))],
      ]),
      found
        ? facts([
            ["std", text(found.stddev, 4)],
            ["Expected std", each.expected_stddev === null ? null : text(each.expected_stddev, 4)],
            ["std ÷ expected", item.ratio === null ? null : text(item.ratio, 4)],
            ["Mean", text(found.mean, 3)],
            ["Kurtosis", text(found.kurtosis, 3)],
            ["Smallest", text(found.min, 4)],
            ["Largest", text(found.max, 4)],
            ["Zeros", count(found.zeros)],
            ["NaN", count(found.nans)],
            ["Infinite", count(found.infinities)],
          ])
        : null,
    ];
  }

  // ---------------------------------------------------------------- a plan

  /** The parameters of a plan. */
  function plan(data, view) {
    const { entries } = data.plan;
    const order = Object.keys(view.tones);
    const items = entries.map((each, number) => ({
      number,
      name: visible(each.path),
      shape: shapeOf(each.shape),
      size: sizeOf(each.shape),
      dtype: each.dtype,
      role: each.role,
      layer: visible(each.layer),
      std: each.stddev,
      rule: visible(each.rule),
      seeds: view.seeds[number],
      verdict: view.states[number],
      rank: order.indexOf(view.states[number]),
      what: visible(each.problem || each.initializer),
      fans: each.fans ? each.fans.join("→") : "",
    }));
    const { worst, tone } = ranked(view);
    const columns = [
      ...ofParameters,
      column("fans", "fans", "text fans", textOf("fans")),
      column("std", "std", "right std", (some, row) => (row.node.isBranch ? "" : range(some.map((item) => item.std))), { sort: (some) => most(some.map((item) => item.std)) }),
      column("what", "initializer", "text what", (some, row) => titled(textOf("what")(some, row)), { sort: first("what") }),
      column("rule", "rule", "text rule", (some, row) => titled(textOf("rule")(some, row), shortRule), { sort: first("rule") }),
      column("verdict", "state", "verdict", (some, row) => verdictCell(some, row, worst(some), tone(some)), { sort: (some) => worst(some).rank }),
    ];
    return {
      items,
      columns,
      noun: "parameter",
      filters: { verdict: "state", role: "role", dtype: "dtype" },
      tone: (item) => view.tones[item.verdict],
      codes: () => [],
      about: (item) => aboutEntry(entries[item.number], item),
    };
  }

  /** What is said of a parameter of a plan. */
  function aboutEntry(each, item) {
    return [
      html("p", { class: "reason" }, visible(each.problem || each.initializer)),
      facts([
        ["Shape", item.shape],
        ["Elements", item.size.toLocaleString("en-US")],
        ["Dtype", each.dtype],
        ["Layout", each.layout],
        ["Layer", item.layer],
        ["Role", each.role],
        ["Fans", item.fans],
        ["Rule", item.rule],
        ["Drawn under", each.name === each.path ? null : visible(each.name)],
        ["Also named", visible(each.tied.join(", "))],
      ]),
      facts([
        ["Expected std", each.stddev === null ? null : text(each.stddev, 4)],
        ["Expected mean", each.mean === null ? null : text(each.mean, 3)],
        ["Seed", item.seeds + (each.seeds.length > 3 ? ` and ${each.seeds.length - 3} more` : "")],
      ]),
    ];
  }

  return { audit, plan, visible, badge };
})();
