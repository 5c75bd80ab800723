// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011): (counter, key) -> four 32-bit words. It has no state, so any block can be made at any time.
#pragma once
#include <cstdint>

namespace fanin {

constexpr uint32_t philox_multiplier_0 = 0xD2511F53, philox_multiplier_1 = 0xCD9E8D57;
constexpr uint32_t philox_weyl_0 = 0x9E3779B9, philox_weyl_1 = 0xBB67AE85;
constexpr int philox_rounds = 10;

struct Counter {
    uint32_t word[4];
};

// The keys of all rounds, computed once per fill: 32-bit values, as wide as a lane, so that a vector instruction can
// broadcast one from memory.
struct KeySchedule {
    uint64_t key_0[philox_rounds], key_1[philox_rounds];

    [[gnu::always_inline]] KeySchedule(uint32_t key_low, uint32_t key_high) {
        for (int round = 0; round < philox_rounds; ++round) {
            key_0[round] = key_low + uint32_t(round) * philox_weyl_0;
            key_1[round] = key_high + uint32_t(round) * philox_weyl_1;
        }
    }
};

// The key and the upper half of the 128-bit counter, which a seed pair selects. A block depends on its index alone.
struct Stream {
    KeySchedule keys;
    uint32_t counter_2, counter_3;

    // The counter of block `index`. Indices reach 2**69 (256 blocks for each of 2**61 groups of a truncated normal), so
    // the carry out of the lower 64 bits propagates into the upper ones.
    [[gnu::always_inline]] Counter counter(unsigned __int128 index) const {
        uint64_t low = uint64_t(index);
        uint64_t high = (uint64_t(counter_3) << 32 | counter_2) + uint64_t(index >> 64);
        return {{uint32_t(low), uint32_t(low >> 32), uint32_t(high), uint32_t(high >> 32)}};
    }
};

// One block, for single values and as a plain statement of the algorithm.
[[gnu::always_inline]] inline Counter philox(Counter counter, const KeySchedule& keys) {
    uint32_t x0 = counter.word[0], x1 = counter.word[1], x2 = counter.word[2], x3 = counter.word[3];
    for (int round = 0; round < philox_rounds; ++round) {
        uint64_t p0 = uint64_t(philox_multiplier_0) * x0, p1 = uint64_t(philox_multiplier_1) * x2;
        x0 = uint32_t(p1 >> 32) ^ x1 ^ uint32_t(keys.key_0[round]);
        x2 = uint32_t(p0 >> 32) ^ x3 ^ uint32_t(keys.key_1[round]);
        x1 = uint32_t(p1);
        x3 = uint32_t(p0);
    }
    return {{x0, x1, x2, x3}};
}

// `count` vectors of blocks at once, interleaved so that their chains of multiplications overlap. The block numbers are given
// lane by lane, and the upper two counter words are the same in all lanes. If `wide`, the lanes' numbers have 64 bits;
// otherwise they have 32, the counter's word 1 is that of all lanes too, and the half of the first two rounds that depends
// on the common words alone is computed once, in scalars. (The caller ensures that no carry reaches a common word.)
//
// A lane is 64 bits wide and holds its word in the lower half; the upper half stays whatever the products left there,
// because the next 32x32->64-bit multiplication ignores it.
template <class V, bool wide, int count>
[[gnu::always_inline]] inline void philox(typename V::U (&words)[count][4], const typename V::U (&blocks)[count],
                                          const Counter& counter, const KeySchedule& keys) {
    using U = typename V::U;
    const U multiplier_0 = V::splat(uint64_t(philox_multiplier_0)), multiplier_1 = V::splat(uint64_t(philox_multiplier_1));
    const uint64_t word_2_product = uint64_t(philox_multiplier_1) * counter.word[2];
    const uint32_t common_1 = uint32_t(word_2_product >> 32) ^ uint32_t(keys.key_0[0]);
    const uint64_t word_0_product = uint64_t(philox_multiplier_0) * (common_1 ^ counter.word[1]);

    U x0[count], x1[count], x2[count], x3[count];
    for (int n = 0; n < count; ++n) {
        // Rounds 1 and 2. In the first, only the product of word 0 varies; in the second, only that of word 2 unless wide.
        const U p0 = V::multiply_low_halves(blocks[n], multiplier_0);
        const U y2 = (p0 >> 32) ^ V::splat(uint64_t(counter.word[3] ^ keys.key_1[0]));
        const U p1 = V::multiply_low_halves(y2, multiplier_1);
        x0[n] = (p1 >> 32) ^ V::splat(uint64_t(uint32_t(word_2_product) ^ keys.key_0[1]));
        x1[n] = p1;
        if (wide) {
            x3[n] = V::multiply_low_halves((blocks[n] >> 32) ^ V::splat(uint64_t(common_1)), multiplier_0);
            x2[n] = V::exclusive_or(x3[n] >> 32, p0, V::splat(keys.key_1[1]));
        } else {
            x3[n] = V::splat(uint64_t(uint32_t(word_0_product)));
            x2[n] = p0 ^ V::splat(uint64_t(uint32_t(word_0_product >> 32) ^ keys.key_1[1]));
        }
    }
    for (int round = 2; round < philox_rounds; ++round) {
        const U key_0 = V::splat(keys.key_0[round]), key_1 = V::splat(keys.key_1[round]);
        for (int n = 0; n < count; ++n) {
            U p0 = V::multiply_low_halves(x0[n], multiplier_0), p1 = V::multiply_low_halves(x2[n], multiplier_1);
            x0[n] = V::exclusive_or(p1 >> 32, x1[n], key_0);
            x2[n] = V::exclusive_or(p0 >> 32, x3[n], key_1);
            x1[n] = p1;
            x3[n] = p0;
        }
    }
    for (int n = 0; n < count; ++n) {
        words[n][0] = x0[n];
        words[n][1] = x1[n];
        words[n][2] = x2[n];
        words[n][3] = x3[n];
    }
}

}  // namespace fanin
