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

    // Appends first + l to the list for every bit l of a mask of up to 4. Always writes 4 entries; no
    // branch, since the mask is unpredictable.
    static uint32_t* append_indices(uint32_t* list, uint32_t mask, uint32_t first) {
        static constexpr uint8_t set_bits[16][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0},
                                                    {2, 0, 0, 0}, {0, 2, 0, 0}, {1, 2, 0, 0}, {0, 1, 2, 0},
                                                    {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0},
                                                    {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};
        for (int i = 0; i < 4; ++i) list[i] = first + set_bits[mask][i];
        return list + __builtin_popcount(mask);
    }

    // Puts the first four values of [kept, more] under two standard deviations into `kept`; false if there are fewer.
    static bool keep_accepted(float* kept, const float* more) {
        float accepted[9];  // one place more than there are values: a rejected last one is written too
        int count = 0;
        for (int i = 0; i < 8; ++i) {
            const float value = i < 4 ? kept[i] : more[i - 4];
            accepted[count] = value;
            count += __builtin_fabsf(value) < 2.0f;
        }
        __builtin_memcpy(kept, accepted, 4 * sizeof(float));
        return count >= 4;
    }

    // The same with the first two values of two pairs.
    static bool keep_accepted(double* kept, const double* more) {
        double accepted[5];
        int count = 0;
        for (int i = 0; i < 4; ++i) {
            const double value = i < 2 ? kept[i] : more[i - 2];
            accepted[count] = value;
            count += __builtin_fabs(value) < 2.0;
        }
        __builtin_memcpy(kept, accepted, 2 * sizeof(double));
        return count >= 2;
    }
};

}  // namespace
}  // namespace fanin
