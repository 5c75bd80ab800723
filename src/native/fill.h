// Fills an array of any strides: cuts it into tiles, shares them among threads, and calls a tier's kernels on each.
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

// Whether a fill is to be stopped, which is asked between its tiles, by the calling thread alone.
class Interruption {
  public:
    virtual ~Interruption() = default;
    virtual bool wanted() = 0;  // must not throw
};

// Gives every element of the array the value that a kernel draws for its flat index. Uses at most `threads` threads,
// whose number does not change the values. Returns false if an interruption was wanted: each thread has then finished the
// tiles that it was at, and left the rest of the array as it was. A fill of few tiles does not ask. Never throws once the
// fill has begun: if a thread cannot be started, the others do its work.
bool fill(const Array& array, const Kernels& kernels, int kernel, const Draw& draw, int threads,
          Interruption* interruption = nullptr);

// Sets how many elements justify another thread (which takes 0.1 to 0.2 ms to start), and returns the previous number.
// Tests use it to run many threads on small arrays.
int64_t set_elements_per_thread(int64_t elements);

}  // namespace fanin
