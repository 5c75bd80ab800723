// The kernels, which fill a run of elements: uniform, normal, truncated normal, integers. One body serves every tier;
// `Vector` is the tier's back-end. An element depends on its index alone, so a run may begin and end anywhere.
#pragma once
#include <cstddef>
#include <cstdint>

#include "elementary.h"
#include "elementary64.h"
#include "philox.h"
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
constexpr int interleaved = 4;  // vectors of blocks computed at once

// The lowest counter words of `interleaved` vectors of blocks, `stride` blocks apart.
[[gnu::always_inline]] inline void count_up(U (&lowest)[interleaved], uint32_t first, uint64_t stride) {
    for (int n = 0; n < interleaved; ++n)
        lowest[n] = V::lane_numbers() * stride + (first + uint64_t(n) * lanes * stride);
}

// Box-Muller pairs, in float32, of a vector of blocks. A block makes two pairs, sine before cosine: the first pairs are
// in the lower half of the lanes, the second pairs in the upper half.
struct Pairs {
    F sine, cosine;
};

// Sine and cosine of two vectors of words, rotated to their quadrants, which may change the sign of the radius.
[[gnu::always_inline]] inline void sine_cosine(U first, U second, F& sine, F& cosine, F& radius) {
    const Reduced<V> a = reduced_sine_cosine<V>(first), b = reduced_sine_cosine<V>(second);
    sine = V::join(a.sine, b.sine);
    cosine = V::join(a.cosine, b.cosine);
    V::turn(V::join_low_halves(a.quadrant, b.quadrant), sine, cosine, radius);
}

[[gnu::always_inline]] inline Pairs box_muller(const U (&words)[4]) {
    F radius = V::square_root(V::join(minus_two_log<V>(words[0]), minus_two_log<V>(words[2])));
    F sine, cosine;
    sine_cosine(words[1], words[3], sine, cosine, radius);
    return {sine * radius, cosine * radius};
}

// The pair of doubles of every block.
struct Pairs64 {
    D sine, cosine;
};

[[gnu::always_inline]] inline Pairs64 box_muller_64(const U (&words)[4]) {
    const D unit = V::maximum(unit_double<V>(words[0], words[1]), V::splat(1e-7));
    const D radius = V::square_root(log_double<V>(unit) * -2.0);
    D sine, cosine;
    sine_cosine_double<V>(unit_double<V>(words[2], words[3]) * (2 * pi), sine, cosine);
    return {sine * radius, cosine * radius};
}

// Every kernel fills whole batches of `batch_groups` groups of `group` elements; a group takes `stride` counters.

template <class Format>
struct Uniform {
    using Element = typename Format::Element;
    static constexpr uint64_t group = 4, stride = 1, batch_groups = interleaved * lanes;
    const KeySchedule& keys;
    const Format format;

    explicit Uniform(const Draw& draw) : keys(draw.stream.keys), format(draw.scale, draw.origin) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        for (; batches; --batches, counter.word[0] += batch_groups, out += batch_groups * group) {
            U lowest[interleaved], words[interleaved][4];
            count_up(lowest, counter.word[0], stride);
            philox<V, interleaved>(words, lowest, counter, keys);
            for (int n = 0; n < interleaved; ++n) {
                W first, second;
                V::interleave_words(words[n], first, second);
                format.write(out + n * lanes * group, unit_float<V, Format::unit_bits>(first),
                             unit_float<V, Format::unit_bits>(second));
            }
        }
    }
};

struct UniformFloat64 {
    using Element = double;
    static constexpr uint64_t group = 2, stride = 1, batch_groups = interleaved * lanes;
    const KeySchedule& keys;
    const D scale, origin;

    explicit UniformFloat64(const Draw& draw)
        : keys(draw.stream.keys), scale(V::splat(draw.scale)), origin(V::splat(draw.origin)) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        for (; batches; --batches, counter.word[0] += batch_groups, out += batch_groups * group) {
            U lowest[interleaved], words[interleaved][4];
            count_up(lowest, counter.word[0], stride);
            philox<V, interleaved>(words, lowest, counter, keys);
            for (int n = 0; n < interleaved; ++n) {
                D first, second;
                V::interleave(unit_double<V>(words[n][0], words[n][1]), unit_double<V>(words[n][2], words[n][3]), first, second);
                V::store(out + n * lanes * group, first * scale + origin);
                V::store(out + n * lanes * group + lanes, second * scale + origin);
            }
        }
    }
};

template <class Format>
struct Normal {
    using Element = typename Format::Element;
    static constexpr uint64_t group = 4, stride = 1, batch_groups = interleaved * lanes;
    const KeySchedule& keys;
    const Format format;

    explicit Normal(const Draw& draw) : keys(draw.stream.keys), format(draw.scale, draw.origin) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        for (; batches; --batches, counter.word[0] += batch_groups, out += batch_groups * group) {
            U lowest[interleaved], words[interleaved][4];
            count_up(lowest, counter.word[0], stride);
            philox<V, interleaved>(words, lowest, counter, keys);
#pragma GCC unroll 4  // measured: 5 % faster with AVX-512
            for (int n = 0; n < interleaved; ++n) {
                const Pairs pairs = box_muller(words[n]);
                F first, second;
                V::interleave_pairs(pairs.sine, pairs.cosine, first, second);
                format.write(out + n * lanes * group, Format::round(first), Format::round(second));
            }
        }
    }
};

// The words of a batch of blocks, block by block, for the kernels that continue in scalars.
inline void block_words(uint32_t (&blocks)[interleaved * lanes][4], const Counter& counter, uint64_t stride,
                        const KeySchedule& keys) {
    U lowest[interleaved], words[interleaved][4];
    count_up(lowest, counter.word[0], stride);
    philox<V, interleaved>(words, lowest, counter, keys);
    for (int n = 0; n < interleaved; ++n) {
        W first, second;
        V::interleave_words(words[n], first, second);
        V::store(blocks[n * lanes], first);
        V::store(blocks[n * lanes + lanes / 2], second);
    }
}

struct NormalFloat64 {
    using Element = double;
    static constexpr uint64_t group = 2, stride = 1, batch_groups = interleaved * lanes;
    const KeySchedule& keys;
    const D scale, origin;

    explicit NormalFloat64(const Draw& draw)
        : keys(draw.stream.keys), scale(V::splat(draw.scale)), origin(V::splat(draw.origin)) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        for (; batches; --batches, counter.word[0] += batch_groups, out += batch_groups * group) {
            U lowest[interleaved], words[interleaved][4];
            count_up(lowest, counter.word[0], stride);
            philox<V, interleaved>(words, lowest, counter, keys);
            for (int n = 0; n < interleaved; ++n) {
                const Pairs64 pairs = box_muller_64(words[n]);
                D first, second;
                V::interleave(pairs.sine, pairs.cosine, first, second);
                V::store(out + n * lanes * group, first * scale + origin);
                V::store(out + n * lanes * group + lanes, second * scale + origin);
            }
        }
    }
};

// Every group of four elements has 256 blocks of its own and takes their values in order, skipping those of two
// standard deviations or more. Five groups in six need only one block: the first blocks of all groups are computed in
// vectors, the groups that lack values are listed and their second blocks computed in vectors, and the rest (one in
// 10**5) are computed one by one.
template <class Format>
struct TruncatedNormal {
    using Element = typename Format::Element;
    static constexpr uint64_t group = 4, stride = 256, batch_groups = interleaved * lanes;
    static constexpr uint64_t chunk_batches = 512 / batch_groups;  // 2048 elements: 8 KiB, well within the first-level cache
    const KeySchedule& keys;
    const Format format;

    explicit TruncatedNormal(const Draw& draw) : keys(draw.stream.keys), format(draw.scale, draw.origin) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        while (batches) {
            const uint64_t now = batches < chunk_batches ? batches : chunk_batches;
            chunk(counter, now, out);
            batches -= now;
            counter.word[0] += uint32_t(now * batch_groups * stride);
            out += now * batch_groups * group;
        }
    }

  private:
    static void store(float* values, const Pairs& pairs) {
        F first, second;
        V::interleave_pairs(pairs.sine, pairs.cosine, first, second);
        V::store(values, first);
        V::store(values + 2 * lanes, second);
    }

    void chunk(const Counter& counter, uint64_t batches, Element* out) const {
        alignas(64) float values[chunk_batches * batch_groups * group];
        uint32_t lacking[chunk_batches * batch_groups + batch_groups];  // the list ends in up to a batch of padding
        uint32_t* end = lacking;
        for (uint32_t batch = 0; batch < batches; ++batch) {
            const uint32_t first_group = batch * uint32_t(batch_groups);
            U lowest[interleaved], words[interleaved][4];
            count_up(lowest, counter.word[0] + uint32_t(first_group * stride), stride);
            philox<V, interleaved>(words, lowest, counter, keys);
            for (int n = 0; n < interleaved; ++n) {
                const Pairs pairs = box_muller(words[n]);
                end = V::append_indices(end, V::rejected_blocks(pairs.sine, pairs.cosine), first_group + uint32_t(n * lanes));
                store(values + (first_group + uint32_t(n * lanes)) * group, pairs);
            }
        }
        for (uint32_t i = 0; i < batch_groups; ++i) end[i] = 0;
        for (const uint32_t* listed = lacking; listed < end; listed += batch_groups)
            complete(counter, listed, end - listed < ptrdiff_t(batch_groups) ? uint32_t(end - listed) : uint32_t(batch_groups), values);
        for (uint64_t i = 0; i < batches * batch_groups * group; i += 4 * lanes)
            format.write(out + i, Format::round(V::load<F>(values + i)), Format::round(V::load<F>(values + i + 2 * lanes)));
    }

    // Completes `count` listed groups from their second blocks.
    void complete(const Counter& counter, const uint32_t* listed, uint32_t count, float* values) const {
        alignas(64) float more[batch_groups * group];
        U lowest[interleaved], words[interleaved][4];
        uint64_t second[batch_groups];
        for (uint64_t i = 0; i < batch_groups; ++i) second[i] = counter.word[0] + listed[i] * stride + 1;
        for (int n = 0; n < interleaved; ++n) lowest[n] = V::load<U>(second + n * lanes);
        philox<V, interleaved>(words, lowest, counter, keys);
        for (int n = 0; n < interleaved; ++n) store(more + n * lanes * group, box_muller(words[n]));
        for (uint32_t i = 0; i < count; ++i)
            if (!V::keep_accepted(values + listed[i] * group, more + i * group)) from_scratch(counter, listed[i], values);
    }

    // Fills a group that two blocks did not complete.
    void from_scratch(const Counter& counter, uint32_t index, float* values) const {
        float* const kept = values + index * group;
        uint64_t count = 0;
        for (uint64_t block = index * stride; count < group; block += lanes) {
            alignas(64) float made[lanes * group];
            U lowest[1] = {V::lane_numbers() + (counter.word[0] + block)}, words[1][4];
            philox<V, 1>(words, lowest, counter, keys);
            store(made, box_muller(words[0]));
            for (float value : made)
                if (count < group && __builtin_fabsf(value) < 2.0f) kept[count++] = value;
        }
    }
};

// The same for pairs: a group of two elements has 128 blocks, and ten groups in eleven need only one.
struct TruncatedNormalFloat64 {
    using Element = double;
    static constexpr uint64_t group = 2, stride = 128, batch_groups = interleaved * lanes;
    static constexpr uint64_t chunk_batches = 512 / batch_groups;  // 1024 elements: 8 KiB
    const KeySchedule& keys;
    const D scale, origin;

    explicit TruncatedNormalFloat64(const Draw& draw)
        : keys(draw.stream.keys), scale(V::splat(draw.scale)), origin(V::splat(draw.origin)) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        while (batches) {
            const uint64_t now = batches < chunk_batches ? batches : chunk_batches;
            chunk(counter, now, out);
            batches -= now;
            counter.word[0] += uint32_t(now * batch_groups * stride);
            out += now * batch_groups * group;
        }
    }

  private:
    static void store(double* values, const Pairs64& pairs) {
        D first, second;
        V::interleave(pairs.sine, pairs.cosine, first, second);
        V::store(values, first);
        V::store(values + lanes, second);
    }

    void chunk(const Counter& counter, uint64_t batches, Element* out) const {
        alignas(64) double values[chunk_batches * batch_groups * group];
        uint32_t lacking[chunk_batches * batch_groups + batch_groups];  // the list ends in up to a batch of padding
        uint32_t* end = lacking;
        for (uint32_t batch = 0; batch < batches; ++batch) {
            const uint32_t first_group = batch * uint32_t(batch_groups);
            U lowest[interleaved], words[interleaved][4];
            count_up(lowest, counter.word[0] + uint32_t(first_group * stride), stride);
            philox<V, interleaved>(words, lowest, counter, keys);
            for (int n = 0; n < interleaved; ++n) {
                const Pairs64 pairs = box_muller_64(words[n]);
                end = V::append_indices(end, V::rejected_blocks(pairs.sine, pairs.cosine), first_group + uint32_t(n * lanes));
                store(values + (first_group + uint32_t(n * lanes)) * group, pairs);
            }
        }
        for (uint32_t i = 0; i < batch_groups; ++i) end[i] = 0;
        for (const uint32_t* listed = lacking; listed < end; listed += batch_groups)
            complete(counter, listed, end - listed < ptrdiff_t(batch_groups) ? uint32_t(end - listed) : uint32_t(batch_groups), values);
        for (uint64_t i = 0; i < batches * batch_groups * group; i += lanes)
            V::store(out + i, V::load<D>(values + i) * scale + origin);
    }

    // Completes `count` listed groups from their second blocks.
    void complete(const Counter& counter, const uint32_t* listed, uint32_t count, double* values) const {
        alignas(64) double more[batch_groups * group];
        U lowest[interleaved], words[interleaved][4];
        uint64_t second[batch_groups];
        for (uint64_t i = 0; i < batch_groups; ++i) second[i] = counter.word[0] + listed[i] * stride + 1;
        for (int n = 0; n < interleaved; ++n) lowest[n] = V::load<U>(second + n * lanes);
        philox<V, interleaved>(words, lowest, counter, keys);
        for (int n = 0; n < interleaved; ++n) store(more + n * lanes * group, box_muller_64(words[n]));
        for (uint32_t i = 0; i < count; ++i)
            if (!V::keep_accepted(values + listed[i] * group, more + i * group)) from_scratch(counter, listed[i], values);
    }

    // Fills a group that two blocks did not complete.
    void from_scratch(const Counter& counter, uint32_t index, double* values) const {
        double* const kept = values + index * group;
        uint64_t count = 0;
        for (uint64_t block = index * stride; count < group; block += lanes) {
            alignas(64) double made[lanes * group];
            U lowest[1] = {V::lane_numbers() + (counter.word[0] + block)}, words[1][4];
            philox<V, 1>(words, lowest, counter, keys);
            store(made, box_muller_64(words[0]));
            for (double value : made)
                if (count < group && __builtin_fabs(value) < 2.0) kept[count++] = value;
        }
    }
};

// minval + bits mod span; a span of 0 stands for the full range. Signed and unsigned types share their bits.
template <class Word>
struct Integers {
    using Element = Word;
    static constexpr uint64_t group = 16 / sizeof(Word), stride = 1, batch_groups = interleaved * lanes;
    const KeySchedule& keys;
    const Word minval, span;

    explicit Integers(const Draw& draw) : keys(draw.stream.keys), minval(Word(draw.minval)), span(Word(draw.span)) {}

    void operator()(Counter counter, uint64_t batches, Element* out) const {
        for (; batches; --batches, counter.word[0] += batch_groups, out += batch_groups * group) {
            uint32_t blocks[batch_groups][4];
            block_words(blocks, counter, stride, keys);
            Word bits[batch_groups * group];  // little-endian: the first word of 64 bits is the low one
            __builtin_memcpy(bits, blocks, sizeof bits);
            for (uint64_t i = 0; i < batch_groups * group; ++i) out[i] = span ? Word(minval + bits[i] % span) : bits[i];
        }
    }
};

// Cuts a run into batches. Parts that are not a whole batch go through one on the stack: a run that begins inside a
// group, its end, and the batch in which the lowest counter word wraps.
template <class Kernel>
void fill(const Draw& draw, uint64_t first, uint64_t count, void* to) {
    using Element = typename Kernel::Element;
    constexpr uint64_t batch = Kernel::batch_groups * Kernel::group;
    const Kernel kernel(draw);
    Element* out = static_cast<Element*>(to);
    while (count) {
        const uint64_t skipped = first % Kernel::group;
        const Counter counter = draw.stream.counter((unsigned __int128)(first / Kernel::group) * Kernel::stride);
        const uint64_t groups_to_wrap = ((1ull << 32) - counter.word[0]) / Kernel::stride;
        uint64_t batches = groups_to_wrap / Kernel::batch_groups, done;
        if (batches > count / batch) batches = count / batch;
        if (batches && !skipped) {
            kernel(counter, batches, out);
            done = batches * batch;
        } else {
            alignas(64) Element spare[batch];
            kernel(counter, 1, spare);
            done = (batch < groups_to_wrap * Kernel::group ? batch : groups_to_wrap * Kernel::group) - skipped;
            if (done > count) done = count;
            __builtin_memcpy(out, spare + skipped, done * sizeof(Element));
        }
        first += done;
        count -= done;
        out += done;
    }
}

// The first of the blocks that are computed at once.
Counter block(Counter counter, const KeySchedule& keys) {
    uint32_t blocks[interleaved * lanes][4];
    block_words(blocks, counter, 1, keys);
    return {{blocks[0][0], blocks[0][1], blocks[0][2], blocks[0][3]}};
}

// logf, sinf and cosf of the unit floats first/2**23, (first + 1)/2**23, …; `count` must be a multiple of 16.
void elementary(Elementary function, uint32_t first, uint32_t count, float* out) {
    for (uint32_t i = 0; i < count; i += 2 * lanes) {
        const U a = V::lane_numbers() + uint64_t(first + i), b = a + uint64_t(lanes);
        F sine, cosine, radius = V::splat(1.0f);
        if (function == Elementary::log) {
            radius = V::join(minus_two_log<V>(a), minus_two_log<V>(b));
            sine = V::splat(-0.5f);
        } else {
            sine_cosine(a, b, sine, cosine, radius);
            if (function == Elementary::cos) sine = cosine;
        }
        V::store(out + i, sine * radius);
    }
}

// log, sin or cos of doubles.
void elementary_64(Elementary function, const double* in, uint64_t count, double* out) {
    for (uint64_t i = 0; i < count; i += lanes) {
        const uint64_t now = count - i < lanes ? count - i : lanes;
        D x = V::splat(0.5), sine, cosine;
        __builtin_memcpy(&x, in + i, now * sizeof(double));
        if (function == Elementary::log) {
            sine = log_double<V>(x);
        } else {
            sine_cosine_double<V>(x, sine, cosine);
            if (function == Elementary::cos) sine = cosine;
        }
        __builtin_memcpy(out + i, &sine, now * sizeof(double));
    }
}

constexpr Kernels kernels = {
    {fill<Uniform<Float16<V>>>, fill<Uniform<Bfloat16<V>>>, fill<Uniform<Float32<V>>>, fill<UniformFloat64>,
     fill<Normal<Float16<V>>>, fill<Normal<Bfloat16<V>>>, fill<Normal<Float32<V>>>, fill<NormalFloat64>,
     fill<TruncatedNormal<Float16<V>>>, fill<TruncatedNormal<Bfloat16<V>>>, fill<TruncatedNormal<Float32<V>>>,
     fill<TruncatedNormalFloat64>, fill<Integers<uint32_t>>, fill<Integers<uint64_t>>,
     fill<Uniform<Float32AsFloat16<V>>>, fill<Uniform<Float32AsBfloat16<V>>>, fill<Normal<Float32AsFloat16<V>>>,
     fill<Normal<Float32AsBfloat16<V>>>, fill<TruncatedNormal<Float32AsFloat16<V>>>,
     fill<TruncatedNormal<Float32AsBfloat16<V>>>},
    block,
    elementary,
    elementary_64};

}  // namespace
}  // namespace fanin
