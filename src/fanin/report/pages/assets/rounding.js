// Floating dtypes: how they round, to the nearest number and to even ones in the middle, and what they hold.
"use strict";

const rounding = (() => {
  const double = new Float64Array(1);
  const halves = new Uint32Array(double.buffer); // the upper half is the second one, as on every machine of today
  const EVEN = 1.5 * 2 ** 52; // which leaves no fraction of what is added to it

  /** A dtype from the bits of its mantissa, its least normal exponent, its largest number, and what lies beyond. */
  function dtype(bits, least, largest, beyond = Infinity) {
    function round(value) {
      double[0] = value;
      const exponent = Math.max(((halves[1] >>> 20) & 0x7ff) - 1023, least);
      if (exponent === 1024) return value; // NaN, or infinite
      double[0] = 0;
      halves[1] = (exponent - bits + 1023) << 20;
      const step = double[0]; // 2 ** (exponent - bits), which takes several times as long
      const rounded = (value / step + EVEN - EVEN) * step;
      if (rounded === 0) return value * 0; // which has a sign
      return Math.abs(rounded) > largest ? Math.sign(value) * beyond : rounded;
    }
    return { round, largest, smallest: 2 ** (least - bits), normal: 2 ** least };
  }

  const DTYPES = {
    float32: { ...dtype(23, -126, (2 - 2 ** -23) * 2 ** 127), round: Math.fround },
    bfloat16: dtype(7, -126, (2 - 2 ** -7) * 2 ** 127),
    float16: dtype(10, -14, 65504),
    float8_e4m3fn: dtype(3, -6, 448, NaN),
    float8_e5m2: dtype(2, -14, 57344),
  };

  /** A parameter as a dtype rounds it, by way of float32, as in TensorFlow. */
  const parameter = (value, dtype) => DTYPES[dtype].round(Math.fround(value));

  return { DTYPES, parameter };
})();
