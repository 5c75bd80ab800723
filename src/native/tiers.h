// The processor tiers: the same kernels compiled for several instruction sets, side by side in a table.
#pragma once
#include <cstddef>
#include <cstdint>

#include "philox.h"

namespace fanin {

// What to draw, as plain data. Floats are x * scale + origin for a unit value x; integers are minval + bits mod span.
struct Draw {
    Stream stream;
    double scale, origin;
    uint64_t minval, span;
};

// Fills `count` contiguous elements at `out`, the first of which has the flat index `first`.
using Fill = void (*)(const Draw& draw, uint64_t first, uint64_t count, void* out);

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
};
constexpr int kernel_count = sizeof kernel_infos / sizeof kernel_infos[0];

struct Kernels {
    Fill fill[kernel_count];  // in the order of kernel_infos
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
