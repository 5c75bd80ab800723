// One fill of an array of any strides: cut into pieces, shared among threads, handed to a tier's kernel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tiers.h"

namespace fanin {

constexpr size_t max_rank = 64;  // that of a Python buffer

struct Axis {
    int64_t length;
    int64_t byte_stride;    // of the array in memory
    uint64_t index_stride;  // of the element's flat index in the stream
};

struct Array {
    char* data;
    int64_t item_size;
    uint64_t first_index;    // of the element at `data`
    std::vector<Axis> axes;  // slowest first; lengths may be 0
};

// Every element of the array becomes what the kernel draws for its flat index. The number of threads, at most `threads`,
// changes no value. Never throws once the fill has begun: a thread that cannot be started is done without.
void fill(Array array, Fill kernel, const Draw& draw, int threads);

// How many elements are worth another thread (which takes 0.1 to 0.2 ms to start). Tests set it to see many threads at
// work on little; returns what it was.
int64_t set_elements_per_thread(int64_t elements);

}  // namespace fanin
