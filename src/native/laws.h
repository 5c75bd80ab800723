// The laws: what a batch of groups is, uniform, normal, truncated normal, integers or the quantiles of unit doubles, and how
// its values are laid out.
// `Vector` is the tier's back-end.
#pragma once
#include <cstdint>

#include "elementary.h"
#include "elementary64.h"
#include "quantiles.h"
#include "rounding.h"
#include "tiers.h"

namespace fanin {
namespace {

using V = Vector;
using U = V::U;
using D = V::D;
using F = V::F;
using W = V::W;
constexpr int lanes = V::lanes;
constexpr int interleaved = 4;                          // vectors of blocks computed at once
constexpr uint64_t batch = uint64_t(interleaved) * lanes;  // groups computed at once
static_assert(group_padding % batch == 0, "tables of groups are padded to whole batches");

using Blocks = U[interleaved];
using Words = U[interleaved][4];

// The values of a batch in kernels of 32-bit elements and shorter: for each half of the batch, and each of the four elements
// of its groups, a vector that has the element of all groups.
template <class T>
struct Fours {
    static constexpr uint64_t group = 4, width = 2 * lanes;
    T of[2][4];

    // The groups that the lanes take in a run: an order in which transposing 4x4 squares leaves the elements in theirs.
    static constexpr uint64_t order(uint64_t lane) {
        const uint64_t half = lane / (2 * lanes), place = lane % (2 * lanes);
        return half * 2 * lanes + place % 4 * (lanes / 2) + place / 4;
    }
    // Calls write(place, first, second) with the vectors of elements `place` and on, for all elements in their order.
    template <class Write>
    [[gnu::always_inline]] void in_order(const Write& write) const {
        for (int half = 0; half < 2; ++half) {
            T groups[4];
            V::transpose(of[half], groups);
            write(half * 8 * lanes, groups[0], groups[1]);
            write(half * 8 * lanes + 4 * lanes, groups[2], groups[3]);
        }
    }
    // The four elements of every group and those of the next, from an element of the former on: which one, `phases` says for
    // each lane.
    [[gnu::always_inline]] Fours from_phase(const Fours& next, const U (&phases)[interleaved]) const {
        Fours result;
        for (int half = 0; half < 2; ++half) {
            const W phase = V::join_low_halves(phases[2 * half], phases[2 * half + 1]);
            T elements[7], later[6];
            for (int i = 0; i < 7; ++i) elements[i] = i < 4 ? of[half][i] : next.of[half][i - 4];
            for (int i = 0; i < 6; ++i) later[i] = V::choose(phase << 31, elements[i + 1], elements[i]);
            for (int i = 0; i < 4; ++i) result.of[half][i] = V::choose(phase << 30, later[i + 2], later[i]);
        }
        return result;
    }
    template <class Element>
    [[gnu::always_inline]] void store_run(Element* to) const {
        in_order([&](int place, T first, T second) {
            V::store(to + place, first);
            V::store(to + place + 2 * lanes, second);
        });
    }
};

// The values of a batch in kernels of 64-bit elements: for each vector of the batch, the two elements of its groups.
template <class T>
struct Twos {
    static constexpr uint64_t group = 2, width = lanes;
    T of[interleaved][2];

    static constexpr uint64_t order(uint64_t lane) { return lane; }
    [[gnu::always_inline]] Twos from_phase(const Twos& next, const U (&phases)[interleaved]) const {
        Twos result;
        for (int n = 0; n < interleaved; ++n) {
            result.of[n][0] = V::choose(phases[n] << 63, of[n][1], of[n][0]);
            result.of[n][1] = V::choose(phases[n] << 63, next.of[n][0], of[n][1]);
        }
        return result;
    }
    template <class Element>
    [[gnu::always_inline]] void store_run(Element* to) const {
        for (const T(&pair)[2] : of) {
            T first, second;
            V::interleave(pair[0], pair[1], first, second);
            V::store(to, first);
            V::store(to + lanes, second);
            to += 2 * lanes;
        }
    }
    template <class Element>
    [[gnu::always_inline]] void store_row(int element, Element* to) const {
        for (int n = 0; n < interleaved; ++n) V::store(to + n * lanes, of[n][element]);
    }
};

// Box-Muller pairs of two vectors of blocks, in float32. A block makes two pairs, sine before cosine.
[[gnu::always_inline]] inline void box_muller(const U (&a)[4], const U (&b)[4], F (&values)[4]) {
    for (int pair = 0; pair < 4; pair += 2) {
        const Reduced<V> first = reduced_sine_cosine<V>(a[pair + 1]), second = reduced_sine_cosine<V>(b[pair + 1]);
        F radius = V::square_root(V::join(minus_two_log<V>(a[pair]), minus_two_log<V>(b[pair])));
        F sine = V::join(first.sine, second.sine), cosine = V::join(first.cosine, second.cosine);
        // The quadrant may change the sign of the radius.
        V::turn(V::join_low_halves(first.quadrant, second.quadrant), sine, cosine, radius);
        values[pair] = sine * radius;
        values[pair + 1] = cosine * radius;
    }
}

// A law has the values of a batch (`make`), and writes them in the order of the stream (`store_run`) or those of one element
// of all groups (`store_row`). A group takes `stride` counters.

template <class Format>
struct Floats {
    using Element = typename Format::Element;
    using Values = Fours<F>;
    static constexpr uint64_t stride = 1;
    const Format format;

    explicit Floats(const Draw& draw) : format(draw.scale, draw.origin) {}

    [[gnu::always_inline]] void store_run(const Values& values, Element* to) const {
        values.in_order([&](int place, F first, F second) { format.write(to + place, first, second); });
    }
    [[gnu::always_inline]] void store_row(const Values& values, int element, Element* to) const {
        format.write(to, values.of[0][element], values.of[1][element]);
    }
};

template <class Format>
struct Uniform : Floats<Format> {
    using Floats<Format>::Floats;

    [[gnu::always_inline]] void make(const Words& words, Fours<F>& values) const {
        for (int half = 0; half < 2; ++half)
            for (int element = 0; element < 4; ++element) {
                const W word = V::join_low_halves(words[2 * half][element], words[2 * half + 1][element]);
                values.of[half][element] = unit_float<V, Format::unit_bits>(word);
            }
    }
};

template <class Format>
struct Normal : Floats<Format> {
    using Floats<Format>::Floats;

    [[gnu::always_inline]] void make(const Words& words, Fours<F>& values) const {
        for (int half = 0; half < 2; ++half) {
            box_muller(words[2 * half], words[2 * half + 1], values.of[half]);
            for (F& value : values.of[half]) value = Format::round(value);
        }
    }
};

// minval + bits mod span; a span of 0 stands for the full range. Signed and unsigned types share their bits.
struct Integers32 {
    using Element = uint32_t;
    using Values = Fours<W>;
    static constexpr uint64_t stride = 1;
    const uint32_t minval, span;

    explicit Integers32(const Draw& draw) : minval(uint32_t(draw.minval)), span(uint32_t(draw.span)) {}

    [[gnu::always_inline]] void make(const Words& words, Values& values) const {
        for (int half = 0; half < 2; ++half)
            for (int element = 0; element < 4; ++element)
                values.of[half][element] = V::join_low_halves(words[2 * half][element], words[2 * half + 1][element]);
    }
    [[gnu::always_inline]] void store_run(const Values& values, Element* to) const {
        values.in_order([&](int place, W first, W second) { write(to + place, first, second); });
    }
    [[gnu::always_inline]] void store_row(const Values& values, int element, Element* to) const {
        write(to, values.of[0][element], values.of[1][element]);
    }

  private:
    [[gnu::always_inline]] void write(Element* to, W first, W second) const {
        V::store(to, first);
        V::store(to + 2 * lanes, second);
        if (span)
            for (int i = 0; i < 4 * lanes; ++i) to[i] = minval + to[i] % span;
    }
};

struct Integers64 {
    using Element = uint64_t;
    using Values = Twos<U>;
    static constexpr uint64_t stride = 1;
    const uint64_t minval, span;

    explicit Integers64(const Draw& draw) : minval(draw.minval), span(draw.span) {}

    [[gnu::always_inline]] void make(const Words& words, Values& values) const {
        for (int n = 0; n < interleaved; ++n)
            for (int element = 0; element < 2; ++element)  // the first word is the low one
                values.of[n][element] = (words[n][2 * element] & 0xFFFFFFFFull) | words[n][2 * element + 1] << 32;
    }
    [[gnu::always_inline]] void store_run(const Values& values, Element* to) const {
        values.store_run(to);
        limit(to, 2 * batch);
    }
    [[gnu::always_inline]] void store_row(const Values& values, int element, Element* to) const {
        values.store_row(element, to);
        limit(to, batch);
    }

  private:
    [[gnu::always_inline]] void limit(Element* values, uint64_t count) const {
        if (span)
            for (uint64_t i = 0; i < count; ++i) values[i] = minval + values[i] % span;
    }
};

struct Doubles {
    using Element = double;
    using Values = Twos<D>;
    static constexpr uint64_t stride = 1;
    const D scale, origin;

    explicit Doubles(const Draw& draw) : scale(V::splat(draw.scale)), origin(V::splat(draw.origin)) {}

    [[gnu::always_inline]] void store_run(const Values& values, Element* to) const { scaled(values).store_run(to); }
    [[gnu::always_inline]] void store_row(const Values& values, int element, Element* to) const {
        scaled(values).store_row(element, to);
    }

  private:
    [[gnu::always_inline]] Values scaled(Values values) const {
        for (D(&pair)[2] : values.of)
            for (D& value : pair) value = value * scale + origin;
        return values;
    }
};

struct UniformFloat64 : Doubles {
    using Doubles::Doubles;

    [[gnu::always_inline]] void make(const Words& words, Values& values) const {
        for (int n = 0; n < interleaved; ++n)
            for (int element = 0; element < 2; ++element)
                values.of[n][element] = unit_double<V>(words[n][2 * element], words[n][2 * element + 1]);
    }
};

struct NormalFloat64 : Doubles {
    using Doubles::Doubles;

    // The Box-Muller pair of every block, sine before cosine.
    [[gnu::always_inline]] void make(const Words& words, Values& values) const {
        for (int n = 0; n < interleaved; ++n) {
            const D unit = V::maximum(unit_double<V>(words[n][0], words[n][1]), V::splat(1e-7));
            const D radius = V::square_root(log_double<V>(unit) * -2.0);
            D sine, cosine;
            sine_cosine_double<V>(unit_double<V>(words[n][2], words[n][3]) * (2 * pi), sine, cosine);
            values.of[n][0] = sine * radius;
            values.of[n][1] = cosine * radius;
        }
    }
};

// The quantiles of unit doubles in (0, 1), of all elements of a batch: one loop in one place, whose body is long.
template <class Quantile, int elements, class Unit>
[[gnu::always_inline]] inline void compute_quantiles(const Quantile& quantile, D (&made)[interleaved][elements], const Unit& unit) {
#pragma GCC unroll 1
    for (int at = 0; at < interleaved * elements; at += together) {
        D units[together], values[together];
        for (int i = 0; i < together; ++i) units[i] = unit((at + i) / elements, (at + i) % elements);
        quantile(units, values);
        for (int i = 0; i < together; ++i) made[(at + i) / elements][(at + i) % elements] = values[i];
    }
}

// The quantiles of unit doubles of 32 bits, a word for each, rounded once to a float.
template <class Quantile, class Format>
struct Quantiles {
    using Element = typename Format::Element;
    using Values = Fours<F>;
    static constexpr uint64_t stride = 1;
    const Quantile quantile;

    explicit Quantiles(const Draw& draw) : quantile(draw) {}

    [[gnu::noinline]] void make(const Words& words, Values& values) const {
        D made[interleaved][4];
        compute_quantiles(quantile, made, [&](int n, int element) {
            return (V::to_double(words[n][element] & 0xFFFFFFFFull) + 0.5) * 0x1p-32;
        });
        for (int half = 0; half < 2; ++half)
            for (int element = 0; element < 4; ++element)
                values.of[half][element] = V::join(made[2 * half][element], made[2 * half + 1][element]);
    }
    [[gnu::always_inline]] void store_run(const Values& values, Element* to) const {
        values.in_order([&](int place, F first, F second) { Format::store(to + place, first, second); });
    }
    [[gnu::always_inline]] void store_row(const Values& values, int element, Element* to) const {
        Format::store(to, values.of[0][element], values.of[1][element]);
    }
};

// The quantiles of unit doubles of 52 bits.
template <class Quantile>
struct QuantilesFloat64 {
    using Element = double;
    using Values = Twos<D>;
    static constexpr uint64_t stride = 1;
    const Quantile quantile;

    explicit QuantilesFloat64(const Draw& draw) : quantile(draw) {}

    [[gnu::noinline]] void make(const Words& words, Values& values) const {
        compute_quantiles(quantile, values.of, [&](int n, int element) {
            return unit_double<V>(words[n][2 * element], words[n][2 * element + 1]) + 0x1p-53;
        });
    }
    [[gnu::always_inline]] void store_run(const Values& values, Element* to) const { values.store_run(to); }
    [[gnu::always_inline]] void store_row(const Values& values, int element, Element* to) const { values.store_row(element, to); }
};

// Every group of a truncated normal has blocks of its own and takes their values in order, skipping those of two standard
// deviations or more.
template <class Format>
struct TruncatedNormal : Floats<Format> {
    using Floats<Format>::Floats;
    using Number = float;
    static constexpr uint64_t stride = 256;

    [[gnu::always_inline]] void make(const Words& words, Fours<F>& values) const {
        for (int half = 0; half < 2; ++half) box_muller(words[2 * half], words[2 * half + 1], values.of[half]);
    }
    // Bit l of mask n is set if the values n of the batch have to skip one of those of group l.
    [[gnu::always_inline]] static uint32_t rejected(const Fours<F>& values, int n) { return V::rejected_groups(values.of[n]); }
    [[gnu::always_inline]] void round(Fours<F>& values) const {
        for (F(&half)[4] : values.of)
            for (F& value : half) value = Format::round(value);
    }
};

struct TruncatedNormalFloat64 : NormalFloat64 {
    using NormalFloat64::NormalFloat64;
    using Number = double;
    static constexpr uint64_t stride = 128;

    [[gnu::always_inline]] static uint32_t rejected(const Values& values, int n) { return V::rejected_groups(values.of[n]); }
    void round(Values&) const {}
};

}  // namespace
}  // namespace fanin
