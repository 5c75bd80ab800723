// A small network, drawn by `philox.js` as fanin draws it: the sizes of its signals, and of its gradients by
// backpropagation. Every tensor is rounded to the dtype, so that overflow and underflow are seen.
"use strict";

const simulation = (() => {
  const { sqrt } = Math;
  const EPSILON = 1e-30;
  const MOST_WEIGHTS = 160_000; // of all layers together, so that a network takes a few milliseconds
  const [FEW, MANY] = [8, 64]; // inputs of a network; many where their own mean and spread matter
  const [INPUTS, COTANGENTS, BIASES] = [2 ** 24, 2 ** 24 + 1, 2 ** 25]; // numbers of streams, beyond those of layers
  const MOST_KEPT = 5000; // more than the 4,002 of the deepest network, which would else be drawn at every step
  const kept = new Map(); // unit tensors of the last network, which most changes leave as they are

  const hasBatch = (block) => block.steps.some((step) => step.kind === "batch");

  /** How many units a layer has: those of the real network, or as many as can be simulated at once. */
  function widthOf(block, depth, width) {
    const each = block.steps.reduce((sum, step) => sum + (step.inputs ?? 0) * (step.outputs ?? 0), hasBatch(block) ? 7 : 0);
    const most = sqrt(MOST_WEIGHTS / (depth * each));
    return Math.max(1, Math.min(width, 64, Math.max(8, 8 * Math.floor(most / 8))));
  }

  /** The elements of a unit tensor, the same ones while nothing but its factor changes. */
  function unit(stream, number, law, count) {
    const name = `${stream.key}/${number}/${law}/${count}`;
    let found = kept.get(name);
    if (!found) {
      if (kept.size > MOST_KEPT) kept.clear();
      const own = number ? stream.foldIn(number) : stream;
      const [scale, origin] = law === "uniform" ? [2, -1] : [1, 0];
      kept.set(name, (found = philox.values(own, { law, scale, origin }, "float32", count)));
    }
    return found;
  }

  /** The standard deviation of the unit variable of each law. */
  const STDDEVS = { uniform: 1 / sqrt(3), normal: 1, truncated_normal: 0.8796256610342398 };

  /**
   * The mean squares of one network's signals and gradients by depth.
   *
   * @param {object} network `block`, `activation`, `depth` and `width` (units of a layer); the `law` of its weights,
   *   and for each dense layer of a block, in `weights`, their variance times their numbers of `inputs` and `outputs`;
   *   `biasStddev`; `dtype`; `stream`.
   */
  function run(network) {
    const { block, activation, depth, width, biasStddev, stream } = network;
    const batch = hasBatch(block) ? MANY : FEW;
    const round = rounding.DTYPES[network.dtype].round;
    const scale = meanfield.branchScale(block, depth);
    let call = 0; // the number of a layer, which is that of its initializer's call

    const rounded = (made) => {
      for (let each = 0; each < made.length; each++) made[each] = round(made[each]);
      return made;
    };

    /** A layer's numbers, and the way back through it. */
    function dense(step, x) {
      const [rows, columns] = [step.inputs * width, step.outputs * width];
      const { inputs, outputs } = network.weights[call % network.weights.length];
      const factor = sqrt(inputs / rows) / STDDEVS[network.law];
      const weights = unit(stream, call, network.law, rows * columns).map((each) => round(each * factor));
      const biases = biasStddev ? unit(stream, BIASES + call, "normal", columns).map((each) => each * biasStddev) : null;
      call++;
      const made = new Float64Array(batch * columns);
      for (let input = 0; input < batch; input++) {
        const from = input * rows;
        const to = input * columns;
        if (biases) made.set(biases, to);
        for (let row = 0; row < rows; row++) {
          const value = x[from + row];
          for (let column = 0, at = row * columns; column < columns; column++) made[to + column] += value * weights[at++];
        }
      }
      // The real layer may have more outputs beside its inputs than this one, and as much more gradient comes back.
      const stretch = sqrt((outputs / columns) * (rows / inputs));
      const back = (gradient) => {
        const passed = new Float64Array(batch * rows);
        for (let input = 0; input < batch; input++) {
          const from = input * columns;
          for (let row = 0, at = 0; row < rows; row++) {
            let sum = 0;
            for (let column = 0; column < columns; column++) sum += gradient[from + column] * weights[at++];
            passed[input * rows + row] = sum * stretch;
          }
        }
        return rounded(passed);
      };
      return [rounded(made), back];
    }

    function activate(x) {
      const back = (gradient) => rounded(gradient.map((each, place) => each * activation.slope(x[place])));
      return [rounded(x.map((each) => activation.value(each))), back];
    }

    /** Normalized numbers, and the way back through their mean and spread. */
    function normalize(kind, x) {
      const columns = x.length / batch;
      const made = new Float64Array(x.length);
      // What is normalized together: the units of an input, or a unit of all inputs.
      const groups = kind === "batch" ? [columns, batch, 1, columns] : [batch, columns, columns, 1];
      const spreads = [];
      each(groups, (places, group) => {
        const mean = kind === "rms" ? 0 : average(places, (at) => x[at]);
        const spread = sqrt(average(places, (at) => (x[at] - mean) ** 2) + EPSILON);
        for (const at of places) made[at] = (x[at] - mean) / spread;
        spreads[group] = spread;
      });
      const back = (gradient) => {
        const passed = new Float64Array(x.length);
        each(groups, (places, group) => {
          const along = average(places, (at) => gradient[at] * made[at]);
          const mean = kind === "rms" ? 0 : average(places, (at) => gradient[at]);
          for (const at of places) passed[at] = (gradient[at] - made[at] * along - mean) / spreads[group];
        });
        return rounded(passed);
      };
      return [rounded(made), back];
    }

    function through(steps, x) {
      const ways = [];
      for (const step of steps) {
        const [made, back] =
          step.kind === "dense" ? dense(step, x) : step.kind === "activate" ? activate(x) : normalize(step.kind, x);
        ways.push(back);
        x = made;
      }
      return [x, (gradient) => ways.reduceRight((each, back) => back(each), gradient)];
    }

    const normal = (number) => Float64Array.from(unit(stream, number, "normal", batch * width));
    let signal = normal(INPUTS);
    const [signals, ways] = [[meanSquare(signal)], []];
    for (let level = 0; level < depth; level++) {
      const before = signal;
      const [branch, back] = through(block.steps, before);
      const joined = block.is_residual ? rounded(branch.map((each, place) => before[place] + scale * each)) : branch;
      const [made, backAfter] = through(block.after, joined);
      ways.push((gradient) => {
        const outer = backAfter(gradient);
        if (!block.is_residual) return back(outer);
        const inner = back(outer.map((each) => each * scale));
        return rounded(outer.map((each, place) => each + inner[place]));
      });
      signal = made;
      signals.push(meanSquare(signal));
    }
    let gradient = normal(COTANGENTS);
    const gradients = [meanSquare(gradient)];
    while (ways.length) {
      gradient = ways.pop()(gradient);
      gradients.push(meanSquare(gradient));
    }
    return { signal: signals, gradient: gradients.map((each) => each / gradients[0]).reverse() };
  }

  /** Goes through groups of places: so many, of so many places each, so far apart. */
  function each([count, length, apart, step], visit) {
    for (let group = 0; group < count; group++)
      visit(Array.from({ length }, (_, place) => group * apart + place * step), group);
  }

  const average = (places, value) => places.reduce((sum, at) => sum + value(at), 0) / places.length;

  /** The mean square; infinite if a number is not finite any more. */
  function meanSquare(x) {
    let sum = 0;
    for (const each of x) sum += each * each;
    return Number.isNaN(sum) ? Infinity : sum / x.length;
  }

  return { run, widthOf };
})();
