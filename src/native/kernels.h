// The kernels, which make the groups of a law for runs and rows. One body serves every tier.
//
// A kernel makes groups of elements: a group is what one block of the stream makes, and a lane of a vector makes a group.
// Lanes may take any groups, so a layout is only another set of block numbers. In a run of elements the lanes take
// consecutive groups, and the groups are transposed in registers. If neighbors in memory are far apart in the stream, as
// in PyTorch's layout, each lane takes a neighbor's group, and the elements of all groups go to rows as they are.
#pragma once
#include <cstddef>
#include <cstdint>

#include "laws.h"
#include "philox.h"
#include "tiers.h"

namespace fanin {
namespace {

template <class Law>
constexpr bool is_truncated = Law::stride > 1;

// Where the blocks of some groups are: the counter of the first block of group 0. If they are `wide`, their numbers are
// added to the lower two words of the counter, otherwise to the lowest alone.
struct Origin {
    const Counter counter;
    const KeySchedule& keys;

    [[gnu::always_inline]] U first() const { return V::splat(uint64_t(counter.word[1]) << 32 | counter.word[0]); }
};

template <class Law, bool wide>
[[gnu::always_inline]] inline void make_batch(const Law& law, const Origin& origin, const Blocks& blocks,
                                              typename Law::Values& values) {
    Words words;
    philox<V, wide>(words, blocks, origin.counter, origin.keys);
    law.make(words, values);
}

constexpr uint64_t chunk = 512;  // groups of a truncated normal at a time: 8 KiB of values, well within the first-level cache

// The groups of a chunk of a truncated normal. Five groups in six need only one block: the first blocks of all groups are
// computed in vectors, the groups that lack values are listed and their second blocks computed in vectors, and the rest
// (one in 10**5) are computed one by one.
template <class Law, bool wide>
class TruncatedChunk {
    using Values = typename Law::Values;
    using Number = typename Law::Number;

  public:
    TruncatedChunk(const Law& law, const Origin& origin, const uint64_t* groups, uint64_t count)
        : law(law), origin(origin), groups(groups) {
        uint32_t lacking[chunk + 2 * batch];  // the list ends in up to a batch of padding
        uint32_t* end = lacking;
        for (uint64_t at = 0; at < count; at += batch) {
            Blocks blocks;
            for (int n = 0; n < interleaved; ++n) blocks[n] = block_numbers(V::load<U>(groups + at + uint64_t(n) * lanes));
            Values& made = values[at / batch];
            make_batch<Law, wide>(law, origin, blocks, made);
            for (uint64_t n = 0; n < batch / Values::width; ++n)
                end = V::append_indices(end, Law::rejected(made, int(n)), uint32_t(at + n * Values::width));
        }
        for (uint32_t i = 0; i < batch; ++i) end[i] = 0;
        for (const uint32_t* listed = lacking; listed < end; listed += batch)
            complete(listed, end - listed < ptrdiff_t(batch) ? uint64_t(end - listed) : batch);
    }

    // The values of the batch that begins at this group.
    [[gnu::always_inline]] const Values& at(uint64_t group) {
        law.round(values[group / batch]);
        return values[group / batch];
    }

  private:
    [[gnu::always_inline]] U block_numbers(U group_numbers) const { return group_numbers * Law::stride + origin.first(); }

    // The first element of a group; the others are `Values::width` numbers apart.
    static Number* place(Values* values, uint64_t group) {
        return reinterpret_cast<Number*>(values) + group / Values::width * Values::width * Values::group + group % Values::width;
    }

    // Completes `count` listed groups from their second blocks, which are made as a run.
    void complete(const uint32_t* listed, uint64_t count) {
        alignas(64) uint64_t numbers[batch];
        for (uint64_t i = 0; i < batch; ++i) numbers[i] = groups[listed[Values::order(i)]];
        Blocks blocks;
        for (int n = 0; n < interleaved; ++n) blocks[n] = block_numbers(V::load<U>(numbers + n * lanes)) + 1;
        Values made;
        make_batch<Law, wide>(law, origin, blocks, made);
        alignas(64) Number more[batch][Values::group];
        made.store_run(more[0]);
        for (uint64_t i = 0; i < count; ++i)
            if (!V::template keep_accepted<Values::group, Values::width>(place(values, listed[i]), more[i])) make_anew(listed[i]);
    }

    // Makes a group that two blocks did not complete, from its first block on.
    void make_anew(uint64_t group) {
        Number* const kept = place(values, group);
        const U first = block_numbers(V::splat(groups[group]));
        uint64_t found = 0;
        for (uint64_t block = 0; found < Values::group; block += batch) {
            Blocks blocks;
            for (int n = 0; n < interleaved; ++n) blocks[n] = first + V::lane_numbers() + (block + uint64_t(n) * lanes);
            Values made;
            make_batch<Law, wide>(law, origin, blocks, made);
            for (uint64_t i = 0; i < batch * Values::group; ++i) {
                const Number value = place(&made, i / Values::group)[i % Values::group * Values::width];
                if (found < Values::group && __builtin_fabs(value) < 2) kept[found++ * Values::width] = value;
            }
        }
    }

    const Law& law;
    const Origin& origin;
    const uint64_t* groups;
    Values values[chunk / batch];
};

// Makes `count` groups, and gives the values of each batch and its place to `store`. Reads whole batches of the table.
template <class Law, bool wide, class Store>
[[gnu::always_inline]] inline void make_groups(const Law& law, const Origin& origin, const uint64_t* groups, uint64_t count,
                                               const Store& store) {
    if constexpr (is_truncated<Law>) {
        for (uint64_t begin = 0; begin < count; begin += chunk) {
            const uint64_t now = count - begin < chunk ? count - begin : chunk;
            TruncatedChunk<Law, wide> made(law, origin, groups + begin, now);
            for (uint64_t at = 0; at < now; at += batch) store(begin + at, made.at(at));
        }
    } else {
        for (uint64_t at = 0; at < count; at += batch) {
            Blocks blocks;
            for (int n = 0; n < interleaved; ++n) blocks[n] = V::load<U>(groups + at + uint64_t(n) * lanes) + origin.first();
            typename Law::Values values;
            make_batch<Law, wide>(law, origin, blocks, values);
            store(at, values);
        }
    }
}

// The groups that the lanes take in a run.
template <class Values>
struct RunOrder {
    alignas(64) uint64_t of[chunk] = {};
    constexpr RunOrder() {
        for (uint64_t i = 0; i < chunk; ++i) of[i] = i / batch * batch + Values::order(i % batch);
    }
};
template <class Values>
constexpr RunOrder<Values> run_order;

// Cuts a run of elements into chunks. Parts that are not whole batches go through one on the stack: a run that begins
// inside a group, its end, and the batch in which the lowest counter word wraps.
template <class Law>
void fill_run(const Draw& draw, uint64_t first, uint64_t count, void* to) {
    using Element = typename Law::Element;
    constexpr uint64_t group = Law::Values::group;
    const Law law(draw);
    const auto make = [&](const Counter& counter, uint64_t groups, Element* out) {
        make_groups<Law, false>(law, {counter, draw.stream.keys}, run_order<typename Law::Values>.of, groups,
                                [&](uint64_t at, const auto& values) { law.store_run(values, out + at * group); });
    };
    Element* out = static_cast<Element*>(to);
    while (count) {
        const uint64_t skipped = first % group;
        const Counter counter = draw.stream.counter((unsigned __int128)(first / group) * Law::stride);
        const uint64_t groups_to_wrap = ((1ull << 32) - counter.word[0]) / Law::stride;
        uint64_t groups = count / group / batch * batch, done;
        if (groups > groups_to_wrap) groups = groups_to_wrap / batch * batch;
        if (groups > chunk) groups = chunk;
        if (groups && !skipped) {
            make(counter, groups, out);
            done = groups * group;
        } else {
            alignas(64) Element spare[batch * group];
            make(counter, batch, spare);
            done = (batch < groups_to_wrap ? batch : groups_to_wrap) * group - skipped;
            if (done > count) done = count;
            __builtin_memcpy(out, spare + skipped, done * sizeof(Element));
        }
        first += done;
        count -= done;
        out += done;
    }
}

template <class Law, bool staggered>
class Rows {
    using Element = typename Law::Element;
    using Values = typename Law::Values;
    static constexpr uint64_t group = Values::group;

  public:
    Rows(const Draw& draw, const RowsToFill& rows) : law(draw), stream(draw.stream), rows(rows) {
        for (uint64_t at = 0; at < rows.count; at += lanes) V::store(groups + at, V::load<U>(rows.starts + at) / group);
        // The lanes of the last batch that have no element.
        for (uint64_t at = (rows.count + lanes - 1) / lanes * lanes; at % batch; ++at) groups[at] = 0;
    }

    void fill() {
        const uint64_t early = rows.first % group;  // row 0 may begin within a group
        uint64_t number = rows.first / group;
        if (staggered) make(number++, [&](uint64_t at, const Values& values) { kept[at / batch] = values; });
        for (int64_t row = -int64_t(early); row < rows.rows; row += group) {
            Element* to[group];
            for (int64_t i = 0; i < int64_t(group); ++i) {
                const bool wanted = row + i >= 0 && row + i < rows.rows;
                to[i] = wanted ? reinterpret_cast<Element*>(rows.to + (row + i) * rows.row_stride) : nullptr;
            }
            make(number++, [&](uint64_t at, const Values& values) {
                if constexpr (staggered) {
                    Values& before = kept[at / batch];
                    U phases[interleaved];
                    for (int n = 0; n < interleaved; ++n) phases[n] = V::load<U>(rows.starts + at + uint64_t(n) * lanes);
                    store(before.from_phase(values, phases), at, to);
                    before = values;
                } else {
                    store(values, at, to);
                }
            });
        }
    }

  private:
    // Makes a group of each lane: `number` groups from where the lane begins.
    template <class Store>
    [[gnu::always_inline]] void make(uint64_t number, const Store& store) const {
        const unsigned __int128 block = (unsigned __int128)number * Law::stride;
        const Origin origin = {stream.counter(block), stream.keys};
        const uint64_t low = uint64_t(block), last = low + (rows.farthest / group + 1) * Law::stride - 1;
        if (low >> 32 == last >> 32) make_groups<Law, false>(law, origin, groups, rows.count, store);
        else make_groups<Law, true>(law, origin, groups, rows.count, store);
    }

    [[gnu::always_inline]] void store(const Values& values, uint64_t at, Element* const (&to)[group]) const {
        const uint64_t count = rows.count - at;
        for (int i = 0; i < int(group); ++i) {
            if (!to[i]) continue;
            if (count >= batch) {
                law.store_row(values, i, to[i] + at);
            } else {
                alignas(64) Element spare[batch];
                law.store_row(values, i, spare);
                __builtin_memcpy(to[i] + at, spare, count * sizeof(Element));
            }
        }
    }

    const Law law;
    const Stream& stream;
    const RowsToFill& rows;
    alignas(64) uint64_t groups[most_lanes];
    Values kept[staggered ? most_lanes / batch : 1];
};

template <class Law>
void fill_rows(const Draw& draw, const RowsToFill& rows) {
    constexpr uint64_t group = Law::Values::group;
    const uint64_t low = rows.first / group * Law::stride;
    const uint64_t blocks = ((rows.farthest + uint64_t(rows.rows)) / group + 2) * Law::stride;
    if (low > low + blocks && (rows.count > 1 || rows.starts[0])) {  // a carry into word 2 of some lanes, once in 2**64 blocks: lane by lane
        const uint64_t none[group_padding] = {};
        for (uint64_t lane = 0; lane < rows.count; ++lane)
            fill_rows<Law>(draw, {rows.first + rows.starts[lane], none, 0, false, 1, rows.rows,
                                  rows.to + lane * sizeof(typename Law::Element), rows.row_stride});
        return;
    }
    if (rows.staggered) Rows<Law, true>(draw, rows).fill();
    else Rows<Law, false>(draw, rows).fill();
}

// The first of the blocks that are computed at once.
Counter block(Counter counter, const KeySchedule& keys) {
    Words words;
    Blocks blocks;
    const Origin origin = {counter, keys};
    for (int n = 0; n < interleaved; ++n) blocks[n] = origin.first() + V::lane_numbers() + uint64_t(n) * lanes;
    philox<V, false>(words, blocks, counter, keys);
    return {{uint32_t(words[0][0][0]), uint32_t(words[0][1][0]), uint32_t(words[0][2][0]), uint32_t(words[0][3][0])}};
}

// logf, sinf and cosf of the unit floats first/2**23, (first + 1)/2**23, …; `count` must be a multiple of 16.
void elementary(Elementary function, uint32_t first, uint32_t count, float* out) {
    for (uint32_t i = 0; i < count; i += 2 * lanes) {
        const U a = V::lane_numbers() + uint64_t(first + i), b = a + uint64_t(lanes);
        F result;
        if (function == Elementary::log) {
            result = V::join(minus_two_log<V>(a), minus_two_log<V>(b)) * -0.5f;
        } else {
            const Reduced<V> reduced[2] = {reduced_sine_cosine<V>(a), reduced_sine_cosine<V>(b)};
            F sine = V::join(reduced[0].sine, reduced[1].sine), cosine = V::join(reduced[0].cosine, reduced[1].cosine);
            F radius = V::splat(1.0f);
            V::turn(V::join_low_halves(reduced[0].quadrant, reduced[1].quadrant), sine, cosine, radius);
            result = (function == Elementary::sin ? sine : cosine) * radius;
        }
        V::store(out + i, result);
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

template <class Law>
constexpr Kernel kernel = {fill_run<Law>, fill_rows<Law>};

constexpr Kernels kernels = {
    {kernel<Uniform<Float16<V>>>, kernel<Uniform<Bfloat16<V>>>, kernel<Uniform<Float32<V>>>, kernel<UniformFloat64>,
     kernel<Normal<Float16<V>>>, kernel<Normal<Bfloat16<V>>>, kernel<Normal<Float32<V>>>, kernel<NormalFloat64>,
     kernel<TruncatedNormal<Float16<V>>>, kernel<TruncatedNormal<Bfloat16<V>>>, kernel<TruncatedNormal<Float32<V>>>,
     kernel<TruncatedNormalFloat64>, kernel<Integers32>, kernel<Integers64>,
     kernel<Uniform<Float32AsFloat16<V>>>, kernel<Uniform<Float32AsBfloat16<V>>>, kernel<Normal<Float32AsFloat16<V>>>,
     kernel<Normal<Float32AsBfloat16<V>>>, kernel<TruncatedNormal<Float32AsFloat16<V>>>,
     kernel<TruncatedNormal<Float32AsBfloat16<V>>>,
     kernel<Quantiles<Bounded<V>, Float32<V>>>, kernel<Quantiles<Bounded<V>, Float32AsFloat16<V>>>,
     kernel<Quantiles<Bounded<V>, Float32AsBfloat16<V>>>, kernel<QuantilesFloat64<Bounded<V>>>,
     kernel<Quantiles<Exponential<V>, Float32<V>>>, kernel<Quantiles<Exponential<V>, Float32AsFloat16<V>>>,
     kernel<Quantiles<Exponential<V>, Float32AsBfloat16<V>>>, kernel<QuantilesFloat64<Exponential<V>>>,
     kernel<Quantiles<LogNormal<V>, Float32<V>>>, kernel<Quantiles<LogNormal<V>, Float32AsFloat16<V>>>,
     kernel<Quantiles<LogNormal<V>, Float32AsBfloat16<V>>>, kernel<QuantilesFloat64<LogNormal<V>>>},
    block,
    elementary,
    elementary_64};

}  // namespace
}  // namespace fanin
