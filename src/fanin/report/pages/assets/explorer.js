// The explorer: from controls to charts, a verdict and code. The address keeps what is chosen.
"use strict";

const explorer = (() => {
  const { html } = dom;
  const { activations, aliases, blocks } = dom.data();
  const { sqrt, exp, min, max, abs, fround } = Math;
  const DRAWN = 16_384; // elements of the histogram, at most
  const TRUNCATED_STDDEV = 0.87962566103423978; // of a unit normal truncated at two standard deviations
  // Rules of the literature: scale, mode and distribution.
  const RULES = {
    he_normal: [2, "fan_in", "truncated_normal"],
    he_uniform: [2, "fan_in", "uniform"],
    glorot_normal: [1, "fan_avg", "truncated_normal"],
    glorot_uniform: [1, "fan_avg", "uniform"],
    lecun_normal: [1, "fan_in", "truncated_normal"],
    lecun_uniform: [1, "fan_in", "uniform"],
  };
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
    param: () => activations[state.act] !== null,
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
    const value = given.trim() === "" ? NaN : Number(given);
    const isWhole = field.step !== "1" || Number.isInteger(value);
    if (value >= low && value <= high && isWhole) return "";
    return `a ${field.step === "1" ? "whole " : ""}number from ${text(low)} to ${text(high, 9)}`;
  }

  /** Takes the state from texts by name; what cannot be is replaced by the default, and said. */
  function take(given) {
    const complaints = Object.keys(given)
      .filter((name) => !(name in defaults))
      .map((name) => `${JSON.stringify(name)} is no control of this page: it is left out.`);
    Object.assign(state, defaults);
    for (const field of fields) {
      let value = given[field.id];
      if (field.id === "param") {
        // Its default depends on the activation, which comes before it.
        const known = activations[state.act];
        state.param = known ? String(known.default) : "0";
        field.min = known?.least ?? -10;
      }
      if (value === undefined) continue;
      if (field.id === "act") value = named(value);
      const rule = wrong(field, value);
      if (!rule) state[field.id] = field.options ? value : String(field.id === "seed" ? BigInt(value) : Number(value));
      else complaints.push(`${field.id} must be ${rule}. Received: ${value || "nothing"}. ${state[field.id]} is used.`);
    }
    return complaints;
  }

  /** An activation by the name that it is listed under. */
  function named(given) {
    const plain = given.replaceAll("_", "").replace(/^conv(transpose)?[123]d$/, "linear");
    const known = aliases[plain] ?? plain;
    return Object.keys(activations).find((each) => each.replaceAll("_", "") === known.replaceAll("_", "")) ?? given;
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

  // ---------------------------------------------------------------- weights

  /** The initializer of the state: what it draws, as `fanin` says it, and its Python. */
  function initializer() {
    const gain = Number(state.gain);
    const rule = RULES[state.init];
    const stddev = Number(state.stddev) * gain;
    if (rule && gain === 1) return { ...scaled(...rule), name: state.init, arguments: {} };
    if (rule || state.init === "variance_scaling") {
      const [factor, mode, distribution] = rule ?? [Number(state.scale), state.mode, state.dist];
      const scale = factor * gain * gain;
      return { ...scaled(scale, mode, distribution), name: "variance_scaling", arguments: { scale, mode, distribution } };
    }
    if (state.init === "random_normal") return { law: "normal", parameter: stddev, name: state.init, arguments: { stddev } };
    if (state.init === "truncated_normal")
      return { law: "truncated_normal", parameter: stddev, name: state.init, arguments: { stddev } };
    if (state.init === "random_uniform") {
      const limit = Number(state.limit) * gain;
      return { law: "uniform", parameter: limit, name: state.init, arguments: { minval: -limit, maxval: limit } };
    }
    return { law: "orthogonal", parameter: gain, name: state.init, arguments: gain === 1 ? {} : { gain } };
  }

  /** What is drawn with a variance of `scale / n`. */
  function scaled(scale, mode, distribution) {
    const [fanIn, fanOut] = [Number(state.fan_in), Number(state.fan_out)];
    const units = { fan_in: fanIn, fan_out: fanOut, fan_avg: (fanIn + fanOut) / 2, fan_geo_avg: sqrt(fanIn * fanOut) }[mode];
    const variance = scale / max(1, units);
    if (distribution === "uniform") return { law: "uniform", parameter: sqrt(3 * variance) };
    if (distribution === "truncated_normal") return { law: "truncated_normal", parameter: sqrt(variance) / TRUNCATED_STDDEV };
    return { law: "normal", parameter: sqrt(variance) };
  }

  // For each law of a parameter p: its standard deviation, its reach, whether that is a bound, and its density.
  const LAWS = {
    uniform: {
      stddev: (p) => (2 * p) / sqrt(12),
      reach: (p) => p,
      isBounded: true,
      density: (x, p) => (abs(x) <= p ? 1 / (2 * p) : 0),
    },
    normal: { stddev: (p) => p, reach: (p) => 4.2 * p, isBounded: false, density: (x, p) => meanfield.density(x / p) / p },
    truncated_normal: {
      stddev: (p) => TRUNCATED_STDDEV * p,
      reach: (p) => 2 * p,
      isBounded: true,
      density: (x, p) => (abs(x) <= 2 * p ? meanfield.density(x / p) / p / (1 - 2 * meanfield.share(-2)) : 0),
    },
    orthogonal: {
      stddev: (p) => p / sqrt(longer()),
      reach: (p) => min(p, (4.2 * p) / sqrt(longer())),
      isBounded: false,
      density: (x, p) => haar(x / p, longer()) / p,
    },
  };
  const longer = () => max(Number(state.fan_in), Number(state.fan_out));

  /** The density of an element of a random unit vector of so many numbers. */
  function haar(x, count) {
    if (count < 4 || x * x >= 1) return count === 3 && x * x < 1 ? 0.5 : NaN; // two points, or ends without limit
    let scale = count % 2 ? 0.5 : 2 / Math.PI; // for 3 and 4, and so on by the gamma function's recurrence
    for (let each = count % 2 ? 3 : 4; each < count; each += 2) scale *= each / (each - 1);
    return scale * (1 - x * x) ** ((count - 3) / 2);
  }

  const MADE_OF = { uniform: "uniform", normal: "normal", truncated_normal: "truncated_normal", orthogonal: "normal" };
  const isDrawn = (dtype) => !dtype.startsWith("float8"); // others are rounded from float32
  let drawnLast = {};

  /** The first elements of the tensor, as fanin makes them; of an orthogonal matrix, its first columns or rows. */
  function drawn(made) {
    const key = JSON.stringify([made.law, made.parameter, state.seed, state.dtype, state.fan_in, state.fan_out]);
    if (drawnLast.key === key) return drawnLast.values;
    const stream = philox.Stream.of(BigInt(state.seed));
    const dtype = isDrawn(state.dtype) ? state.dtype : "float32";
    const size = Number(state.fan_in) * Number(state.fan_out);
    let values;
    if (made.law === "orthogonal") {
      const shorter = min(Number(state.fan_in), Number(state.fan_out));
      const count = min(shorter, max(1, Math.floor(DRAWN / 2 / longer())));
      const gain = fround(made.parameter);
      values = philox.orthonormal(stream, longer(), shorter, count).flatMap((each) => [...each].map((x) => fround(x * gain)));
    } else {
      const high = rounding.parameter(made.parameter, dtype);
      const isUniform = made.law === "uniform";
      const scale = isUniform ? rounding.DTYPES[dtype].round(2 * high) : high;
      values = philox.values(stream, { law: made.law, scale, origin: isUniform ? -high : 0 }, dtype, min(size, DRAWN));
    }
    if (!isDrawn(state.dtype) || made.law === "orthogonal") values = values.map(rounding.DTYPES[state.dtype].round);
    drawnLast = { key, values };
    return values;
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
    const made = initializer();
    const f = activation();
    const block = blocks[state.block];
    const [depth, bias, fanIn, fanOut] = ["depth", "bias", "fan_in", "fan_out"].map((name) => Number(state[name]));
    const stddev = LAWS[made.law].stddev(fround(made.parameter)); // of the parameter as float32 has it
    const dense = block.steps.filter((step) => step.kind === "dense");
    const weights = dense.map((step) => weightsOf(made, step.inputs * fanIn, step.outputs * fanOut, stddev));
    const theory = meanfield.profile(block, f, weights, depth, bias);
    const width = simulation.widthOf(block, depth, fanIn);
    const stream = philox.Stream.of(BigInt(state.seed));
    const network = { block, activation: f, depth, width, biasStddev: bias, dtype: state.dtype, stream };
    const law = MADE_OF[made.law];
    const simulated = simulation.run({ ...network, law, inputs: weights[0].inputs, outputs: weights[0].outputs });
    const sigma = sqrt(weights[0].inputs);
    const critical = criticalOf(f, bias);
    return {
      made, f, block, depth, bias, fanIn, fanOut, stddev, weights, theory, width, simulated, sigma, critical,
      unit: meanfield.unitGain(f),
      chi: meanfield.chi(f, sigma, bias),
      verdict: meanfield.verdict(theory),
      values: drawn(made),
    };
  }

  /** What theory knows of a dense layer's weights, of which those of the literature depend on its shape. */
  function weightsOf(made, inputs, outputs, stddev) {
    const own = { fan_in: state.fan_in, fan_out: state.fan_out };
    let spread = stddev;
    if (inputs !== Number(own.fan_in) || outputs !== Number(own.fan_out)) {
      Object.assign(state, { fan_in: inputs, fan_out: outputs });
      const there = initializer();
      spread = LAWS[there.law].stddev(fround(there.parameter));
      Object.assign(state, own);
    }
    return { inputs: inputs * spread ** 2, outputs: outputs * spread ** 2 };
  }

  let criticalLast = {};

  function criticalOf(f, bias) {
    if (criticalLast.f !== f || criticalLast.bias !== bias)
      criticalLast = { f, bias, value: meanfield.criticalStddev(f, bias) };
    return criticalLast.value;
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
    const law = LAWS[made.law];
    const reach = law.reach(made.parameter);
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
    if (law.isBounded) x.push(-reach, reach, -reach * (1 + 1e-9), reach * (1 + 1e-9));
    x.sort((a, b) => a - b);
    const limits = law.isBounded ? [-reach, reach].map((at) => ({ axis: "x", at, label: text(at) })) : [];
    return {
      name: "weights",
      title: "The weights",
      description: `${values.length} elements with a standard deviation of ${text(deviation(values))}`,
      x: axis("weight", [low, high]),
      y: axis("density"),
      marks: [
        marks("bars", edges, counts.map((each) => each / values.length / width), `${text(values.length, 6)} drawn here`, 1),
        marks("line", x, x.map((each) => shownNumber(law.density(each, made.parameter))), "theory", 0),
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

  /** What one plain layer does to mean squares, as products: of the signal forward, and of the gradient back. */
  function sums() {
    const { weights, theory, f, fanIn, fanOut, bias, block } = now;
    const isPlain = state.block === "plain";
    element("layer").hidden = !isPlain;
    if (!isPlain) return [];
    const before = theory.preactivations[0];
    const { square, slope } = f.moments(before);
    const [first, second] = [theory.signal[1], product(weights[0].outputs, slope)];
    const biases = bias ? [[`+ ${text(bias ** 2)}`, "", "from the biases"]] : [];
    return [
      sum("signal", [
        ["", text(weights[0].inputs), `${text(fanIn, 6)} products add up: fan_in × Var(w)`],
        ...biases,
        ["×", text(square / before), `of that mean square passes ${state.act}`],
      ], first),
      sum("gradient", [
        ["", text(weights[0].outputs), `${text(fanOut, 6)} products add up: fan_out × Var(w)`],
        ["×", text(slope), `mean square of the slope of ${state.act}`],
      ], second),
    ];
  }

  const product = (first, second) => (first === 0 || second === 0 ? 0 : first * second);

  function sum(name, terms, total) {
    const size = sqrt(total);
    const after = size ** now.depth;
    const tone = after > 100 || !(after >= 0.01) ? "bad" : after > 4 || after < 0.25 ? "warn" : "good";
    const parts = terms.flatMap(([sign, value, words]) => [
      sign ? html("i", {}, sign) : null,
      html("div", { class: "term" }, value ? html("strong", {}, value) : null, words),
    ]);
    const result = html("div", { class: "term total" }, html("strong", {}, text(total)), `so its size is multiplied by ${text(size)}`);
    return html("div", { class: "sum", "data-tone": tone }, html("b", {}, name), ...parts, html("i", {}, "="), result);
  }

  /** What to do, in words and as buttons; each button is a name and the state that it sets. */
  function advice() {
    const { verdict, sigma, critical, unit, block } = now;
    const isNormed = [...block.steps, ...block.after].some((step) => !["dense", "activate"].includes(step.kind));
    if (verdict.tone === "good") return [isNormed && !block.is_residual ? "The normalization undoes the scale of the weights." : "Nothing to mend.", []];
    if (block.is_residual) return ofResiduals(isNormed);
    if (isNormed) return ["The normalization undoes the scale of the weights, so no gain helps: make the network less deep, or residual.", [["use pre_norm_scaled", { block: "pre_norm_scaled" }]]];
    const candidates = [critical, unit].filter((each) => each !== null && Number.isFinite(each));
    const best = candidates.map((each) => ({ each, tried: tried(each / sigma) })).sort((a, b) => a.tried.loss - b.tried.loss)[0];
    const now_ = tried(1).loss;
    if (!best || !(best.tried.loss < now_ - 0.01))
      return [`No scale of weights keeps both signal and gradient through ${now.depth} layers of ${state.act}: normalize, or add residual branches.`, [["use layer_norm", { block: "layer_norm" }], ["use residual_scaled", { block: "residual_scaled" }]]];
    const ratio = best.each / sigma;
    const buttons = [[`multiply by ${text(ratio)}`, { gain: String(Number((Number(state.gain) * ratio).toPrecision(6))) }]];
    const name = ruleOf(best.each ** 2);
    if (name && name !== state.init) buttons.push([`use ${name}`, { init: name, gain: "1" }]);
    else if (name && Number(state.gain) !== 1) buttons.splice(0, 1, [`gain 1`, { gain: "1" }]);
    const rest = best.tried.tone === "good" ? "" : " That helps; it is not enough for this depth: normalize, or add residual branches.";
    return [`Multiply the weights by ${text(ratio)}: then σ_w is ${text(best.each)}, ${best.each === critical ? "the critical one" : "at which signals of size 1 stay"} for ${state.act}.${rest}`, buttons];
  }

  function ofResiduals(isNormed) {
    const to = isNormed ? "pre_norm_scaled" : "residual_scaled";
    if (state.block === to) return ["The branches are large for residual ones: a smaller gain helps.", [["halve the gain", { gain: String(Number(state.gain) / 2) }]]];
    if (state.block === "post_norm") return ["A norm after the addition shrinks the gradient in every block: put it before.", [["use pre_norm", { block: "pre_norm" }]]];
    return ["Each branch adds to the signal. Multiply branches by 1 / √(2 × depth).", [[`use ${to}`, { block: to }]]];
  }

  /** What theory says if weights are multiplied by so much: how far sizes go, and how good that is. */
  function tried(ratio) {
    const weights = now.weights.map(({ inputs, outputs }) => ({ inputs: inputs * ratio ** 2, outputs: outputs * ratio ** 2 }));
    const { signal, gradient, tone } = meanfield.verdict(meanfield.profile(now.block, now.f, weights, now.depth, now.bias));
    return { loss: max(abs(Math.log(signal.total)), abs(Math.log(gradient.total))), tone };
  }

  /** The rule of the literature that has this σ_w² with inputs alone; of the family that is chosen. */
  function ruleOf(square) {
    const kind = LAWS[now.made.law] === LAWS.uniform ? "uniform" : "normal";
    const family = abs(square - 2) < 0.001 ? "he" : abs(square - 1) < 0.001 ? "lecun" : null;
    return family && `${family}_${kind}`;
  }

  /** What the dtype does that theory does not know. */
  function dtypeNotes() {
    const { largest, smallest } = rounding.DTYPES[state.dtype];
    const notes = [];
    for (const [name, squares] of [["signal", now.theory.signal], ["gradient", [...now.theory.gradient].reverse()]]) {
      const sizes = squares.map((each) => sqrt(each));
      const over = sizes.findIndex((each) => each > largest);
      const under = sizes.findIndex((each) => each < smallest / 2);
      const where = (place) => (name === "signal" ? `layer ${place}` : `${place} layers back`);
      if (over >= 0) notes.push(`The ${name} overflows in ${state.dtype} from ${where(over)} on.`);
      if (under >= 0) notes.push(`The ${name} is rounded to zero in ${state.dtype} from ${where(under)} on.`);
    }
    const zeros = shareOfZeros();
    if (zeros > 0.001) notes.push(`${percent(zeros)} of the weights are zero in ${state.dtype}.`);
    return notes;
  }

  const shareOfZeros = () => now.values.reduce((sum, each) => sum + (each === 0), 0) / now.values.length;
  const percent = (share) => `${text(100 * share)} %`;

  function numbers() {
    const { made, sigma, critical, unit, stddev, values, chi } = now;
    const orNone = (value) => (value === null || !Number.isFinite(value) ? "none" : text(value, 4));
    const spread = deviation(values);
    const law = LAWS[made.law];
    const bound = law.isBounded ? `± ${text(law.reach(made.parameter), 4)}` : "none";
    return {
      "σ_w, of these weights": text(sigma, 4),
      "σ_w, critical (χ = 1)": orNone(critical),
      "σ_w that keeps size 1": orNone(unit),
      "χ at the fixed point": orNone(chi),
      "standard deviation": text(stddev, 4),
      "of those drawn": text(spread, 4),
      bounds: bound,
      "first elements": [...values.slice(0, 3)].map((each) => text(each, 4)).join(", "),
      "distinct values": `${text(new Set(values).size, 6)} of ${text(values.length, 6)}`,
      "zeros": percent(shareOfZeros()),
    };
  }

  // ---------------------------------------------------------------- code

  const camel = (name) => name.split("_").map((each) => each[0].toUpperCase() + each.slice(1)).join("");
  const literal = (value) => (typeof value === "string" ? `"${value}"` : String(value));

  function python() {
    const { made } = now;
    const given = [...Object.entries(made.arguments).map(([name, value]) => `${name}=${literal(value)}`), `seed=${state.seed}`];
    const isOwn = isDrawn(state.dtype);
    const shape = `(${state.fan_in}, ${state.fan_out})`;
    const options = [
      `depth=${state.depth}`, `width=${state.fan_in}`,
      ...(state.block === "plain" ? [] : [`block="${state.block}"`]),
      ...(Number(state.bias) ? [`bias_stddev=${state.bias}`] : []),
      "simulate=False",
    ];
    const act = activations[state.act] ? `fanin.theory.activation("${state.act}", ${state.param})` : `"${state.act}"`;
    const compared = state.fan_in === state.fan_out
      ? [`report = fanin.compare(initializer, ${act}, ${options.join(", ")})`, "print(report.rows[0].verdict)"]
      : [`# fanin.compare has square layers; here, ${state.fan_in} units feed ${state.fan_out}.`];
    return [
      "import fanin",
      ...(isOwn ? [] : ["import ml_dtypes"]),
      ...(activations[state.act] && state.fan_in === state.fan_out ? ["import fanin.theory"] : []),
      "",
      `initializer = fanin.${camel(made.name)}(${given.join(", ")})`,
      isOwn
        ? `weights = initializer(${shape}, dtype="${state.dtype}")`
        : `weights = initializer(${shape}).astype(ml_dtypes.${state.dtype})`,
      ...compared,
      "",
    ].join("\n");
  }

  function rule() {
    const { made } = now;
    const given = Object.entries(made.arguments).map(([name, value]) => `${name} = ${literal(value)}`);
    return ["[[rules]]", 'name = "kernels"', 'role = "kernel"', `initializer = "${made.name}"`, ...given, ""].join("\n");
  }

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
    const param = activations[state.act] ? ` (${state.param})` : "";
    const gain = Number(state.gain) === 1 ? "" : ` × ${state.gain}`;
    element("setting").textContent =
      `${state.init}${gain}, ${state.act}${param}, ${state.depth} ${state.block} blocks, ${state.fan_in} → ${state.fan_out}, ${state.dtype}`;
    const mark = { good: "✓", warn: "!", bad: "✗" }[verdict.tone];
    element("sentence").textContent = `${mark} ${verdict.sentence[0].toUpperCase()}${verdict.sentence.slice(1)}`;
    element("verdict").dataset.tone = verdict.tone;
    const [words, buttons] = advice();
    const made = buttons.map(([name, change]) =>
      html("button", { type: "button", click: () => change_(change) }, name[0].toUpperCase() + name.slice(1)),
    );
    element("advice").replaceChildren(words, ...(made.length ? [html("br"), ...made] : []));
    element("notes").replaceChildren(...[...complaints, ...dtypeNotes()].map((each) => html("li", {}, each)));
    element("sums").replaceChildren(...sums());
    charts.draw(element("signal"), byDepth("signal", "The signal, from layer to layer", theory.signal, simulated.signal), 230);
    charts.draw(element("gradient"), byDepth("gradient", "The gradient, on its way back", theory.gradient, simulated.gradient), 230);
    charts.draw(element("weights"), weightsChart(), 230);
    charts.draw(element("activation"), activationChart(), 230);
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
    const initial = { ...defaults, param: String(activations[state.act]?.default ?? 0) };
    const kept = fields.map((field) => field.id).filter(
      (name) => ["init", "act"].includes(name) || (isNeeded(name) && state[name] !== initial[name]),
    );
    return `#${kept.map((name) => `${name}=${encodeURIComponent(state[name])}`).join("&")}`;
  }

  /** Changes the state: while something is dragged the address is replaced, and then it is a step of the history. */
  function change_(changed, isStep = true) {
    const next = { ...state, ...changed };
    if (changed.act !== undefined && changed.act !== state.act && changed.param === undefined) delete next.param;
    complaints = take(next);
    const address = fragment();
    if (address !== location.hash) history[isStep ? "pushState" : "replaceState"](null, "", address);
    render();
  }

  function fromAddress() {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    complaints = take(given);
    document.activeElement?.blur?.();
    render();
  }

  let isDragged = false; // whether the address has been replaced since the last step of the history

  function edited(field, value, isStep) {
    const rule = wrong(field, value);
    field.toggleAttribute("aria-invalid", false);
    if (rule) {
      field.setAttribute("aria-invalid", "true");
      complaints = [`${field.id} must be ${rule}. Received: ${value || "nothing"}. ${state[field.id]} is used.`];
      if (isStep) field.value = state[field.id];
      if (isStep) field.removeAttribute("aria-invalid");
      render();
      return;
    }
    change_({ [field.id]: value }, isStep);
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
  element("again").addEventListener("click", () => change_({ seed: String(BigInt.asIntN(64, BigInt(state.seed) + 1n)) }));
  element("reset").addEventListener("click", () => change_({ ...defaults }));
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("popstate", fromAddress);
  fromAddress();

  return { state, model, fragment, blocks };
})();
