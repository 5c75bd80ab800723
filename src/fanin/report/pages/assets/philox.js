// fanin's values in JavaScript, bit for bit: Philox4x32-10, and what initializers make of its words. `rounding.js` has
// the dtypes. The steps are those of `fanin/_core/reference.py`, in the same order of operations.
"use strict";

const philox = (() => {
  const SCRAMBLE_KEY = [0x3ec8f720, 0x02461e29]; // TensorFlow's, the low word first
  const UNIT_BITS = { float32: 23, bfloat16: 7, float16: 10 }; // random bits of a unit float
  const f32 = Math.fround;
  const words = new Uint32Array(4); // of the block made last
  const normals = new Float32Array(4);
  const single = new Float32Array(1);
  const bits = new Uint32Array(single.buffer);

  // The table and polynomials of glibc's logf, sinf and cosf.
  const RECIPROCALS = [
    1.398907162146528, 1.3403141896637998, 1.286432210124115, 1.2367150214269895, 1.1906977166711752,
    1.1479821020556429, 1.1082251448272158, 1.0711297413057381, 1.036437278977283, 1, 0.9492859795739057,
    0.8951049428609004, 0.8476821620351103, 0.8050314851692001, 0.7664671008843108, 0.731428603316328,
  ];
  const LOGARITHMS = [
    -0.33569133332882284, -0.2929040563774074, -0.2518726580937369, -0.21245868807117255, -0.17453945183745634,
    -0.1380057072319758, -0.10275976698545139, -0.06871392447020525, -0.0357891387398228, 0, 0.05204517742929496,
    0.11081431298787942, 0.1652495223695143, 0.21687389031699977, 0.2659635028121397, 0.3127556664073557,
  ];
  const [A1, A2, A3] = [-0.4999997485802103, 0.333456765744066, -0.25089342214237154];
  const [S1, S2, S3] = [-0.16666654943701084, 0.008332178146138854, -0.00019517298981385725];
  const [C1, C2, C3, C4] = [
    -0.49999999725108224, 0.041666623324344516, -0.001388676379437604, 2.4390450703564542e-5,
  ];

  /** The upper 32 bits of the product of two 32-bit words, by halves of 16 bits. */
  function upper(a, b) {
    const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
    const middle = a1 * b0 + ((a0 * b0) >>> 16);
    return (a1 * b1 + (middle >>> 16) + ((a0 * b1 + (middle & 0xffff)) >>> 16)) >>> 0;
  }

  /** Makes the four `words` of a counter, given as four words, the least significant first, and a key of two. */
  function generate(x0, x1, x2, x3, k0, k1) {
    for (let round = 0; round < 10; round++) {
      const [y0, y2] = [upper(0xcd9e8d57, x2) ^ x1 ^ k0, upper(0xd2511f53, x0) ^ x3 ^ k1];
      [x1, x3] = [Math.imul(0xcd9e8d57, x2) >>> 0, Math.imul(0xd2511f53, x0) >>> 0];
      [x0, x2] = [y0 >>> 0, y2 >>> 0];
      [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
    }
    words[0] = x0;
    words[1] = x1;
    words[2] = x2;
    words[3] = x3;
  }

  /** A stream of random words, which a seed and a folded number select, each given as two words. */
  class Stream {
    constructor(seed, folded = [0, 0]) {
      generate(...seed, ...folded, ...SCRAMBLE_KEY);
      this.key = [words[0], words[1]];
      this.counter = [words[2], words[3]];
    }

    /** The stream of a seed, a BigInt in [-2**63, 2**63 - 1]. */
    static of(seed) {
      return new Stream([Number(BigInt.asUintN(32, seed)), Number(BigInt.asUintN(32, seed >> 32n))]);
    }

    /** Makes the `words` of a block, whose number is below 2**53. */
    block(number) {
      generate(number >>> 0, Math.floor(number / 2 ** 32), ...this.counter, ...this.key);
    }

    /** The stream that this one and a number from 1 to 2**32 - 1 select: that of an initializer's call of this number. */
    foldIn(number) {
      this.block(0);
      return new Stream([words[0], words[1]], [number, 0]);
    }
  }

  /** glibc's logf, of a float32 in (0, 1). */
  function logf(unit) {
    single[0] = unit;
    const whole = bits[0];
    const difference = (whole - 0x3f330000) >>> 0;
    const interval = (difference >>> 19) & 15;
    bits[0] = whole - (difference & 0xff800000);
    const r = single[0] * RECIPROCALS[interval] - 1;
    const y0 = LOGARITHMS[interval] + ((difference | 0) >> 23) * Math.LN2;
    return f32(((A3 * r + A2) * r + A1) * (r * r) + (y0 + r));
  }

  /** Two normals by the method of Box and Muller, from two words, with glibc's sinf and cosf: into `normals`. */
  function boxMuller(first, second, place) {
    const unit = Math.max((first & 0x7fffff) / 2 ** 23, f32(1e-7));
    const radius = f32(Math.sqrt(f32(-2 * logf(unit))));
    const mantissa = second & 0x7fffff;
    const quadrant = (mantissa + 2 ** 20) >> 21;
    const x = f32(2 * Math.PI * (mantissa / 2 ** 23)) - quadrant * (Math.PI / 2);
    const x2 = x * x;
    let sine = f32(x + x * x2 * (S1 + x2 * (S2 + x2 * S3)));
    let cosine = f32(1 + x2 * (C1 + x2 * (C2 + x2 * (C3 + x2 * C4))));
    if (quadrant & 1) [sine, cosine] = [cosine, sine];
    normals[place] = (quadrant & 2 ? -sine : sine) * radius;
    normals[place + 1] = ((quadrant + 1) & 2 ? -cosine : cosine) * radius;
  }

  /** Makes the four `normals` of a block. */
  function blockOfNormals(stream, number) {
    stream.block(number);
    boxMuller(words[0], words[1], 0);
    boxMuller(words[2], words[3], 2);
  }

  // For each law, a function that writes the four unit variables of a group of elements.
  const LAWS = {
    uniform(stream, group, made, dtype) {
      stream.block(group);
      const count = 2 ** UNIT_BITS[dtype];
      for (let each = 0; each < 4; each++) made[each] = (words[each] & (count - 1)) / count;
    },
    normal(stream, group, made) {
      blockOfNormals(stream, group);
      made.set(normals);
    },
    truncated_normal(stream, group, made) {
      // Normals beyond 2 are drawn again, from up to 256 blocks of the group's own.
      for (let count = 0, block = 0; count < 4; block++) {
        blockOfNormals(stream, group * 256 + block);
        for (const each of normals) if (Math.abs(each) < 2 && count < 4) made[count++] = each;
      }
    },
  };

  /**
   * Elements of a tensor: `unit * scale + origin`, with every operation rounded in the dtype.
   *
   * @param {Stream} stream the stream of the tensor's values.
   * @param {object} drawn what is drawn: `law` ("uniform", "normal" or "truncated_normal"), `scale` and `origin`, which
   *   the dtype has rounded.
   * @param {string} dtype "float32", "bfloat16" or "float16".
   * @param {number} count how many elements.
   * @param {number} [first] the flat index of the first one.
   * @returns {Float32Array} the elements.
   */
  function values(stream, { law, scale, origin }, dtype, count, first = 0) {
    const round = rounding.DTYPES[dtype].round;
    const made = new Float32Array(count);
    const units = new Float32Array(4);
    for (let group = Math.floor(first / 4); group * 4 < first + count; group++) {
      LAWS[law](stream, group, units, dtype);
      for (let each = 0; each < 4; each++) {
        const place = group * 4 + each - first;
        if (place >= 0 && place < count) made[place] = round(round(round(units[each]) * scale) + origin);
      }
    }
    return made;
  }

  /**
   * The first columns of the orthogonal matrix that fanin makes of a stream's normals, by Gram and Schmidt's method,
   * twice. They agree with those of a QR decomposition to rounding.
   *
   * @returns {Float64Array[]} the columns, each of `rows` numbers.
   */
  function orthonormal(stream, rows, columns, count) {
    const found = Array.from({ length: count }, () => new Float64Array(rows));
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < count; column++) {
        const at = row * columns + column;
        if (!column || at % 4 === 0) blockOfNormals(stream, Math.floor(at / 4));
        found[column][row] = normals[at % 4];
      }
    const dot = (a, b) => a.reduce((sum, each, place) => sum + each * b[place], 0);
    found.forEach((column, number) => {
      for (const earlier of [...found.slice(0, number), ...found.slice(0, number)]) {
        const along = dot(column, earlier);
        column.forEach((each, row) => (column[row] = each - along * earlier[row]));
      }
      const length = Math.sqrt(dot(column, column));
      column.forEach((each, row) => (column[row] = each / length));
    });
    return found;
  }

  return { Stream, values, orthonormal };
})();
