// Vector operations in the compiler's own vector types, 2 lanes of 64 bits, which every processor of the architecture
// has (SSE2 on x86-64, NEON on arm64). SSE2 intrinsics are used for instructions that the compiler does not find.
#pragma once
#include <cstdint>
#if defined(__SSE2__) && !defined(FANIN_PORTABLE)
#define FANIN_SSE2
#include <emmintrin.h>
#endif

#include "vector_common.h"

namespace fanin {
namespace {

struct Baseline : VectorCommon {
    static constexpr int lanes = 2;
    static constexpr bool fused = false, permutes_tables = false;
    typedef uint64_t U __attribute__((vector_size(16)));
    typedef double D __attribute__((vector_size(16)));
    typedef uint32_t W __attribute__((vector_size(16)));
    typedef float F __attribute__((vector_size(16)));

    static U splat(uint64_t value) { return U{value, value}; }
    static D splat(double value) { return D{value, value}; }
    static F splat(float value) { return F{value, value, value, value}; }
    static W splat(uint32_t value) { return W{value, value, value, value}; }
    static U lane_numbers() { return U{0, 1}; }

    static U multiply_low_halves(U a, U b) {
#ifdef FANIN_SSE2
        return (U)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
        return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
#endif
    }
    static U exclusive_or(U a, U b, U c) { return a ^ b ^ c; }
    static U take_bits(U a, uint64_t mask, uint64_t bits) { return (a & mask) | bits; }
    static W take_bits(W a, uint32_t mask, uint32_t bits) { return (a & mask) | bits; }

    static D fma(D a, D b, D c) { return a * b + c; }  // two roundings, which change no result where this is used
    static D to_double(U a) { return (D)(a | 0x4330000000000000ull) - 0x1p52; }  // 2**52 + a, from its bits
    static D maximum(D a, D b) {
#ifdef FANIN_SSE2
        return (D)_mm_max_pd((__m128d)a, (__m128d)b);
#else
        return D{a[0] > b[0] ? a[0] : b[0], a[1] > b[1] ? a[1] : b[1]};
#endif
    }
    static D round_to_float(D a) {
#ifdef FANIN_SSE2
        return (D)_mm_cvtps_pd(_mm_cvtpd_ps((__m128d)a));
#else
        // Not D{double(float(a[0])), …}: GCC 12 optimizes the two conversions away.
        typedef float Half __attribute__((vector_size(8)));
        return __builtin_convertvector(__builtin_convertvector(a, Half), D);
#endif
    }
    static bool any(U mask) { return (mask[0] | mask[1]) != 0; }  // whether a lane is not 0
    static F square_root(F a) {
#ifdef FANIN_SSE2
        return (F)_mm_sqrt_ps((__m128)a);
#else
        return F{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
#endif
    }
    static F join(D a, D b) {
#ifdef FANIN_SSE2
        return (F)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)a), _mm_cvtpd_ps((__m128d)b));
#else
        return F{float(a[0]), float(a[1]), float(b[0]), float(b[1])};
#endif
    }
    static W join_low_halves(U a, U b) { return W{uint32_t(a[0]), uint32_t(a[1]), uint32_t(b[0]), uint32_t(b[1])}; }
    static void turn(W quadrant, F& sine, F& cosine, F& radius) {
        const W odd = splat(0u) - (quadrant & 1);
        const W difference = ((W)sine ^ (W)cosine) & odd;
        sine = (F)((W)sine ^ difference);
        cosine = (F)((W)cosine ^ difference ^ (odd & 0x80000000u));
        radius = (F)((W)radius ^ ((quadrant << 30) & 0x80000000u));
    }

    template <class T>
    static void interleave(T a, T b, T& first, T& second) {
        first = (T)D{((D)a)[0], ((D)b)[0]};
        second = (T)D{((D)a)[1], ((D)b)[1]};
    }
    template <class T>
    static void transpose(const T (&rows)[4], T (&columns)[4]) {
        for (int i = 0; i < 4; ++i) columns[i] = T{rows[0][i], rows[1][i], rows[2][i], rows[3][i]};
    }

    template <class T>
    static T choose(W upper_bits, T a, T b) {
        const W mask = splat(0u) - (upper_bits >> 31);
        return (T)(((W)a & mask) | ((W)b & ~mask));
    }
    template <class T>
    static T choose(U upper_bits, T a, T b) {
        const U mask = splat(uint64_t(0)) - (upper_bits >> 63);
        return (T)(((U)a & mask) | ((U)b & ~mask));
    }

    // Rounds to the 11 significant bits of a half, without a conversion, by adding and subtracting a power of two that
    // leaves just those bits. Below 2**-14 the spacing stays 2**-24; from 65520 on the half is infinite.
    static F round_to_half(F a) {
        const W sign = (W)a & 0x80000000u, size = (W)a & 0x7FFFFFFFu;
        const W exponent = size & 0x7F800000u;
        const W subnormal = (W)(exponent < 0x38800000u);
        const W spacing = (exponent & ~subnormal) | (splat(uint32_t(0x38800000u)) & subnormal);
        const F magic = (F)(spacing + (13u << 23));                   // 2**13 times the power of two below
        const F rounded = (((F)size + magic) - magic);
        const W infinite = (W)(size >= 0x477FF000u);                  // 65520, infinities and NaNs
        const W not_a_number = (W)(size > 0x7F800000u);
        W result = ((W)rounded & ~infinite) | (splat(uint32_t(0x7F800000u)) & infinite);
        result = (result & ~not_a_number) | (size & not_a_number);
        return (F)(result | sign);
    }
    // The bits of a half, from a float that is already rounded to one.
    static W half_bits(F a) {
        const W sign = ((W)a >> 16) & 0x8000u, size = (W)a & 0x7FFFFFFFu;
        const W normal = (size - (112u << 23)) >> 13;                                // exponent bias 127 to 15
        const W subnormal = (W)((F)size + splat(0.5f)) - 0x3F000000u;                // 0.5 has the spacing 2**-24
        const W is_subnormal = (W)(size < 0x38800000u), is_special = (W)(size >= 0x7F800000u);
        const W special = (size >> 13) & 0x7FFFu;
        W result = (subnormal & is_subnormal) | (normal & ~is_subnormal);
        result = (result & ~is_special) | (((special & 0x3FFu) | 0x7C00u) & is_special);
        return result | sign;
    }
    static void store_half(void* to, F a, F b) {
        const W low = half_bits(round_to_half(a)), high = half_bits(round_to_half(b));
        store_high_halves(to, low << 16, high << 16);
    }
    static void store_high_halves(void* to, W a, W b) {
#ifdef FANIN_SSE2
        // Signed saturation leaves sign-extended halves as they are; SSE2 has no unsigned saturation.
        _mm_storeu_si128((__m128i*)to, _mm_packs_epi32(_mm_srai_epi32((__m128i)a, 16), _mm_srai_epi32((__m128i)b, 16)));
#else
        uint16_t halves[8];
        for (int i = 0; i < 4; ++i) {
            halves[i] = uint16_t(a[i] >> 16);
            halves[i + 4] = uint16_t(b[i] >> 16);
        }
        __builtin_memcpy(to, halves, sizeof halves);
#endif
    }

    static uint32_t rejected_groups(const D (&values)[2]) {
        const auto rejected = [&](int lane) { return !(__builtin_fabs(values[0][lane]) < 2 && __builtin_fabs(values[1][lane]) < 2); };
        return uint32_t(rejected(0)) | uint32_t(rejected(1)) << 1;
    }
    static uint32_t rejected_groups(const F (&values)[4]) {
        W accepted = splat(~0u);
        for (const F& value : values) accepted &= (W)((F)((W)value & 0x7FFFFFFFu) < 2.0f);
        return (~accepted[0] & 1) | (~accepted[1] & 2) | (~accepted[2] & 4) | (~accepted[3] & 8);
    }

    // Doubles.
#ifdef __FP_FAST_FMA
    static D fma_exact(D a, D b, D c) { return D{__builtin_fma(a[0], b[0], c[0]), __builtin_fma(a[1], b[1], c[1])}; }
#else
    // After Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd"
    // (IEEE Transactions on Computers 57(4), 2008). Nothing may overflow or underflow. Where sum.value is less than half of
    // the product, the sum is exact, and so is `small`; elsewhere `small` has 50 bits more than the result has.
    static D fma_exact(D a, D b, D c) {
        const Sum product = exact_product(a, b), sum = exact_sum(product.value, c), small = exact_sum(sum.rest, product.rest);
        // Rounds `small` to odd: an inexact even mantissa goes one up or down, to the other side of the exact value.
        const U bits = (U)small.value, inexact = (U)(small.rest != 0.0), opposite = (bits ^ (U)small.rest) >> 63;
        return sum.value + (D)(bits + (inexact & ~bits & 1) - ((inexact & ~bits & opposite) << 1));
    }
#endif
    static D square_root(D a) {
#ifdef FANIN_SSE2
        return (D)_mm_sqrt_pd((__m128d)a);
#else
        return D{__builtin_sqrt(a[0]), __builtin_sqrt(a[1])};
#endif
    }
    static void lookup(const double (*table)[2], U index, D& column_0, D& column_1) {
        interleave(load<D>(table[index[0]]), load<D>(table[index[1]]), column_0, column_1);
    }
    static void lookup(const double (*table)[4], U index, D& column_0, D& column_1, D& column_2, D& column_3) {
        interleave(load<D>(table[index[0]]), load<D>(table[index[1]]), column_0, column_1);
        interleave(load<D>(table[index[0]] + 2), load<D>(table[index[1]] + 2), column_2, column_3);
    }

  private:
    struct Sum {
        D value, rest;  // the rounded sum or product, and what it lacks
    };
    static Sum exact_sum(D a, D b) {  // Knuth
        const D sum = a + b, of_b = sum - a, of_a = sum - of_b;
        return {sum, (a - of_a) + (b - of_b)};
    }
    static Sum exact_product(D a, D b) {  // Veltkamp and Dekker
        const auto upper = [](D x) {
            const D scaled = x * 0x8000001p0;
            return scaled - (scaled - x);
        };
        const D product = a * b, a_high = upper(a), a_low = a - a_high, b_high = upper(b), b_low = b - b_high;
        return {product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)};
    }
};

using Vector = Baseline;

}  // namespace
}  // namespace fanin
