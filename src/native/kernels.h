// The kernels: uniform, normal, truncated normal, integers. One body serves every tier; `Vector` is the tier's back-end.
//
// A kernel makes groups of elements: a group is what one block of the stream makes, and a lane of a vector makes a group.
// Lanes may take any groups, so a layout is only another set of block numbers. In a run of elements the lanes take
// consecutive groups, and the groups are transposed in registers. If neighbors in memory are far apart in the stream, as
// in PyTorch's layout, each lane takes a neighbor's group, and the elements of all groups go to rows as they are.
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
        for (uint64_t at = 0; at < rows.count; ++at) groups[at] = rows.starts[at] / group;
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
    if (low > low + blocks && rows.count > 1) {  // a carry into word 2 of some lanes, once in 2**64 blocks: lane by lane
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
     kernel<TruncatedNormal<Float32AsBfloat16<V>>>},
    block,
    elementary,
    elementary_64};

}  // namespace
}  // namespace fanin
