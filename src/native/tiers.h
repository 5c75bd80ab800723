// The processor tiers: the same kernels compiled for several instruction sets, side by side in a table.
#pragma once
#include <cstddef>
#include <cstdint>

#include "philox.h"

namespace fanin {

// The probabilities of a unit normal below, above and within bounds, that below less 1/2, and the smallest and largest value.
struct Interval {
    double below, above, width, centre, lowest, highest;
};

// What to draw, as plain data. Floats are x * scale + origin for a unit value x; integers are minval + bits mod span. Only
// normals between bounds have an interval.
struct Draw {
    Stream stream;
    double scale, origin;
    uint64_t minval, span;
    Interval interval;
};

// A group is the elements that a block of the stream makes: 2 if they have 64 bits, 4 otherwise.
constexpr int64_t group_size(int64_t item_size) { return item_size == 8 ? 2 : 4; }

constexpr uint64_t most_lanes = 1024;
constexpr uint64_t group_padding = 32;  // tables have a multiple of this many entries that can be read

// Rows of `count` elements side by side, at most `most_lanes`: element l of row r is number first + starts[l] + r of the stream.
struct RowsToFill {
    uint64_t first;
    const uint64_t* starts;
    uint64_t farthest;  // start, which is below 2**54
    bool staggered;     // whether some starts are within a group
    uint64_t count;
    int64_t rows;
    char* to;
    int64_t row_stride;  // in bytes
};

// What is drawn, in one way for neighbors in the stream and in another for elements anywhere in it.
struct Kernel {
    // Fills `count` elements side by side at `out`, the first of which has the flat index `first`.
    void (*run)(const Draw& draw, uint64_t first, uint64_t count, void* out);
    void (*rows)(const Draw& draw, const RowsToFill& rows);
};

enum class Elementary { log, sin, cos };

struct KernelInfo {
    const char* name;
    uint8_t item_size;
};
constexpr KernelInfo kernel_infos[] = {
    {"uniform/float16", 2},   {"uniform/bfloat16", 2},   {"uniform/float32", 4},   {"uniform/float64", 8},
    {"normal/float16", 2},    {"normal/bfloat16", 2},    {"normal/float32", 4},    {"normal/float64", 8},
    {"truncated/float16", 2}, {"truncated/bfloat16", 2}, {"truncated/float32", 4}, {"truncated/float64", 8},
    {"integers/32", 4},       {"integers/64", 8},
    // Drawn in float32, rounded once.
    {"uniform/float32/float16", 2},   {"uniform/float32/bfloat16", 2},
    {"normal/float32/float16", 2},    {"normal/float32/bfloat16", 2},
    {"truncated/float32/float16", 2}, {"truncated/float32/bfloat16", 2},
    // Quantiles of open unit doubles, computed in doubles.
    {"bounded/float32", 4},     {"bounded/float32/float16", 2},     {"bounded/float32/bfloat16", 2},     {"bounded/float64", 8},
    {"exponential/float32", 4}, {"exponential/float32/float16", 2}, {"exponential/float32/bfloat16", 2}, {"exponential/float64", 8},
    {"lognormal/float32", 4},   {"lognormal/float32/float16", 2},   {"lognormal/float32/bfloat16", 2},   {"lognormal/float64", 8},
};
constexpr int kernel_count = sizeof kernel_infos / sizeof kernel_infos[0];

struct Kernels {
    Kernel of[kernel_count];  // in the order of kernel_infos
    // For the tests: the functions that the kernels are built from.
    Counter (*block)(Counter counter, const KeySchedule& keys);
    void (*elementary)(Elementary function, uint32_t first, uint32_t count, float* out);
    void (*elementary_64)(Elementary function, const double* in, uint64_t count, double* out);
};

struct Tier {
    const char* name;
    const Kernels* kernels;
    bool (*supported)();
};

// From the plainest to the best; a machine may lack the later ones.
extern const Tier tiers[];
extern const int tier_count;

}  // namespace fanin
