// Distributions by the inverse of their distribution functions: what a unit double becomes. Every operation is rounded, and
// those of the logarithm fused where glibc's are, so that all tiers have the same bits.
#pragma once
#include <cstdint>

#include "elementary64.h"
#include "tiers.h"

namespace fanin {

// The tail of a unit normal whose probability is `tail`, up to 38 standard deviations away, as a distance from the mean.
// M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988).
template <class V>
[[gnu::always_inline]] inline typename V::D tail_quantile(typename V::D tail) {
    using U = typename V::U;
    using D = typename V::D;
    const D r = V::square_root(-log_below_one<V>(tail)), s = r - 1.6;
    const D near = horner<V>(s, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                             3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                             2.27238449892691845833e-2, 7.74545014278341407640e-4) /
                   horner<V>(s, 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                             1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                             1.05075007164441684324e-9);
    const auto is_far = r >= 5.0;
    if (!V::any((U)is_far)) return near;
    const D t = r - 5.0;
    const D far = horner<V>(t, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                            2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                            2.71155556874348757815e-5, 2.01033439929228813265e-7) /
                  horner<V>(t, 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                            7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                            2.04426310338993978564e-15);
    return is_far ? far : near;
}

// Vectors that are computed at once, so that their chains of operations overlap.
constexpr int together = 2;
template <class V>
using Several = typename V::D[together];

// Where a unit normal has the probability `lower` below and `upper` above, normal doubles in (0, 1); `centre` is lower - 1/2,
// of its own accuracy. To a few units in the last place, everywhere: within 2.96 standard deviations by a rational function
// that scripts/fit_quantile fits, which few vectors leave.
template <class V>
[[gnu::always_inline]] inline void normal_quantile(const Several<V>& lower, const Several<V>& upper, const Several<V>& centre,
                                                   Several<V>& quantile) {
    using U = typename V::U;
    using D = typename V::D;
    U is_tail[together], any = V::splat(uint64_t(0));
    for (int i = 0; i < together; ++i) {
        const D log_product = -log_below_one<V>(lower[i] * upper[i]), t = log_product - 0x1.62e42fefa39efp+0;  // log 4
        const D numerator = horner<V>(t, 0x1.40d931ff62704p+1, 0x1.b1b679512e455p-1, 0x1.ab125cfad1066p-3, 0x1.2013b2959b8cbp-5,
                                      0x1.15189ad7da44dp-8, 0x1.7c7c4ebec6341p-12, 0x1.4bede3fa43aa5p-16, 0x1.c117ed293d41fp-22,
                                      -0x1.da835a68f4c2ap-27);
        const D denominator = horner<V>(t, 1.0, 0x1.37e172e069efap-4, 0x1.9b72f872a4497p-5, 0x1.4aa3dd8d23815p-9,
                                        0x1.77e25e0e2addcp-11, 0x1.f522c12373ffdp-17, 0x1.2f34af576f635p-19, -0x1.49a92270d6b0bp-25);
        quantile[i] = centre[i] * (numerator / denominator);
        is_tail[i] = (U)(log_product >= 6.5);
        any |= is_tail[i];
    }
    if (!V::any(any)) return;
    for (int i = 0; i < together; ++i) {
        const D tail = tail_quantile<V>(lower[i] < upper[i] ? lower[i] : upper[i]);
        quantile[i] = V::choose(is_tail[i], (D)((U)tail | ((U)centre[i] & sign_bit)), quantile[i]);
    }
}

// A normal between bounds. The probabilities below and above are both computed from parts of one sign: nothing cancels.
template <class V>
struct Bounded {
    using D = typename V::D;
    const D scale, origin, below, above, width, centre, lowest, highest;

    explicit Bounded(const Draw& draw)
        : scale(V::splat(draw.scale)), origin(V::splat(draw.origin)), below(V::splat(draw.interval.below)),
          above(V::splat(draw.interval.above)), width(V::splat(draw.interval.width)), centre(V::splat(draw.interval.centre)),
          lowest(V::splat(draw.interval.lowest)), highest(V::splat(draw.interval.highest)) {}

    [[gnu::always_inline]] void operator()(const Several<V>& unit, Several<V>& value) const {
        Several<V> lower, upper, middle;
        for (int i = 0; i < together; ++i) {
            lower[i] = unit[i] * width + below;
            upper[i] = (1.0 - unit[i]) * width + above;
            middle[i] = unit[i] * width + centre;
        }
        normal_quantile<V>(lower, upper, middle, value);
        for (D& each : value) {
            each = each * scale + origin;
            each = each < highest ? each : highest;
            each = each > lowest ? each : lowest;
        }
    }
};

template <class V>
struct Exponential {
    using D = typename V::D;
    const D scale, origin;

    explicit Exponential(const Draw& draw) : scale(V::splat(draw.scale)), origin(V::splat(draw.origin)) {}

    [[gnu::always_inline]] void operator()(const Several<V>& unit, Several<V>& value) const {
        for (int i = 0; i < together; ++i) value[i] = -log_double<V>(unit[i]) * scale + origin;
    }
};

template <class V>
struct LogNormal {
    using D = typename V::D;
    const D scale, origin;

    explicit LogNormal(const Draw& draw) : scale(V::splat(draw.scale)), origin(V::splat(draw.origin)) {}

    [[gnu::always_inline]] void operator()(const Several<V>& unit, Several<V>& value) const {
        Several<V> upper, centre;
        for (int i = 0; i < together; ++i) {
            upper[i] = 1.0 - unit[i];
            centre[i] = unit[i] - 0.5;
        }
        normal_quantile<V>(unit, upper, centre, value);
        for (D& each : value) each = exp_double<V>(each * scale + origin);
    }
};

}  // namespace fanin
