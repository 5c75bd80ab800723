// fanin's initializers in JavaScript: what each draws, the first of its values, and how Python and recipes say it.
"use strict";

const initializers = (() => {
  const { sqrt, min, max, abs, fround } = Math;
  const MOST = 16_384; // elements that are drawn
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
  const UNITS = {
    fan_in: (fanIn) => fanIn,
    fan_out: (_, fanOut) => fanOut,
    fan_avg: (fanIn, fanOut) => (fanIn + fanOut) / 2,
    fan_geo_avg: (fanIn, fanOut) => sqrt(fanIn * fanOut),
  };

  // For each law: the standard deviation of its parameter p, how far values reach, whether that is a bound, and the
  // density. `n` is the longer side of the matrix.
  const LAWS = {
    uniform: {
      stddev: (p) => p / sqrt(3),
      reach: (p) => p,
      isBounded: true,
      density: (p) => (x) => (abs(x) <= p ? 1 / (2 * p) : 0),
    },
    normal: {
      stddev: (p) => p,
      reach: (p) => 4.2 * p,
      density: (p) => (x) => meanfield.density(x / p) / p,
    },
    truncated_normal: {
      stddev: (p) => TRUNCATED_STDDEV * p,
      reach: (p) => 2 * p,
      isBounded: true,
      density: (p) => (x) => (abs(x) <= 2 * p ? meanfield.density(x / p) / p / (1 - 2 * meanfield.share(-2)) : 0),
    },
    orthogonal: {
      stddev: (p, n) => p / sqrt(n),
      reach: (p, n) => min(p, (4.2 * p) / sqrt(n)),
      density: ofVector,
    },
  };

  /** The density of an element of a random vector of so many numbers and a length; NaN where it has none or no limit. */
  function ofVector(length, count) {
    let scale = count % 2 ? 1 / 2 : 2 / Math.PI; // for 3 and 4 numbers; for others by the gamma function's recurrence
    for (let each = count % 2 ? 3 : 4; each < count; each += 2) scale *= each / (each - 1);
    return (x) => {
      const square = (x / length) ** 2;
      return count < 3 || square >= 1 ? NaN : (scale * (1 - square) ** ((count - 3) / 2)) / length;
    };
  }

  /**
   * What an initializer draws for a kernel.
   *
   * @param {object} state the texts of the controls by name.
   * @returns {object} the `law` and its `parameter`, as doubles; `stddev`, of the parameter as float32 has it; and the
   *   `name` and `given` arguments of the initializer that has the gain within.
   */
  function of(state, fanIn, fanOut) {
    const gain = Number(state.gain);
    const rule = RULES[state.init];
    let made;
    if (rule || state.init === "variance_scaling") {
      const [factor, mode, distribution] = rule ?? [Number(state.scale), state.mode, state.dist];
      const scale = factor * gain * gain;
      made = { ...scaled(scale / max(1, UNITS[mode](fanIn, fanOut)), distribution) };
      Object.assign(
        made,
        rule && gain === 1
          ? { name: state.init, given: {} }
          : { name: "variance_scaling", given: { scale, mode, distribution } },
      );
    } else if (state.init === "orthogonal") {
      made = { law: "orthogonal", parameter: gain, given: gain === 1 ? {} : { gain } };
    } else if (state.init === "random_uniform") {
      const parameter = Number(state.limit) * gain;
      made = { law: "uniform", parameter, given: { minval: -parameter, maxval: parameter } };
    } else {
      const stddev = Number(state.stddev) * gain;
      made = { law: state.init === "random_normal" ? "normal" : state.init, parameter: stddev, given: { stddev } };
    }
    const longer = max(fanIn, fanOut);
    const { stddev, reach, density, isBounded } = LAWS[made.law];
    return {
      name: state.init,
      ...made,
      stddev: stddev(fround(made.parameter), longer),
      reach: reach(made.parameter, longer),
      isBounded,
      density: density(made.parameter, longer),
    };
  }

  /** The law of a variance around 0, and its parameter. */
  function scaled(variance, distribution) {
    if (distribution === "uniform") return { law: distribution, parameter: sqrt(3 * variance) };
    if (distribution === "truncated_normal") return { law: distribution, parameter: sqrt(variance) / TRUNCATED_STDDEV };
    return { law: "normal", parameter: sqrt(variance) };
  }

  const isNarrow = (dtype) => dtype.startsWith("float8"); // drawn in float32, and rounded once

  /** The first elements of the tensor, as fanin makes them; of an orthogonal matrix, its first columns or rows. */
  function drawn(made, state, fanIn, fanOut) {
    const stream = philox.Stream.of(BigInt(state.seed));
    const { round } = rounding.DTYPES[state.dtype];
    const dtype = isNarrow(state.dtype) ? "float32" : state.dtype;
    if (made.law === "orthogonal") {
      const [shorter, longer] = [min(fanIn, fanOut), max(fanIn, fanOut)];
      const columns = philox.orthonormal(stream, longer, shorter, min(shorter, max(1, Math.floor(MOST / 2 / longer))));
      const factor = fround(made.parameter);
      return columns.flatMap((column) => [...column.subarray(0, MOST)].map((each) => round(fround(each * factor))));
    }
    const parameter = rounding.parameter(made.parameter, dtype);
    const isUniform = made.law === "uniform";
    const scale = isUniform ? rounding.DTYPES[dtype].round(2 * parameter) : parameter;
    const what = { law: made.law, scale, origin: isUniform ? -parameter : 0 };
    const values = philox.values(stream, what, dtype, min(fanIn * fanOut, MOST));
    return isNarrow(state.dtype) ? values.map(round) : values;
  }

  const literal = (value) => (typeof value === "string" ? `"${value}"` : String(value));
  const listed = (made, equals) => Object.entries(made.given).map(([name, value]) => name + equals + literal(value));

  /** The lines of Python that make the tensor and say what theory says. `hasParam`: whether the activation has one. */
  function python(made, state, hasParam) {
    const title = made.name.replace(/(^|_)(.)/g, (_, __, letter) => letter.toUpperCase());
    const shape = `(${state.fan_in}, ${state.fan_out})`;
    const activation = hasParam ? `fanin.theory.activation("${state.act}", ${state.param})` : `"${state.act}"`;
    const options = [activation, `depth=${state.depth}`, `width=${state.fan_in}`];
    if (state.block !== "plain") options.push(`block="${state.block}"`);
    if (Number(state.bias)) options.push(`bias_stddev=${state.bias}`);
    const isSquare = state.fan_in === state.fan_out;
    return [
      "import fanin",
      ...(hasParam && isSquare ? ["import fanin.theory"] : []),
      ...(isNarrow(state.dtype) ? ["import ml_dtypes"] : []),
      "",
      `initializer = fanin.${title}(${[...listed(made, "="), `seed=${state.seed}`].join(", ")})`,
      isNarrow(state.dtype)
        ? `weights = initializer(${shape}).astype(ml_dtypes.${state.dtype})`
        : `weights = initializer(${shape}, dtype="${state.dtype}")`,
      ...(isSquare
        ? [`report = fanin.compare(initializer, ${options.join(", ")}, simulate=False)`, "print(report.rows[0].verdict)"]
        : []),
      "",
    ].join("\n");
  }

  /** The rule of a recipe, in TOML, that gives kernels these weights. */
  function rule(made) {
    const lines = ["[[rules]]", 'name = "kernels"', 'role = "kernel"', `initializer = "${made.name}"`];
    return [...lines, ...listed(made, " = "), ""].join("\n");
  }

  return { of, drawn, python, rule };
})();
