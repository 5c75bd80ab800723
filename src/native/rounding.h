// Unit floats from words, and the float formats that kernels write. Each format has the number of random bits in a unit
// float and the rounding of `x * scale + origin`. The origin is the value of a unit float of 0: a mean, or the lower
// limit of a uniform.
#pragma once
#include <cstdint>

namespace fanin {

// A unit float of `bits` random bits, from the lowest bits of each word: the mantissa of a float in [1, 2), minus 1.
template <class V, int bits>
[[gnu::always_inline]] inline typename V::F unit_float(typename V::W word) {
    constexpr uint32_t mask = ((1u << bits) - 1) << (23 - bits);
    return (typename V::F)V::take_bits(word << (23 - bits), mask, 0x3F800000u) - 1.0f;
}

// Rounds to the 8 significant bits of a bfloat16, to nearest even. NaNs from arithmetic, the only ones that reach this,
// have no lower bits that could carry.
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
    F scale, origin;

    Float32(double scale, double origin) : scale(V::splat(float(scale))), origin(V::splat(float(origin))) {}
    static F round(F value) { return value; }
    static void store(Element* to, F first, F second) {
        V::store(to, first);
        V::store(to + 2 * V::lanes, second);
    }
    void write(Element* to, F first, F second) const { store(to, first * scale + origin, second * scale + origin); }
};

// In the 16-bit formats every operation is done in float32 and rounded immediately. Rounding twice equals rounding once
// here, since a float32 has more than twice the bits.
template <class V>
struct Float16 {
    using Element = uint16_t;
    using F = typename V::F;
    static constexpr int unit_bits = 10;
    F scale, origin;

    Float16(double scale, double origin) : scale(V::splat(float(scale))), origin(V::splat(float(origin))) {}
    static F round(F value) { return V::round_to_half(value); }
    void write(Element* to, F first, F second) const {
        V::store_half(to, round(first * scale) + origin, round(second * scale) + origin);
    }
};

template <class V>
struct Bfloat16 {
    using Element = uint16_t;
    using F = typename V::F;
    static constexpr int unit_bits = 7;
    F scale, origin;

    Bfloat16(double scale, double origin) : scale(V::splat(float(scale))), origin(V::splat(float(origin))) {}
    static F round(F value) { return (F)(round_to_bfloat16<V>(value) & 0xFFFF0000u); }
    void write(Element* to, F first, F second) const {
        V::store_high_halves(to, round_to_bfloat16<V>(round(first * scale) + origin),
                             round_to_bfloat16<V>(round(second * scale) + origin));
    }
};

// A float32 element that is rounded once, to 16 bits, when it is stored: a 16-bit model is its float32 twin, rounded.
template <class V>
struct Float32AsFloat16 : Float32<V> {
    using Element = uint16_t;
    using F = typename V::F;
    using Float32<V>::Float32;
    static void store(Element* to, F first, F second) { V::store_half(to, first, second); }
    void write(Element* to, F first, F second) const {
        store(to, first * this->scale + this->origin, second * this->scale + this->origin);
    }
};

template <class V>
struct Float32AsBfloat16 : Float32<V> {
    using Element = uint16_t;
    using F = typename V::F;
    using Float32<V>::Float32;
    static void store(Element* to, F first, F second) {
        V::store_high_halves(to, round_to_bfloat16<V>(first), round_to_bfloat16<V>(second));
    }
    void write(Element* to, F first, F second) const {
        store(to, first * this->scale + this->origin, second * this->scale + this->origin);
    }
};

}  // namespace fanin
