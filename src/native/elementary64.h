// log, sin, cos and exp of doubles. The first three are as glibc rounds them on a processor with fused multiply-add: the logarithm of 2.29
// and later, sine and cosine of 2.28 and later, for the arguments of a Box-Muller transform.
//
// These functions are accurate to about half a unit in the last place, not correctly rounded, so their steps are the
// definition: which products are fused with a sum, and in which order. glibc leaves that to the compiler; the steps here
// are those of its x86-64 build by GCC 12 (Debian's 2.36). `V::fma_exact` stands where the bits depend on the fusing, and
// `V::fma` where the product is exact anyway. Ranges that glibc tells apart by branches are computed side by side, and
// each lane selects its own.
#pragma once
#include <cstdint>

#include "elementary64_tables.h"

namespace fanin {

constexpr uint64_t sign_bit = 1ull << 63;

// A double in [0, 1) whose 52 bits are the lower 20 bits of `high` and the 32 of `low`, in each lane.
template <class V>
[[gnu::always_inline]] inline typename V::D unit_double(typename V::U high, typename V::U low) {
    const typename V::U upper = V::take_bits(high << 32, 0x000FFFFF00000000ull, 0x3FF0000000000000ull);
    return (typename V::D)(upper | (low & 0xFFFFFFFFull)) - 1.0;
}

// c0 + c1 x + c2 x**2 + …, by Horner's scheme.
template <class V>
[[gnu::always_inline]] inline typename V::D polynomial(typename V::D, double c0) {
    return V::splat(c0);
}
template <class V, class... Rest>
[[gnu::always_inline]] inline typename V::D polynomial(typename V::D x, double c0, Rest... rest) {
    return V::fma_exact(polynomial<V>(x, rest...), x, V::splat(c0));
}

// log(x) for x in [0.9375, 1): a polynomial in r = x - 1, whose first two terms are computed with a low part.
template <class V>
[[gnu::always_inline]] inline typename V::D log_near_one(typename V::D x) {
    using D = typename V::D;
    const D r = x - 1.0, r2 = r * r, r3 = r * r2;
    // Three terms of the polynomial's upper part, each c0 + c1 r + c2 r**2.
    const auto term = [&](double c0, double c1, double c2) {
        return V::fma_exact(r2, V::splat(c2), V::fma_exact(r, V::splat(c1), V::splat(c0)));
    };
    D upper = V::fma_exact(r3, V::splat(-0x1.5521375d145cdp-4), term(0x1.c7184282ad6cap-4, -0x1.999eb43b068ffp-4, 0x1.78182f7afd085p-4));
    upper = V::fma_exact(upper, r3, term(-0x1.55555556745a7p-3, 0x1.24924a344de3p-3, -0x1.fffffa4423d65p-4));
    upper = V::fma_exact(upper, r3, term(0x1.5555555555577p-2, -0x1.ffffffffffdcbp-3, 0x1.999999995dd0cp-3));
    // r - r**2 / 2 = high + low, from the upper 26 bits of r, whose square is exact.
    const D shift = r * 0x1p27, r_high = (r + shift) - shift, r_low = r - r_high, half_square = r_high * r_high * -0.5;
    const D high = r + half_square;
    const D low = V::fma_exact(r_low * -0.5, r + r_high, (r - high) + half_square);
    return high + V::fma_exact(upper, r3, low);
}

// log(x) for normal x < 0.9375.
template <class V>
[[gnu::always_inline]] inline typename V::D log_below_one(typename V::D x) {
    using U = typename V::U;
    using D = typename V::D;
    // x = z 2**k with z in [0.6875, 1.375): subtract the bits of 0.6875 and read k, off by 1022, and z's interval off.
    constexpr uint64_t lowest = 0x3FE6000000000000ull, one_exponent = 1ull << 52;
    const U difference = (U)x - (lowest - 1022 * one_exponent);
    const D k = (D)((difference >> 52) | 0x4330000000000000ull) - (0x1p52 + 1022);
    const D z = (D)((difference & (one_exponent - 1)) + lowest);
    D reciprocal, log_centre;
    V::lookup(log_table, (difference >> 45) & 127, reciprocal, log_centre);

    const D r = V::fma_exact(z, reciprocal, V::splat(-1.0)), r2 = r * r;
    const D w = V::fma(k, V::splat(0x1.62e42fefa38p-1), log_centre);  // the upper bits of ln 2: no rounding
    const D high = w + r;
    D low = V::fma_exact(k, V::splat(0x1.ef35793c7673p-45), (w - high) + r);
    low = V::fma_exact(r2, V::splat(-0x1.0000000000001p-1), low);
    const D upper = V::fma_exact(V::fma_exact(r, V::splat(-0x1.55575e506c89fp-3), V::splat(0x1.999b324f10111p-3)), r2,
                                 V::fma_exact(r, V::splat(-0x1.fffffffeb459p-3), V::splat(0x1.555555551305bp-2)));
    return V::fma_exact(r * r2, upper, low) + high;
}

// log(x) for normal x < 1.
template <class V>
[[gnu::always_inline]] inline typename V::D log_double(typename V::D x) {
    return x < 0.9375 ? log_below_one<V>(x) : log_near_one<V>(x);
}

// A reduced angle: x - n pi/2 = angle + rest, where only the lowest two bits of `quadrant` count.
template <class V>
struct ReducedAngle {
    typename V::D angle, rest;
    typename V::U quadrant;
};

// The quadrant of x in [0, 2 pi], as glibc draws the borders: about pi/2 ± 0.86 belongs to n = 1, which takes pi/2 in two
// parts; beyond that n is the nearest number of quarter turns, at least 2, and pi/2 has four parts.
template <class V>
[[gnu::always_inline]] inline ReducedAngle<V> reduce_angle(typename V::D x) {
    using U = typename V::U;
    using D = typename V::D;
    constexpr double first_border = 0x1.b6p-1, second_border = 0x1.368fdp+1, magic = 0x1.8p52;
    const D far = V::fma_exact(x, V::splat(0x1.45f306dc9c883p-1), V::splat(magic));
    const D near = x < first_border ? V::splat(magic) : V::splat(magic + 1);
    const auto is_near = x < second_border;
    const D shifted = is_near ? near : far;
    const D minus_n = magic - shifted;
    // The short parts' products with n are exact.
    const D y = V::fma(minus_n, V::splat(-0x1.dde973cp-27), V::fma(minus_n, V::splat(0x1.921fb58p0), x));
    const D part_3 = V::splat(-0x1.cb3b398p-55), part_4 = V::splat(-0x1.d747f23e32ed7p-83);
    const D sum = V::fma(minus_n, part_3, y), angle = V::fma_exact(minus_n, part_4, sum);
    const D rest = V::fma(minus_n, part_3, y - sum) + V::fma_exact(minus_n, part_4, sum - angle);
    // For n = 0 and 1.
    const D near_y = V::fma(minus_n, V::splat(0x1.921fb54442d18p0), x), pi_low = V::splat(0x1.1a62633145c07p-54);
    const D near_angle = V::fma(minus_n, pi_low, near_y), near_rest = V::fma(minus_n, pi_low, near_y - near_angle);
    return {is_near ? near_angle : angle, is_near ? near_rest : rest, (U)shifted};
}

// sin(x) and cos(x) for x in [0, 2 pi].
template <class V>
[[gnu::always_inline]] inline void sine_cosine_double(typename V::D x, typename V::D& sine, typename V::D& cosine) {
    using U = typename V::U;
    using D = typename V::D;
    const ReducedAngle<V> reduced = reduce_angle<V>(x);
    const U sign = (U)reduced.angle & sign_bit;
    const D a = (D)((U)reduced.angle ^ sign), rest = (D)((U)reduced.rest ^ sign);

    // a = k/128 + t, and the sums of angles.
    const D magic = V::splat(0x1.8p45), shifted = a + magic, t = a - (shifted - magic);
    D sine_k, sine_k_rest, cosine_k, cosine_k_rest;
    V::lookup(sine_cosine_table, (U)shifted & 127, sine_k, sine_k_rest, cosine_k, cosine_k_rest);
    // (sin(t) - t) / t**3 and (1 - cos(t)) / t**2, with the decimals of glibc's source.
    const auto sine_terms = [](D t2) {
        return polynomial<V>(t2, -1.66666666666664880952546298448555E-01, 8.33333214285722277379541354343671E-03);
    };
    const auto cosine_terms = [](D t2) {
        return polynomial<V>(t2, 4.99999999999999999999950396842453E-01, -4.16666666666664434524222570944589E-02,
                             1.38888874007937613028114285595617E-03);
    };
    const D t2 = t * t;
    const D s = t + V::fma_exact(t * t2, sine_terms(t2), rest);
    const D c = V::fma_exact(t, rest, t2 * cosine_terms(t2));
    const D sine_correction = V::fma_exact(-c, sine_k, V::fma_exact(s, cosine_k_rest, sine_k_rest));
    const D by_table = sine_k + V::fma_exact(s, cosine_k, sine_correction);

    // The cosine adds the rest to t first.
    const D v = t + rest, v2 = v * v;
    const D cosine_s = V::fma_exact(v * v2, sine_terms(v2), v);
    const D cosine_c = v2 * cosine_terms(v2);
    const D cosine_correction = V::fma_exact(-cosine_c, cosine_k, V::fma_exact(-cosine_s, sine_k_rest, cosine_k_rest));
    const D of_cosine = cosine_k + V::fma_exact(-cosine_s, sine_k, cosine_correction);

    // Small angles have the sine's series.
    const D a2 = a * a;
    const D series = polynomial<V>(a2, -0x1.5555555555555p-3, 0x1.1111111110ecep-7, -0x1.a01a019db08b8p-13,
                                   0x1.71de27b9a7ed9p-19, -0x1.addffc2fcdf59p-26);
    const D small = a + V::fma_exact(V::fma_exact(series, a, rest * -0.5), a2, rest);
    const D of_sine = a < 0.126 ? small : by_table;

    // Turned to the quadrant.
    const U n = reduced.quadrant;
    const D signed_sine = (D)((U)of_sine ^ sign ^ (((n + 1) << 62) & sign_bit));
    const D signed_cosine = (D)((U)of_cosine ^ ((n << 62) & sign_bit));
    const auto swapped = (n & 1) != 0;
    sine = swapped ? signed_cosine : signed_sine;
    cosine = swapped ? signed_sine : signed_cosine;
}

// c0 + c1 x + c2 x**2 + …, by Horner's scheme, with every operation rounded: the same on every tier, and fast on all.
template <class V>
[[gnu::always_inline]] inline typename V::D horner(typename V::D, double c0) {
    return V::splat(c0);
}
template <class V, class... Rest>
[[gnu::always_inline]] inline typename V::D horner(typename V::D x, double c0, Rest... rest) {
    return horner<V>(x, rest...) * x + V::splat(c0);
}

// exp(x) for any x but NaN, to about a unit in the last place: x = n ln 2 + r, and the Taylor polynomial of degree 13 for
// |r| <= ln 2 / 2. Every operation is rounded.
template <class V>
[[gnu::always_inline]] inline typename V::D exp_double(typename V::D x) {
    using U = typename V::U;
    using D = typename V::D;
    const D magic = V::splat(0x1.8p52);  // a sum with it has no fraction, and n in its lowest bits
    x = x < -750.0 ? V::splat(-750.0) : x > 710.0 ? V::splat(710.0) : x;
    const D n = (x * 0x1.71547652b82fep+0 + magic) - magic;
    const D r = (x - n * 0x1.62e42fefa38p-1) - n * 0x1.ef35793c7673p-45;
    const D series = horner<V>(r, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800,
                               1. / 39916800, 1. / 479001600, 1. / 6227020800);
    // Two powers of two, since 2**n alone may overflow or underflow.
    const D half = (n * 0.5 + magic) - magic;
    const auto power_of_two = [&](D exponent) { return (D)(((U)(exponent + magic) + 1023) << 52); };
    return (1.0 + (r + (r * r) * series)) * power_of_two(half) * power_of_two(n - half);
}

}  // namespace fanin
