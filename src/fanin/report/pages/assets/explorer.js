// The explorer: from controls to charts, a verdict and code. The address keeps what is chosen.
"use strict";

const explorer = (() => {
  const { html } = dom;
  const { params, aliases, blocks } = dom.data();
  const { sqrt, exp, min, max, abs } = Math;
  const element = (id) => document.getElementById(id);
  const text = charts.text;

  // ---------------------------------------------------------------- controls

  const fields = [...document.querySelectorAll("form select[id], form input[id]")];
  const defaults = Object.fromEntries(fields.map((field) => [field.id, field.value]));
  const state = { ...defaults };
  // What is asked for where; all others always are.
  const NEEDED = {
    scale: () => state.init === "variance_scaling",
    mode: () => state.init === "variance_scaling",
    dist: () => state.init === "variance_scaling",
    stddev: () => state.init === "random_normal" || state.init === "truncated_normal",
    limit: () => state.init === "random_uniform",
    param: () => state.act in params,
  };
  const isNeeded = (name) => NEEDED[name]?.() ?? true;

  /** The numbers that a slider goes through, and the words that a value is checked against. */
  function stops(slider) {
    const [first, last] = slider.dataset.ends.split(",").map(Number);
    const { scale } = slider.dataset;
    const found = [];
    if (scale === "whole") for (let at = first; at <= last; at++) found.push(at);
    if (scale === "hundredths") for (let at = Math.round(first * 100); at <= last * 100; at += 5) found.push(at / 100);
    if (scale === "binary")
      for (let at = 1; at <= last; at *= 2) found.push(at, ...(at > 1 && at < last ? [1.5 * at] : []));
    if (scale === "decimal")
      for (let power = Math.floor(Math.log10(first)); 10 ** power <= last; power++)
        for (const each of [1, 1.5, 2, 3, 5, 7]) found.push(Number(`${each}e${power}`));
    return found.filter((each) => each >= first && each <= last);
  }

  const sliders = new Map(
    [...document.querySelectorAll("input[type=range]")].map((slider) => [slider.nextElementSibling.id, { slider, stops: stops(slider) }]),
  );

  /** Why a text cannot be the value of a control; "" if it can. */
  function wrong(field, given) {
    const options = field.options && [...field.options].map((each) => each.value);
    if (options) return options.includes(given) ? "" : "one of those offered";
    if (field.id === "seed") {
      const is64 = /^-?\d{1,19}$/.test(given) && BigInt.asIntN(64, BigInt(given)) === BigInt(given);
      return is64 ? "" : "a whole number from −2⁶³ to 2⁶³ − 1";
    }
    const [low, high] = [Number(field.min), Number(field.max)];
    const value = DECIMAL.test(given.trim()) ? Number(given) : NaN;
    const isWhole = field.step !== "1" || Number.isInteger(value);
    if (value >= low && value <= high && isWhole) return "";
    return `a ${field.step === "1" ? "whole " : ""}number from ${text(low)} to ${text(high, 9)}`;
  }

  /** Takes the state from texts by name; what cannot be is replaced by the default, and said. */
  function take(given) {
    const complaints = Object.keys(given)
      .filter((name) => !Object.hasOwn(defaults, name))
      .map((name) => `${JSON.stringify(short(name))} is no control of this page: it is left out.`);
    Object.assign(state, defaults);
    for (const field of fields) {
      let value = given[field.id];
      if (field.id === "param") {
        // Its default depends on the activation, which comes before it.
        const known = params[state.act];
        state.param = known ? String(known.default) : "0";
        field.min = known?.least ?? -10;
      }
      if (value === undefined) continue;
      if (field.id === "act") value = named(value);
      const rule = wrong(field, value);
      if (!rule) state[field.id] = field.options ? value : String(field.id === "seed" ? BigInt(value) : Number(value));
      else complaints.push(refused(field, rule, value));
    }
    return complaints;
  }

  const DECIMAL = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
  const MOST = 60; // characters of an address that a note repeats

  /** The beginning of a text. */
  function short(given) {
    const characters = [...given.slice(0, 2 * MOST)];
    return characters.length > MOST ? `${characters.slice(0, MOST).join("")}…` : given;
  }

  const refused = (field, rule, value) =>
    `${field.id} must be ${rule}. Received: ${short(value) || "nothing"}. ${state[field.id]} is used.`;

  /** An activation by the name that it is listed under. */
  function named(given) {
    const plain = given.replaceAll("_", "").replace(/^conv(transpose)?[123]d$/, "linear");
    const listed = Object.hasOwn(aliases, plain) ? aliases[plain] : plain;
    return [...element("act").options].map((each) => each.value).find((each) => each.replaceAll("_", "") === listed.replaceAll("_", "")) ?? given;
  }

  /** Shows the state in the controls. */
  function show() {
    for (const field of fields) {
      if (document.activeElement !== field) field.value = state[field.id];
      field.closest(".control").hidden = !isNeeded(field.id);
      const known = sliders.get(field.id);
      if (!known) continue;
      const value = Number(state[field.id]);
      const distances = known.stops.map((each) => abs(each - value));
      known.slider.max = known.stops.length - 1;
      known.slider.value = distances.indexOf(min(...distances));
      known.slider.setAttribute("aria-valuetext", text(value, 6));
    }
  }

  // ---------------------------------------------------------------- theory

  const known = new Map(); // activations, which remember their integrals

  function activation() {
    const key = `${state.act}(${state.param})`;
    if (!known.has(key)) known.set(key, new meanfield.Activation(state.act, Number(state.param)));
    return known.get(key);
  }

  /** Everything that the page says, from the state alone. */
  function model() {
    const f = activation();
    const block = blocks[state.block];
    const [depth, biasStddev, fanIn, fanOut] = ["depth", "bias", "fan_in", "fan_out"].map((name) => Number(state[name]));
    const made = initializers.of(state, fanIn, fanOut);
    const weights = block.steps.filter((step) => step.kind === "dense").map((step) => {
      const [inputs, outputs] = [step.inputs * fanIn, step.outputs * fanOut];
      const { stddev } = initializers.of(state, inputs, outputs);
      return { inputs: inputs * stddev ** 2, outputs: outputs * stddev ** 2 };
    });
    const network = { block, activation: f, depth, biasStddev, weights };
    const theory = meanfield.profile(block, f, weights, depth, biasStddev);
    const width = simulation.widthOf(block, depth, max(fanIn, fanOut));
    const stream = philox.Stream.of(BigInt(state.seed));
    const law = made.law === "orthogonal" ? "normal" : made.law;
    const sigma = sqrt(weights[0].inputs);
    return {
      ...network, made, f, fanIn, fanOut, theory, width, sigma,
      simulated: simulation.run({ ...network, width, law, dtype: state.dtype, stream }),
      critical: kept("critical", [f, biasStddev], () => meanfield.criticalStddev(f, biasStddev)),
      unit: meanfield.unitGain(f),
      chi: meanfield.chi(f, sigma, biasStddev),
      verdict: meanfield.verdict(theory),
      values: kept("values", [made.law, made.parameter, state.seed, state.dtype, fanIn, fanOut], () =>
        initializers.drawn(made, state, fanIn, fanOut)),
    };
  }

  const memory = {};

  /** What a function makes, kept while what it depends on stays. */
  function kept(name, needs, make) {
    if (!memory[name]?.needs.every((each, place) => each === needs[place])) memory[name] = { needs, made: make() };
    return memory[name].made;
  }

  // ---------------------------------------------------------------- charts

  const marks = (kind, x, y, name, color, more = {}) => ({
    kind, x, y, name, color, upper: [], labels: [], emphasized: [], ...more,
  });
  const axis = (label, limits = null, is_log = false) => ({ label, is_log, limits });

  /** A size by depth: theory as a line, the simulated network as dots. */
  function byDepth(name, title, theory, simulated) {
    const [sizes, dots] = [theory, simulated].map((squares) => squares.map((each) => sqrt(each)));
    const { largest, smallest } = rounding.DTYPES[state.dtype];
    const shown = [...sizes, ...dots].filter((each) => each > 0 && each < Infinity);
    let [low, high] = [min(1, ...shown), max(1, ...shown)];
    // At least a factor of a hundred, so that a size that stays looks as if it did.
    [low, high] = [min(low / 1.3, 0.1), max(high * 1.3, 10)];
    const guides = [{ axis: "y", at: 1, label: "" }];
    if (high > largest / 10) guides.push({ axis: "y", at: largest, label: `largest ${state.dtype}` });
    if (low < smallest * 10) guides.push({ axis: "y", at: smallest, label: `smallest ${state.dtype}` });
    for (const { at } of guides) [low, high] = [min(low, at), max(high, at)];
    const x = sizes.map((_, place) => place);
    return {
      name,
      title,
      description: `from ${text(sizes[0])} at the input to ${text(sizes.at(-1))} at the output`,
      x: axis("layer", [0, sizes.length - 1]),
      y: axis("root mean square", [low, high], true),
      marks: [
        marks("dots", x, dots.map(shownNumber), `one network, ${now.width} wide`, 1),
        marks("line", x, sizes.map(shownNumber), "theory", 0),
      ],
      guides,
    };
  }

  const shownNumber = (value) => (Number.isFinite(value) ? value : null);

  /** The elements that were drawn, against the density that they follow. */
  function weightsChart() {
    const { made, values } = now;
    const { reach } = made;
    const [low, high] = [-1.15 * reach, 1.15 * reach];
    const count = 46;
    const width = (high - low) / count;
    const counts = new Array(count).fill(0);
    for (const each of values) {
      const place = Math.floor((each - low) / width);
      if (place >= 0 && place < count) counts[place]++;
    }
    const edges = Array.from({ length: count + 1 }, (_, place) => low + place * width);
    const x = Array.from({ length: 241 }, (_, place) => low + (place * (high - low)) / 240);
    if (made.isBounded) x.push(-reach, reach, -reach * (1 + 1e-9), reach * (1 + 1e-9));
    x.sort((a, b) => a - b);
    const limits = made.isBounded ? [-reach, reach].map((at) => ({ axis: "x", at, label: text(at) })) : [];
    return {
      name: "weights",
      title: "The weights",
      description: `${values.length} elements with a standard deviation of ${text(deviation(values))}`,
      x: axis("weight", [low, high]),
      y: axis("density"),
      marks: [
        marks("bars", edges, counts.map((each) => each / values.length / width), `${text(values.length, 6)} drawn here`, 1),
        marks("line", x, x.map((each) => shownNumber(made.density(each))), "theory", 0),
      ],
      guides: limits,
    };
  }

  /** The activation and its slope, over the pre-activations that come to it. */
  function activationChart() {
    const { f, theory } = now;
    const last = sqrt(theory.preactivations.find((each) => each > 0) ?? 1);
    const size = last > 0 && last < 1e6 ? last : 1;
    const reach = max(3 * size, 1);
    const x = Array.from({ length: 401 }, (_, place) => (place / 200 - 1) * reach);
    const values = x.map(f.value);
    const top = max(1, ...values.filter(Number.isFinite).map(abs));
    const bell = x.map((each) => exp((-each * each) / (2 * size * size)) * min(top, 1));
    return {
      name: "activation",
      title: `What ${state.act} makes of them`,
      description: `${state.act} and its slope from ${text(-reach)} to ${text(reach)}`,
      x: axis("pre-activation", [-reach, reach]),
      y: axis("output"),
      marks: [
        marks("band", x, x.map(() => 0), `what comes in: normal, size ${text(size)}`, 5, { upper: bell }),
        marks("line", x, x.map(f.slope).map(shownNumber), "its slope", 2),
        marks("line", x, values.map(shownNumber), state.act, 0),
      ],
      guides: [],
    };
  }

  /** The root mean square of numbers about 0. */
  const deviation = (values) => sqrt(values.reduce((sum, each) => sum + each * each, 0) / values.length);

  // ---------------------------------------------------------------- words

  const product = (first, second) => (first === 0 || second === 0 ? 0 : first * second);
  const { factorText } = meanfield;

  /** What one plain layer does to mean squares, as products: to the signal's forward, to the gradient's back. */
  function sums() {
    const { weights, theory, f, fanIn, fanOut, biasStddev } = now;
    const before = theory.preactivations[0];
    const { square, slope } = f.moments(before);
    const many = (count, name) => `${text(count, 6)} products add up: ${name} × Var(w)`;
    const biases = biasStddev ? [["+", biasStddev ** 2, "from the biases"]] : [];
    return [
      sum("signal", theory.signal[1], [
        ["", weights[0].inputs, many(fanIn, "fan_in")],
        ...biases,
        ["×", square / before, `is what ${state.act} lets pass of a mean square`],
      ]),
      sum("gradient", product(weights[0].outputs, slope), [
        ["", weights[0].outputs, many(fanOut, "fan_out")],
        ["×", slope, `is the mean square of ${state.act}’s slope`],
      ]),
    ];
  }

  function sum(name, total, terms) {
    const size = factorText(sqrt(total));
    const { tone } = now.verdict[name];
    const box = (value, words, kind = "") =>
      html("div", { class: `term ${kind}` }, html("strong", {}, factorText(value)), words);
    const parts = terms.flatMap(([sign, value, words]) => [sign && html("i", {}, sign), box(value, words)]);
    const result = box(total, `so the first layer multiplies its size by ${size}`, "total");
    return html("div", { class: "sum", "data-tone": tone }, html("b", {}, name), ...parts, html("i", {}, "="), result);
  }

  /** What to do: a sentence, and for each button its name and what it changes. */
  function advice() {
    const { verdict, block } = now;
    const isNormed = [...block.steps, ...block.after].some((step) => !["dense", "activate"].includes(step.kind));
    if (block.is_residual) return verdict.tone === "good" ? ["Nothing to mend."] : ofResiduals(isNormed);
    if (!isNormed) return ofPlain();
    const words = "The normalization undoes the scale of the weights, so no gain changes this";
    if (verdict.tone === "good") return [`${words}.`];
    return [`${words}: make it less deep, or residual.`, ["use pre_norm_scaled", { block: "pre_norm_scaled" }]];
  }

  function ofResiduals(isNormed) {
    if (state.block === "post_norm")
      return ["The norm after each addition changes the gradient, too: put it before.", ["use pre_norm", { block: "pre_norm" }]];
    const to = isNormed ? "pre_norm_scaled" : "residual_scaled";
    if (state.block !== to)
      return ["Each branch adds to the signal: multiply branches by 1 / √(2 × depth).", [`use ${to}`, { block: to }]];
    return ["The branches are large for residual ones.", ["halve the gain", { gain: String(Number(state.gain) / 2) }]];
  }

  const UNCOMMON = 4; // σ_w that theory may ask for, and nobody should use

  function ofPlain() {
    const { critical, unit, sigma, depth, verdict } = now;
    const tried = [critical, unit]
      .filter((each) => each !== null && Number.isFinite(each))
      .map((stddev) => ({ stddev, ...withStddev(stddev) }));
    const best = tried.sort((first, second) => first.loss - second.loss)[0];
    const more = [["use layer_norm", { block: "layer_norm" }], ["use residual_scaled", { block: "residual_scaled" }]];
    if (!best || best.loss > lossOf(verdict) - 0.05) {
      if (verdict.tone === "good") return [`Nothing to mend: σ_w is ${text(sigma)}, which suits ${state.act}.`];
      return [`No scale keeps signal and gradient through ${depth} layers of ${state.act}: normalize, or add branches.`, ...more];
    }
    if (best.stddev > UNCOMMON && best.stddev > sigma)
      return [`Only σ_w = ${text(best.stddev)} would suit ${state.act}, and no network begins so: choose another activation for hidden layers, or normalize.`, ...more];
    const ratio = best.stddev / sigma;
    const named = ruleOf(best.stddev ** 2);
    const gain = { gain: String(Number((Number(state.gain) * ratio).toPrecision(6))) };
    const words = `Multiply the weights by ${text(ratio)}: σ_w = ${text(best.stddev)} suits ${state.act}`;
    const buttons = [[`multiply by ${text(ratio)}`, gain], ...(named ? [[`use ${named}`, { init: named, gain: "1" }]] : [])];
    if (best.tone === "good") return [`${words}.`, ...buttons];
    return [`${words} better, though not through ${depth} layers: normalize, or add branches.`, ...buttons, ...more];
  }

  /** What theory says if σ_w is this one: how far sizes move at most, and how good that is. */
  function withStddev(stddev) {
    const { block, f, depth, biasStddev } = now;
    const square = stddev ** 2;
    const weights = now.weights.map(({ inputs, outputs }) => ({ inputs: square, outputs: square * (outputs / inputs) }));
    const verdict = meanfield.verdict(meanfield.profile(block, f, weights, depth, biasStddev));
    return { loss: lossOf(verdict), tone: verdict.tone };
  }

  const lossOf = ({ signal, gradient }) => max(...[signal, gradient].map((each) => abs(Math.log(each.total))));

  /** The rule of the literature that has this σ_w². */
  function ruleOf(square) {
    const kind = now.made.law === "uniform" ? "uniform" : "normal";
    return abs(square - 2) < 1e-3 ? `he_${kind}` : abs(square - 1) < 1e-3 ? `lecun_${kind}` : null;
  }

  /** What the dtype does, of which theory knows nothing. */
  function dtypeNotes() {
    const { largest, smallest } = rounding.DTYPES[state.dtype];
    const { signal, gradient } = now.theory;
    const notes = [];
    const found = [
      ["signal", signal, (place) => `from layer ${place} on`],
      ["gradient", [...gradient].reverse(), (place) => `${place} layer${place > 1 ? "s" : ""} before the output`],
    ];
    for (const [name, squares, where] of found) {
      const over = squares.findIndex((each) => sqrt(each) > largest);
      const under = squares.findIndex((each) => sqrt(each) < smallest / 2);
      if (over >= 0) notes.push(`The ${name} overflows in ${state.dtype} ${where(over)}.`);
      if (under >= 0) notes.push(`The ${name} is rounded to zero in ${state.dtype} ${where(under)}.`);
    }
    if (shareOfZeros() > 1e-3) notes.push(`${percent(shareOfZeros())} of the weights are zero in ${state.dtype}.`);
    return notes;
  }

  const capital = (words) => words[0].toUpperCase() + words.slice(1);
  const shareOfZeros = () => now.values.reduce((sum, each) => sum + (each === 0), 0) / now.values.length;
  const percent = (share) => `${text(100 * share)} %`;

  function numbers() {
    const { made, sigma, critical, unit, values, chi } = now;
    const orNone = (value) => (value === null || !Number.isFinite(value) ? "none" : text(value, 4));
    const spread = deviation(values);
    const bound = made.isBounded ? `± ${text(made.reach, 4)}` : "none";
    return {
      "σ_w, of these weights": text(sigma, 4),
      ...(state.block === "plain" && {
        "σ_w, critical (χ = 1)": orNone(critical),
        "σ_w that keeps size 1": orNone(unit),
        "χ at the fixed point": orNone(chi),
      }),
      "standard deviation": text(made.stddev, 4),
      "of those drawn": text(spread, 4),
      bounds: bound,
      "first elements": [...values.slice(0, 3)].map((each) => text(each, 4)).join(", "),
      "distinct values": `${text(new Set(values).size, 6)} of ${text(values.length, 6)}`,
      "zeros": percent(shareOfZeros()),
    };
  }

  // ---------------------------------------------------------------- code

  const python = () => initializers.python(now.made, state, state.act in params);
  const rule = () => initializers.rule(now.made);
  const link = () => `${location.href.split("#")[0]}${fragment()}`;
  const COPIES = { python, rule, link };
  const CALLED = { python: "Python", rule: "recipe rule", link: "link" };

  async function copy(name) {
    const given = COPIES[name]();
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(given);
    } catch {
      isCopied = copiedByHand(given);
    }
    const said = isCopied ? `Copied: ${CALLED[name]}.` : `The browser does not let pages copy. Here it is: ${given}`;
    element("copied").textContent = said;
    say(said);
  }

  /** Copies as older browsers do, where the clipboard is denied. */
  function copiedByHand(given) {
    const area = html("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = given;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return isCopied;
  }

  // ---------------------------------------------------------------- the page

  let now = null;
  let complaints = [];
  let timer = 0;

  /** Tells those who do not see the page, once nothing has changed for a moment. */
  function say(words) {
    clearTimeout(timer);
    timer = setTimeout(() => (element("spoken").textContent = words), 400);
  }

  function render() {
    show();
    now = model();
    const { verdict, theory, simulated } = now;
    const param = params[state.act] ? ` (${state.param})` : "";
    const gain = Number(state.gain) === 1 ? "" : ` × ${state.gain}`;
    element("setting").textContent =
      `${state.init}${gain}, ${state.act}${param}, ${state.depth} ${state.block} blocks, ${state.fan_in} → ${state.fan_out}, ${state.dtype}`;
    const mark = { good: "✓", warn: "!", bad: "✗" }[verdict.tone];
    element("sentence").textContent = `${mark} ${capital(verdict.sentence)}`;
    element("verdict").dataset.tone = element("todo").dataset.tone = verdict.tone;
    const [words, ...buttons] = advice();
    const mended = buttons.map(([name, to]) => html("button", { type: "button", click: () => change(to) }, capital(name)));
    element("advice").replaceChildren(words);
    element("mend").replaceChildren(...mended);
    const refusals = complaints.map((each) => html("li", { class: "refused" }, each));
    element("notes").replaceChildren(...refusals, ...dtypeNotes().map((each) => html("li", {}, each)));
    element("layer").hidden = state.block !== "plain";
    element("sums").replaceChildren(...(state.block === "plain" ? sums() : []));
    const figures = [
      byDepth("signal", "The signal, from layer to layer", theory.signal, simulated.signal),
      byDepth("gradient", "The gradient, on its way back", theory.gradient, simulated.gradient),
      weightsChart(),
      activationChart(),
    ];
    for (const chart of figures) charts.draw(element(chart.name), chart, 220);
    element("numbers").replaceChildren(
      ...Object.entries(numbers()).map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))),
    );
    element("python").textContent = python();
    element("rule").textContent = rule();
    element("copied").textContent = "";
    for (const each of document.querySelectorAll("nav a")) {
      if (each.hash === location.hash) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
    }
    say(`${verdict.sentence}. ${words} ${complaints.join(" ")}`);
  }

  /** The state in the address: all that is not the default, and always what people read first. */
  function fragment() {
    const initial = { ...defaults, param: String(params[state.act]?.default ?? 0) };
    const names = fields.map((field) => field.id);
    const told = names.filter((name) => ["init", "act"].includes(name) || (isNeeded(name) && state[name] !== initial[name]));
    return `#${told.map((name) => `${name}=${encodeURIComponent(state[name])}`).join("&")}`;
  }

  let isMoving = false; // whether what is dragged or typed has its entry in the history, which then follows it

  /** Changes the state and the address; `isDone` is false while something is dragged or typed. */
  function change(changed, isDone = true) {
    const next = { ...state, ...changed };
    if (changed.act !== undefined && changed.act !== state.act && changed.param === undefined) delete next.param;
    complaints = take(next);
    const address = fragment();
    if (address !== location.hash) history[isMoving ? "replaceState" : "pushState"](null, "", address);
    isMoving = !isDone;
    render();
  }

  function fromAddress() {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    complaints = take(given);
    document.activeElement?.blur?.();
    render();
  }

  /** Takes what a control says; what cannot be is marked while it is typed, and said when that is done. */
  function edited(field, value, isDone) {
    const rule = wrong(field, value);
    if (rule && !isDone) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (!rule) return change({ [field.id]: value }, isDone);
    if (!isDone) return;
    complaints = [refused(field, rule, value)];
    field.value = state[field.id];
    render();
  }

  for (const field of fields) {
    field.addEventListener("input", () => edited(field, field.value, false));
    field.addEventListener("change", () => edited(field, field.value, true));
  }
  for (const [name, { slider, stops: numbersOf }] of sliders) {
    const value = () => String(numbersOf[slider.value]);
    slider.addEventListener("input", () => edited(element(name), value(), false));
    slider.addEventListener("change", () => edited(element(name), value(), true));
  }
  for (const button of document.querySelectorAll("[data-copies]"))
    button.addEventListener("click", () => copy(button.dataset.copies));
  element("again").addEventListener("click", () => change({ seed: String(BigInt.asIntN(64, BigInt(state.seed) + 1n)) }));
  element("reset").addEventListener("click", () => change({ ...defaults }));
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("popstate", fromAddress);
  fromAddress();

  return { state, model, change, fragment, blocks };
})();
