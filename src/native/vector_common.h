// The operations that back-ends share, which need no special instruction. A back-end with a better one hides it.
#pragma once
#include <cstdint>

namespace fanin {
namespace {

struct VectorCommon {
    template <class T>
    static T load(const void* from) {
        T value;
        __builtin_memcpy(&value, from, sizeof value);
        return value;
    }
    template <class T>
    static void store(void* to, T value) { __builtin_memcpy(to, &value, sizeof value); }

    // Appends first + l to the list for every bit l of a mask of up to 8. Always writes whole groups of 4 entries; no
    // branch, since the mask is unpredictable.
    static uint32_t* append_indices(uint32_t* list, uint32_t mask, uint32_t first) {
        static constexpr uint8_t set_bits[16][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0},
                                                    {2, 0, 0, 0}, {0, 2, 0, 0}, {1, 2, 0, 0}, {0, 1, 2, 0},
                                                    {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0},
                                                    {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};
        for (uint32_t begin = 0; begin < 8; begin += 4) {
            const uint32_t four = mask >> begin & 15;
            for (int i = 0; i < 4; ++i) list[i] = first + begin + set_bits[four][i];
            list += __builtin_popcount(four);
        }
        return list;
    }

    // Completes a group, whose values are `width` numbers apart, by more values: keeps the first ones of all that are under two
    // standard deviations; false if there are too few.
    template <int group, int width, class T>
    static bool keep_accepted(T* kept, const T* more) {
        T accepted[2 * group + 1];  // one place more than there are values: a rejected last one is written too
        int count = 0;
        for (int i = 0; i < 2 * group; ++i) {
            const T value = i < group ? kept[i * width] : more[i - group];
            accepted[count] = value;
            count += __builtin_fabs(value) < 2;
        }
        for (int i = 0; i < group; ++i) kept[i * width] = accepted[i];
        return count >= group;
    }
};

}  // namespace
}  // namespace fanin
