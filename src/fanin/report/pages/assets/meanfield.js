// Mean-field theory in JavaScript: what `fanin.theory` says of signals and gradients by depth. Its numbers are those of
// Python to nine digits or so.
"use strict";

const meanfield = (() => {
  const [TINY, HUGE] = [1e-280, 1e280]; // variances beyond which signals have vanished or exploded
  const EPSILON = 1e-30; // beside a variance that is divided by
  const [KEEPS, FAR] = [4, 100]; // by which factor a size may change, and where it vanishes or explodes
  const [REACH, NEAR] = [37, 10]; // standard deviations that integrals reach, and those that nearly all functions need
  const [NEGLIGIBLE, SETTLED] = [1e-13, 1e-13];
  const NODES = 16;

  // ---------------------------------------------------------------- activations

  const { exp, expm1, log1p, sqrt, abs, max, min, sign, tanh, PI } = Math;
  const sigmoid = (x) => 1 / (1 + exp(-x));
  const logistic = (x) => max(x, 0) + log1p(exp(-abs(x))); // log(1 + exp(x))
  const clip = (x, low, high) => min(max(x, low), high);
  const density = (x) => exp((-x * x) / 2) / sqrt(2 * PI);

  let shareLast = { x: 0, made: 0.5 }; // since values and slopes ask for the same one

  /** The standard normal distribution function: a series near 0, a continued fraction further out. */
  function share(x) {
    if (x !== shareLast.x) shareLast = { x, made: abs(x) > 3 ? tailShare(x) : middleShare(x) };
    return shareLast.made;
  }

  function tailShare(x) {
    const far = abs(x);
    if (far > 39) return x < 0 ? 0 : 1; // where the density is 0
    let fraction = far;
    for (let term = Math.ceil(10 + 500 / (far * far)); term > 0; term--) fraction = far + term / fraction;
    const tail = density(far) / fraction;
    return x < 0 ? tail : 1 - tail;
  }

  function middleShare(x) {
    let [sum, term] = [x, x];
    for (let odd = 3; abs(term) > 1e-17 * abs(sum); odd += 2) sum += term *= (x * x) / odd;
    return 0.5 + density(x) * sum;
  }

  const elu = (x, alpha) => (x > 0 ? x : alpha * expm1(x));
  const eluSlope = (x, alpha) => (x > 0 ? 1 : alpha * exp(x));
  const [SELU_SCALE, SELU_ALPHA] = [1.0507009873554805, 1.6732632423543772];
  const ROOT = sqrt(2 / PI);
  const bump = (x) => tanh(ROOT * (x + 0.044715 * x ** 3));
  const TANH = [1 / 3, -2 / 15, 17 / 315, -62 / 2835, 1382 / 155925, -21844 / 6081075]; // of x - tanh(x), from x³ on

  /** x - tanh(x), by its series near 0, where the difference would lose its digits. */
  const tanhShrink = (x) => (abs(x) > 0.1 ? x - tanh(x) : x ** 3 * TANH.reduceRight((sum, each) => sum * x * x + each, 0));
  const hardSigmoid = (x) => clip(x + 3, 0, 6) / 6;
  const within = (x, low, high) => (x > low && x < high ? 1 : 0);

  // Each by its name without underscores: the function, its derivative, and, where it has them, its kinks besides 0 and
  // the length that it bends on besides 1, as functions of its parameter.
  const none = () => [];
  const one = () => 1;
  const known = (value, slope, kinks = none, length = one) => ({ value, slope, kinks, length });
  const bounds = (bound) => [-abs(bound), abs(bound)];
  const FUNCTIONS = {
    celu: known(
      (x, alpha) => (x > 0 ? x : alpha * expm1(x / alpha)),
      (x, alpha) => (x > 0 ? 1 : exp(x / alpha)),
      none,
      abs,
    ),
    elu: known(elu, eluSlope),
    exponential: known(exp, exp),
    gelu: known((x) => x * share(x), (x) => share(x) + x * density(x)),
    gelutanh: known(
      (x) => (x * (1 + bump(x))) / 2,
      (x) => {
        const t = bump(x);
        const inner = ROOT * (1 + 3 * 0.044715 * x * x);
        return (1 + t) / 2 + (t * t < 1 ? (x * (1 - t * t) * inner) / 2 : 0);
      },
    ),
    hardshrink: known((x, bound) => (abs(x) > bound ? x : 0), (x, bound) => (abs(x) > bound ? 1 : 0), bounds),
    hardsigmoid: known(hardSigmoid, (x) => within(x, -3, 3) / 6, () => [-3, 3]),
    hardswish: known(
      (x) => x * hardSigmoid(x),
      (x) => (abs(x) < 3 ? (2 * x + 3) / 6 : x > 0 ? 1 : 0),
      () => [-3, 3],
    ),
    hardtanh: known((x) => clip(x, -1, 1), (x) => within(x, -1, 1), () => [-1, 1]),
    leakyrelu: known((x, slope) => (x > 0 ? x : slope * x), (x, slope) => (x > 0 ? 1 : slope)),
    linear: known((x) => x, one),
    logsigmoid: known((x) => -logistic(-x), (x) => sigmoid(-x)),
    mish: known(
      (x) => x * tanh(logistic(x)),
      (x) => {
        const t = tanh(logistic(x));
        return t + x * (1 - t * t) * sigmoid(x);
      },
    ),
    relu: known((x) => max(x, 0), (x) => (x > 0 ? 1 : 0)),
    relu6: known((x) => clip(x, 0, 6), (x) => within(x, 0, 6), () => [6]),
    relusquared: known((x) => max(x, 0) ** 2, (x) => 2 * max(x, 0)),
    selu: known((x) => SELU_SCALE * elu(x, SELU_ALPHA), (x) => SELU_SCALE * eluSlope(x, SELU_ALPHA)),
    sigmoid: known(sigmoid, (x) => sigmoid(x) * sigmoid(-x)),
    silu: known((x) => x * sigmoid(x), (x) => sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
    softplus: known((x, beta) => logistic(beta * x) / beta, (x, beta) => sigmoid(beta * x), none, (beta) => 1 / abs(beta)),
    softshrink: known(
      (x, bound) => sign(x) * max(abs(x) - bound, 0),
      (x, bound) => (abs(x) > bound ? 1 : 0),
      bounds,
    ),
    softsign: known((x) => x / (1 + abs(x)), (x) => (1 + abs(x)) ** -2),
    squareplus: known(
      (x, b) => (x + sqrt(x * x + b)) / 2,
      (x, b) => (1 + x / sqrt(x * x + b)) / 2,
      none,
      (b) => sqrt(abs(b)) || 1,
    ),
    tanh: known(tanh, (x) => 1 - tanh(x) ** 2),
    tanhshrink: known(tanhShrink, (x) => tanh(x) ** 2),
  };

  /** An activation: its function and derivative of a number alone, and what is known of its integrals. */
  class Activation {
    constructor(name, param) {
      const found = FUNCTIONS[name.replaceAll("_", "")];
      this.value = (x) => found.value(x, param);
      this.slope = (x) => found.slope(x, param);
      this.kinks = [0, ...found.kinks(param)];
      this.length = found.length(param);
      this.seen = new Map(); // moments by variance
    }

    /** E[f(√q z)], E[f(√q z)²] and E[f'(√q z)²] for a unit normal z, as `mean`, `square` and `slope`. */
    moments(variance) {
      let found = this.seen.get(variance);
      if (found === undefined) {
        if (this.seen.size > 2 ** 15) this.seen.clear(); // the deepest network and two that are proposed have 3,000
        this.seen.set(variance, (found = this.computed(variance)));
      }
      return found;
    }

    computed(variance) {
      if (!(variance < HUGE)) {
        const slope = (this.slope(-1e100) ** 2 + this.slope(1e100) ** 2) / 2;
        return { mean: NaN, square: Infinity, slope };
      }
      if (variance < TINY) return { mean: this.value(0), square: this.value(0) ** 2, slope: this.slopeAtZero };
      return integrals(this, sqrt(variance));
    }

    /** The mean of the squared slopes on both sides of 0, extrapolated from two numbers each. */
    get slopeAtZero() {
      const near = 2e-5;
      const side = (x) => (2 * this.slope(x) - this.slope(2 * x)) ** 2;
      return (side(-near) + side(near)) / 2;
    }
  }

  // ---------------------------------------------------------------- integrals over normal numbers

  const RULE = gauss(NODES);

  /** The nodes and weights of Gauss and Legendre's rule on [-1, 1], by Newton's method. */
  function gauss(count) {
    return Array.from({ length: count }, (_, place) => {
      let x = Math.cos((PI * (place + 0.75)) / (count + 0.5));
      let slope = 1;
      for (let step = 0; step < 10; step++) {
        let [before, value] = [1, x];
        for (let degree = 2; degree <= count; degree++)
          [before, value] = [value, ((2 * degree - 1) * x * value - (degree - 1) * before) / degree];
        slope = (count * (before - x * value)) / (1 - x * x);
        x -= value / slope;
      }
      return { node: x, weight: 2 / ((1 - x * x) * slope * slope) };
    });
  }

  /** All three integrals at once, at pre-activations of this standard deviation. */
  function integrals(activation, scale) {
    const inner = panels(activation, scale, -NEAR, NEAR, 1);
    // What grows quickly, or is 0 about 0, has its integral further out.
    return (inner.isSmallAtEnds ? inner : panels(activation, scale, -REACH, REACH, 0.5)).sums;
  }

  const NAMES = ["mean", "square", "slope"];

  /** The integrals from `low` to `high`, on panels of a width or less that end where the function bends. */
  function panels(activation, scale, low, high, width) {
    const ends = [];
    for (let at = low; at <= high; at += width) ends.push(at);
    for (const kink of activation.kinks) if (abs(kink / scale) < high) ends.push(kink / scale);
    const length = activation.length / scale; // that the function bends on; further out it bends less
    for (let reach = length / 4; reach < high; reach *= reach > 8 * length ? 4 : 2) ends.push(-reach, reach);
    // The outermost panels show whether what lies beyond counts.
    ends.push(low + 1 / 16, high - 1 / 16);
    ends.sort((a, b) => a - b);
    const [sums, sizes, atEnds] = [0, 0, 0].map(() => ({ mean: 0, square: 0, slope: 0 }));
    for (let place = 1; place < ends.length; place++) {
      const [from, to] = [ends[place - 1], ends[place]];
      if (!(to > from)) continue;
      const found = panel(activation, scale, (from + to) / 2, (to - from) / 2);
      for (const name of NAMES) {
        sums[name] += found[name];
        sizes[name] += abs(found[name]);
        if (from === low || to === high) atEnds[name] = max(atEnds[name], abs(found[name]));
      }
    }
    let isSmallAtEnds = true;
    for (const name of NAMES) {
      const isSmall = atEnds[name] <= NEGLIGIBLE * sizes[name];
      isSmallAtEnds &&= isSmall && sizes[name] > 0;
      if (!isSmall || !Number.isFinite(sums[name])) sums[name] = Infinity;
    }
    return { sums, isSmallAtEnds };
  }

  /** The integrals over one panel. */
  function panel(activation, scale, middle, half) {
    let [mean, square, slope] = [0, 0, 0];
    for (const { node, weight } of RULE) {
      const z = middle + half * node;
      const root = exp((-z * z) / 4); // of the density, so that large values stay finite when they are squared
      const value = activation.value(scale * z) * root;
      mean += weight * value * root;
      square += weight * value * value;
      slope += weight * (activation.slope(scale * z) * root) ** 2;
    }
    const norm = half / sqrt(2 * PI);
    return { mean: mean * norm, square: square * norm, slope: slope * norm };
  }

  // ---------------------------------------------------------------- blocks

  const product = (first, second) => (first === 0 || second === 0 ? 0 : first * second); // nothing of infinity is nothing

  /** What the result of a block's branch is multiplied by. */
  const branchScale = (block, depth) => (block.scale === "depth" ? 1 / sqrt(2 * depth) : block.scale);

  /**
   * The mean squares of signals, pre-activations and gradients by depth, for an input of size 1 and infinite width.
   *
   * @param {object} block what the network repeats: `fanin.theory.blocks.Block` as data.
   * @param {Activation} activation its activation.
   * @param {object[]} weights of each dense layer, the variance times the number of `inputs` and of `outputs`.
   */
  function profile(block, activation, weights, depth, biasStddev = 0) {
    const scale = branchScale(block, depth);
    const [signals, preactivations, factors] = [[{ square: 1, mean: 0, shared: 0 }], [], []];
    for (let level = 0; level < depth; level++) {
      const made = blockOf(block, activation, weights, biasStddev, scale, signals[level]);
      signals.push(made.signal);
      preactivations.push(made.before);
      factors.push(made.factor);
    }
    const gradient = [1];
    for (const factor of factors.reverse()) gradient.push(product(gradient.at(-1), factor));
    return { signal: signals.map((each) => each.square), preactivations, gradient: gradient.reverse() };
  }

  /** The signal after a block, the last pre-activation's square, and what its gradient's is multiplied by. */
  function blockOf(block, activation, weights, biasStddev, scale, signal) {
    let [branch, factor, before, dense] = [signal, 1, NaN, 0];
    const pass = (step) => {
      let multiplied;
      if (step.kind === "dense") {
        const { inputs, outputs } = weights[dense++];
        const through = (each) => product(inputs, each) + biasStddev ** 2;
        branch = { square: through(branch.square), mean: 0, shared: through(branch.shared) };
        multiplied = outputs;
      } else if (step.kind === "activate") {
        before = branch.square;
        const { square, mean, slope } = activation.moments(branch.square);
        branch = { square, mean, shared: mean ** 2 };
        multiplied = slope;
      } else {
        [branch, multiplied] = normalized(step.kind, branch);
      }
      factor = product(factor, multiplied);
    };
    block.steps.forEach(pass);
    if (block.is_residual) {
      const share = scale ** 2;
      const sum = (name) => signal[name] + product(share, branch[name]);
      branch = { square: sum("square"), mean: 0, shared: sum("shared") };
      factor = 1 + product(share, factor);
    }
    block.after.forEach(pass);
    return { signal: branch, before, factor };
  }

  /** A signal after a normalization, and what its gradient's square is multiplied by. */
  function normalized(kind, { square, mean, shared }) {
    const less = { layer: mean ** 2, rms: 0, batch: shared }[kind];
    const variance = square - less + EPSILON;
    if (!(variance < Infinity)) return [{ square: 1, mean: 0, shared: 0 }, 0];
    const made = {
      square: (square - less) / variance,
      mean: kind === "rms" ? mean / sqrt(variance) : 0,
      shared: kind === "batch" ? 0 : (shared - less) / variance,
    };
    return [made, 1 / variance];
  }

  // ---------------------------------------------------------------- fields

  /** The critical σ_w of a signal that is nearly 0; infinite if the activation is flat there. */
  const gainAtZero = (activation) => 1 / sqrt(activation.slopeAtZero);

  /** The σ_w at which pre-activations of size 1 give such of size 1; null if none does. */
  function unitGain(activation) {
    const { square } = activation.moments(1);
    return square > 0 && square < Infinity ? 1 / sqrt(square) : null;
  }

  /** The critical σ_w for these biases, at the edge of chaos; null if there is none. */
  function criticalStddev(activation, biasStddev = 0) {
    const missing = (variance) => {
      const { square, slope } = activation.moments(variance);
      return slope > 0 && slope < Infinity ? variance - square / slope - biasStddev ** 2 : NaN;
    };
    const atZero = gainAtZero(activation);
    if (!biasStddev && !activation.value(0) && Number.isFinite(atZero)) return atZero;
    const scan = Array.from({ length: 33 }, (_, place) => 10 ** (place / 2 - 8));
    for (let place = 1; place < scan.length; place++) {
      let [low, high] = [scan[place - 1], scan[place]];
      const atLow = missing(low);
      if (!(atLow * missing(high) < 0 || atLow === 0)) continue;
      for (let step = 0; step < 48; step++) {
        const middle = sqrt(low * high);
        if (missing(middle) * atLow > 0) low = middle;
        else high = middle;
      }
      return 1 / sqrt(activation.moments(sqrt(low * high)).slope);
    }
    return null;
  }

  /** q*, where the variance of pre-activations stays, reached from 1: 0 if it vanishes, infinity if it explodes. */
  function fixedPoint(activation, stddev, biasStddev = 0) {
    const next = (variance) => product(stddev ** 2, activation.moments(variance).square) + biasStddev ** 2;
    let [previous, variance, steps] = [NaN, 1, 0];
    while (!(variance < TINY || abs(variance - previous) <= SETTLED * variance)) {
      if (steps++ === 30) {
        variance = beyond(next, variance, variance > previous);
        break;
      }
      [previous, variance] = [variance, next(variance)];
      if (!(variance < HUGE)) return Infinity;
    }
    return variance < 1e-8 && !biasStddev ? 0 : variance;
  }

  /** The fixed point that a slow orbit goes to, by bisection: 0 or infinity if there is none. */
  function beyond(next, variance, grows) {
    const stride = grows ? 1e4 : 1e-4;
    let [near, far] = [variance, variance * stride];
    while (next(far) > far === grows) {
      if (!(far > TINY && far < HUGE)) return grows ? Infinity : 0;
      [near, far] = [far, far * stride];
    }
    for (let step = 0; step < 80; step++) {
      const middle = sqrt(near * far);
      if (next(middle) > middle === grows) near = middle;
      else far = middle;
    }
    return sqrt(near * far);
  }

  /** χ at the fixed point: below 1, gradients vanish; above, they explode. */
  const chi = (activation, stddev, biasStddev = 0) =>
    product(stddev ** 2, activation.moments(fixedPoint(activation, stddev, biasStddev)).slope);

  // ---------------------------------------------------------------- words

  /** How a size changes from the first to the last of mean squares. */
  function change(squares) {
    const total = squares[0] ? sqrt(squares.at(-1) / squares[0]) : NaN;
    const held = squares.findLastIndex((each) => each > 0 && each < Infinity);
    const factor = held > 0 ? sqrt(squares[held] / squares[0]) ** (1 / held) : total;
    let words = total < 1 / KEEPS ? "shrinks" : total > KEEPS ? "grows" : "keeps its size";
    if (!(total >= 1 / FAR)) words = "vanishes";
    else if (total > FAR) words = "explodes";
    return { total, factor, words, tone: TONES[words] };
  }

  const TONES = { "keeps its size": "good", shrinks: "warn", grows: "warn", vanishes: "bad", explodes: "bad" };

  /** What a profile does to signal and gradient, with the sentence of `fanin.compare`. */
  function verdict({ signal, gradient }) {
    const [forward, back] = [change(signal), change([...gradient].reverse())];
    const [first, second] = [forward, back].map((each) => `× ${factorText(each.factor)}`);
    let sentence;
    if (forward.words !== back.words)
      sentence = `signal ${forward.words} (${first} a layer), gradient ${back.words} (${second} a layer)`;
    else if (first === second) sentence = `${forward.words} (${first} a layer)`;
    else sentence = `${forward.words} (signal ${first}, gradient ${second} a layer)`;
    const tone = ["bad", "warn", "good"].find((each) => each === forward.tone || each === back.tone);
    return { sentence, tone, signal: forward, gradient: back };
  }

  /** A factor as Python's sentence has it. */
  function factorText(factor) {
    if (factor >= 0.1 && factor < 1000) return factor.toFixed(2);
    if (!Number.isFinite(factor)) return "inf";
    const rounded = Number(factor.toPrecision(2));
    if (!rounded || (rounded >= 1e-4 && rounded < 1)) return String(rounded);
    return rounded.toExponential().replace(/(?<=[+-])\d$/, "0$&");
  }

  return { Activation, profile, branchScale, gainAtZero, unitGain, criticalStddev, fixedPoint, chi, change, verdict, factorText, share, density };
})();
