// Words to unit floats, and the float formats that a kernel writes: each knows how many random bits a unit float of its
// kind takes and how `x * scale + shift` is rounded in it.
#pragma once
#include <cstdint>

namespace fanin {

// A unit float of `bits` random bits, from the lowest bits of each word: the mantissa of a float in [1, 2), minus 1.
template <class V, int bits>
[[gnu::always_inline]] inline typename V::F unit_float(typename V::W word) {
    constexpr uint32_t mask = ((1u << bits) - 1) << (23 - bits);
    return (typename V::F)V::take_bits(word << (23 - bits), mask, 0x3F800000u) - 1.0f;
}

// Rounds to the 8 significant bits of a bfloat16, to nearest even. A NaN made by arithmetic (the only ones that
// reach this) has no lower bits to carry out of.
template <class V>
[[gnu::always_inline]] inline typename V::W round_to_bfloat16(typename V::F value) {
    using W = typename V::W;
    const W bits = (W)value;
    return bits + 0x7FFFu + ((bits >> 16) & 1u);
}

template <class V>
struct Float32 {
    using Element = float;
    using F = typename V::F;
    static constexpr int unit_bits = 23;
    F scale, shift;

    Float32(double scale, double shift) : scale(V::splat(float(scale))), shift(V::splat(float(shift))) {}
    static F round(F value) { return value; }
    void write(Element* to, F first, F second) const {
        V::store(to, first * scale + shift);
        V::store(to + 2 * V::lanes, second * scale + shift);
    }
};

// In the 16-bit formats every operation is made in float32 and rounded at once. Twice rounded is once rounded here: a
// float32 has more than twice the bits.
template <class V>
struct Float16 {
    using Element = uint16_t;
    using F = typename V::F;
    static constexpr int unit_bits = 10;
    F scale, shift;

    Float16(double scale, double shift) : scale(V::splat(float(scale))), shift(V::splat(float(shift))) {}
    static F round(F value) { return V::round_to_half(value); }
    void write(Element* to, F first, F second) const {
        V::store_half(to, round(first * scale) + shift, round(second * scale) + shift);
    }
};

template <class V>
struct Bfloat16 {
    using Element = uint16_t;
    using F = typename V::F;
    static constexpr int unit_bits = 7;
    F scale, shift;

    Bfloat16(double scale, double shift) : scale(V::splat(float(scale))), shift(V::splat(float(shift))) {}
    static F round(F value) { return (F)(round_to_bfloat16<V>(value) & 0xFFFF0000u); }
    void write(Element* to, F first, F second) const {
        V::store_high_halves(to, round_to_bfloat16<V>(round(first * scale) + shift),
                             round_to_bfloat16<V>(round(second * scale) + shift));
    }
};

}  // namespace fanin
