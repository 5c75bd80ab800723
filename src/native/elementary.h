// logf, sinf and cosf as glibc 2.31 and later round them, for the 2**23 values that a unit float takes.
//
// A more accurate logarithm would be wrong here: 60,931 of the correctly rounded results differ from glibc's. So the
// tables and polynomials below (the ARM optimized-routines' double-precision cores that glibc uses) are the definition, and
// the tests compare all 2**23 inputs of each function. Fusing multiply-adds in these steps changes no result.
#pragma once
#include <cstdint>

namespace fanin {

// The reciprocals and the logarithms of the centers of the 16 intervals of the logarithm's argument.
alignas(64) constexpr double log_reciprocal[16] = {
    0x1.661ec79f8f3bep+0, 0x1.571ed4aaf883dp+0, 0x1.49539f0f010bp+0,  0x1.3c995b0b80385p+0,
    0x1.30d190c8864a5p+0, 0x1.25e227b0b8eap+0,  0x1.1bb4a4a1a343fp+0, 0x1.12358f08ae5bap+0,
    0x1.0953f419900a7p+0, 0x1p+0,               0x1.e608cfd9a47acp-1, 0x1.ca4b31f026aap-1,
    0x1.b2036576afce6p-1, 0x1.9c2d163a1aa2dp-1, 0x1.886e6037841edp-1, 0x1.767dcf5534862p-1};
alignas(64) constexpr double minus_two_log_centre[16] = {
    -2 * -0x1.57bf7808caadep-2, -2 * -0x1.2bef0a7c06ddbp-2, -2 * -0x1.01eae7f513a67p-2, -2 * -0x1.b31d8a68224e9p-3,
    -2 * -0x1.6574f0ac07758p-3, -2 * -0x1.1aa2bc79c81p-3, -2 * -0x1.a4e76ce8c0e5ep-4, -2 * -0x1.1973c5a611cccp-4,
    -2 * -0x1.252f438e10c1ep-5, -2 * 0x0p+0, -2 * 0x1.aa5aa5df25984p-5, -2 * 0x1.c5e53aa362eb4p-4,
    -2 * 0x1.526e57720db08p-3, -2 * 0x1.bc2860d22477p-3, -2 * 0x1.1058bc8a07ee1p-2, -2 * 0x1.4043057b6ee09p-2};

constexpr double ln2 = 0x1.62e42fefa39efp-1, pi = 0x1.921fb54442d18p1;
constexpr float epsilon = 1e-7f;  // keeps the logarithm's argument off zero, as TensorFlow does

// A double in [1, 2) from the lower 23 bits of each lane's word.
template <class V>
[[gnu::always_inline]] inline typename V::D one_to_two(typename V::U word) {
    return (typename V::D)V::take_bits(word << 29, (1ull << 52) - (1ull << 29), 0x3FF0000000000000ull);
}

// What the logarithm of scaled = u * 2**23 needs in each interval of each binade: the reciprocal of the interval's center,
// and -2 logf of the center of u's interval. They lie side by side, so that one load gets both, where a gather would cost
// as much as the rest of the logarithm. 6 KiB, which stay in the first-level cache.
struct LogarithmPairs {
    static constexpr int binades = 24;  // u = z * 2**k with k from -23 to 0
    alignas(64) double of[16 * binades][2] = {};

    constexpr LogarithmPairs() {
        double scale = 1;  // 2**-(k + 23)
        for (int binade = 0; binade < binades; ++binade, scale /= 2)
            for (int i = 0; i < 16; ++i) {
                of[16 * binade + i][0] = log_reciprocal[i] * scale;
                of[16 * binade + i][1] = __builtin_fma(double(binade - 23), -2 * ln2, minus_two_log_centre[i]);
            }
    }
};
constexpr LogarithmPairs logarithm_pairs;

// -2 logf(max(u, epsilon)) for the unit float u in the lower 23 bits of each lane's word, before rounding to float. The
// factor is part of the constants; being a power of two, it changes no rounding.
template <class V>
[[gnu::always_inline]] inline typename V::D minus_two_log(typename V::U word) {
    using U = typename V::U;
    using D = typename V::D;
    const D scaled = V::maximum(V::to_double(word & 0x7FFFFFull), V::splat(double(epsilon) * 0x1p23));
    // scaled = z * 2**(k + 23) with z in [0.699, 1.398): subtract the bits of 0.699 and read k and the interval off.
    constexpr uint64_t lowest = 0x3FE6600000000000ull;
    D r, y0;
    if constexpr (V::permutes_tables) {
        // The offset keeps the difference a normal double, with exponent k.
        const U difference = (U)scaled - (lowest + (23ull << 52) - (1023ull << 52));
        const D z = (D)((difference & ((1ull << 52) - 1)) + lowest);
        const U interval = difference >> 48;
        r = V::fma(z, V::table(log_reciprocal, interval), V::splat(-1.0));
        y0 = V::fma(V::exponent(difference), V::splat(-2 * ln2), V::table(minus_two_log_centre, interval));
    } else {
        D reciprocal;
        V::lookup(logarithm_pairs.of, ((U)scaled - lowest) >> 48, reciprocal, y0);
        r = V::fma(scaled, reciprocal, V::splat(-1.0));
    }
    const D a1 = V::splat(2 * 0x1.ffffef20a4123p-2), a2 = V::splat(-2 * 0x1.5575b0be00b6ap-2), a3 = V::splat(2 * 0x1.00ea348b88334p-2);
    return V::fma(V::fma(V::fma(V::fma(a3, r, a2), r, a1), r, V::splat(-2.0)), r, y0);
}

// Sine and cosine of the float v = 2 pi u, reduced to the nearest quadrant. sinf and cosf round these two to floats,
// swapped if the quadrant is odd, with the signs of the quadrant.
template <class V>
struct Reduced {
    typename V::D sine, cosine;
    typename V::U quadrant;  // only its lowest two bits count
};

template <class V>
[[gnu::always_inline]] inline Reduced<V> reduced_sine_cosine(typename V::U word) {
    using U = typename V::U;
    using D = typename V::D;
    const D w = one_to_two<V>(word);
    // 2 pi (w - 1): one rounding either way, since w - 1 is exact.
    const D angle = V::fused ? V::fma(w, V::splat(2 * pi), V::splat(-2 * pi)) : (w - 1.0) * (2 * pi);
    const D v = V::round_to_float(angle);
    // The nearest quarter turn, by adding a number whose last bit is worth a quarter. (Ties, at u = 1/8 and 5/8, go to
    // the even quadrant here and to the next one in glibc; sine and cosine round to the same floats.)
    const D magic = V::splat(0x1.8p50);
    const D shifted = w + magic;
    const D x = V::fma(shifted - (magic + 1.0), V::splat(-2 * pi), v);
    const D x2 = x * x;
    const D s1 = V::splat(-0x1.555545995a603p-3), s2 = V::splat(0x1.1107605230bc4p-7), s3 = V::splat(-0x1.994eb3774cf24p-13);
    const D c1 = V::splat(-0x1.ffffffd0c621cp-2), c2 = V::splat(0x1.55553e1068f19p-5), c3 = V::splat(-0x1.6c087e89a359dp-10),
            c4 = V::splat(0x1.99343027bf8c3p-16);
    const D sine = V::fma(x * x2, V::fma(x2, V::fma(x2, s3, s2), s1), x);
    const D cosine = V::fma(x2, V::fma(x2, V::fma(x2, V::fma(x2, c4, c3), c2), c1), V::splat(1.0));
    return {sine, cosine, (U)shifted};
}

}  // namespace fanin
