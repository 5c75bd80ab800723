// Vector operations of the AVX-512 tier: 8 lanes of 64 bits.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "vector_common.h"

namespace fanin {
namespace {

struct Avx512 : VectorCommon {
    static constexpr int lanes = 8;
    static constexpr bool fused = true, permutes_tables = true;
    typedef uint64_t U __attribute__((vector_size(64)));  // 64-bit lanes: words and bits of doubles
    typedef double D __attribute__((vector_size(64)));
    typedef uint32_t W __attribute__((vector_size(64)));  // 32-bit lanes: words and bits of floats
    typedef float F __attribute__((vector_size(64)));

    static U splat(uint64_t value) { return (U)_mm512_set1_epi64(int64_t(value)); }
    static D splat(double value) { return (D)_mm512_set1_pd(value); }
    static F splat(float value) { return (F)_mm512_set1_ps(value); }
    static W splat(uint32_t value) { return (W)_mm512_set1_epi32(int32_t(value)); }
    static U lane_numbers() { return U{0, 1, 2, 3, 4, 5, 6, 7}; }

    static U multiply_low_halves(U a, U b) { return (U)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
    static U exclusive_or(U a, U b, U c) { return (U)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96); }
    // (a & mask) | bits, for mask and bits that have no bit in common
    static U take_bits(U a, uint64_t mask, uint64_t bits) {
        return (U)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)splat(mask), (__m512i)splat(bits), 0xEA);
    }
    static W take_bits(W a, uint32_t mask, uint32_t bits) {
        return (W)_mm512_ternarylogic_epi32((__m512i)a, (__m512i)splat(mask), (__m512i)splat(bits), 0xEA);
    }

    static D fma(D a, D b, D c) { return (D)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
    static D to_double(U a) { return (D)_mm512_cvtepi64_pd((__m512i)a); }
    // The exponent of a normal positive double, given by its bits.
    static D exponent(U a) { return (D)_mm512_getexp_pd((__m512d)a); }
    static D maximum(D a, D b) { return (D)_mm512_max_pd((__m512d)a, (__m512d)b); }
    static D round_to_float(D a) { return (D)_mm512_cvtps_pd(_mm512_cvtpd_ps((__m512d)a)); }
    static bool any(U mask) { return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0; }  // whether a lane is not 0
    static F square_root(F a) { return (F)_mm512_sqrt_ps((__m512)a); }
    // table[index mod 16]
    static D table(const double* table, U index) {
        return (D)_mm512_permutex2var_pd(_mm512_load_pd(table), (__m512i)index, _mm512_load_pd(table + 8));
    }

    static F join(D a, D b) {
        return (F)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)a)), _mm512_cvtpd_ps((__m512d)b), 1);
    }
    static W join_low_halves(U a, U b) {
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        return (W)_mm512_permutex2var_epi32((__m512i)a, even, (__m512i)b);
    }
    // Rotates the vector (cosine, sine) by the quadrant: by a quarter turn if bit 0 is set, and by a half turn, through
    // the sign of the radius, if bit 1 is set.
    static void turn(W quadrant, F& sine, F& cosine, F& radius) {
        const __mmask16 odd = _mm512_test_epi32_mask((__m512i)quadrant, _mm512_set1_epi32(1));
        const __m512i sign = _mm512_set1_epi32(INT32_MIN);
        const F old = sine;
        sine = (F)_mm512_mask_mov_ps((__m512)sine, odd, (__m512)cosine);
        cosine = (F)_mm512_mask_xor_ps((__m512)cosine, odd, (__m512)old, (__m512)sign);
        radius = (F)_mm512_ternarylogic_epi32((__m512i)radius, (__m512i)(quadrant << 30), sign, 0x78);
    }

    // The elements of two vectors in turn: those of their lower halves, then those of their upper halves.
    template <class T>
    static void interleave(T a, T b, T& first, T& second) {
        first = (T)_mm512_permutex2var_pd((__m512d)a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), (__m512d)b);
        second = (T)_mm512_permutex2var_pd((__m512d)a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), (__m512d)b);
    }
    // Transposes each 4x4 square of 32-bit elements: those of the 128-bit parts of the vectors.
    template <class T>
    static void transpose(const T (&rows)[4], T (&columns)[4]) {
        const auto unpack = [](T a, T b, __m512d& low, __m512d& high) {
            low = (__m512d)_mm512_unpacklo_ps((__m512)a, (__m512)b);
            high = (__m512d)_mm512_unpackhi_ps((__m512)a, (__m512)b);
        };
        __m512d low[2], high[2];
        unpack(rows[0], rows[1], low[0], high[0]);
        unpack(rows[2], rows[3], low[1], high[1]);
        columns[0] = (T)_mm512_unpacklo_pd(low[0], low[1]);
        columns[1] = (T)_mm512_unpackhi_pd(low[0], low[1]);
        columns[2] = (T)_mm512_unpacklo_pd(high[0], high[1]);
        columns[3] = (T)_mm512_unpackhi_pd(high[0], high[1]);
    }

    // The elements of a where the upper bits of the lanes are set, else those of b.
    template <class T>
    static T choose(W upper_bits, T a, T b) {
        return (T)_mm512_mask_mov_ps((__m512)b, _mm512_movepi32_mask((__m512i)upper_bits), (__m512)a);
    }
    template <class T>
    static T choose(U upper_bits, T a, T b) {
        return (T)_mm512_mask_mov_pd((__m512d)b, _mm512_movepi64_mask((__m512i)upper_bits), (__m512d)a);
    }

    static F round_to_half(F a) { return (F)_mm512_cvtph_ps(_mm512_cvtps_ph((__m512)a, _MM_FROUND_TO_NEAREST_INT)); }
    static void store_half(void* to, F a, F b) {
        _mm256_storeu_si256((__m256i*)to, _mm512_cvtps_ph((__m512)a, _MM_FROUND_TO_NEAREST_INT));
        _mm256_storeu_si256((__m256i*)to + 1, _mm512_cvtps_ph((__m512)b, _MM_FROUND_TO_NEAREST_INT));
    }
    // Stores the upper halves of the lanes.
    static void store_high_halves(void* to, W a, W b) {
        _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)a, 16)));
        _mm256_storeu_si256((__m256i*)to + 1, _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)b, 16)));
    }

    // Bit l is set if one of the four values of group l is at least two standard deviations in size.
    static uint32_t rejected_groups(const D (&values)[2]) {
        const auto rejected = [&](int i) {
            return _mm512_cmp_pd_mask(_mm512_abs_pd((__m512d)values[i]), _mm512_set1_pd(2.0), _CMP_NLT_UQ);
        };
        return _cvtmask8_u32(rejected(0) | rejected(1));
    }
    static uint32_t rejected_groups(const F (&values)[4]) {
        const auto rejected = [&](int i) {
            return _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)values[i]), _mm512_set1_ps(2.0f), _CMP_NLT_UQ);
        };
        return _cvtmask16_u32(rejected(0) | rejected(1) | rejected(2) | rejected(3));
    }
    // Appends first + l to the list for every bit l of the mask; writes up to 2 * lanes entries.
    static uint32_t* append_indices(uint32_t* list, uint32_t mask, uint32_t first) {
        const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i indices = _mm512_add_epi32(_mm512_set1_epi32(int32_t(first)), numbers);
        _mm512_storeu_si512(list, _mm512_maskz_compress_epi32(__mmask16(mask), indices));
        return list + __builtin_popcount(mask);
    }

    template <int group, int width>
    static bool keep_accepted(float* kept, const float* more) {
        static_assert(group == 4);
        const __m128 first = _mm_setr_ps(kept[0], kept[width], kept[2 * width], kept[3 * width]);
        const __m256 values = _mm256_set_m128(_mm_load_ps(more), first);
        const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
        const uint32_t accepted = _cvtmask8_u32(_mm256_cmp_ps_mask(size, _mm256_set1_ps(2.0f), _CMP_LT_OQ));
        alignas(16) float found[4];
        _mm_store_ps(found, _mm256_castps256_ps128(_mm256_maskz_compress_ps(__mmask8(accepted), values)));
        for (int i = 0; i < 4; ++i) kept[i * width] = found[i];
        return __builtin_popcount(accepted) >= 4;
    }
    template <int group, int width>
    static bool keep_accepted(double* kept, const double* more) { return VectorCommon::keep_accepted<group, width>(kept, more); }

    // Doubles.
    // a * b + c with one rounding.
    static D fma_exact(D a, D b, D c) { return fma(a, b, c); }
    static D square_root(D a) { return (D)_mm512_sqrt_pd((__m512d)a); }
    // The columns of the table's rows index[0], index[1], …
    static void lookup(const double (*table)[2], U index, D& column_0, D& column_1) {
        const __m512d even = quarters(table, index, 0, 0), odd = quarters(table, index, 1, 0);
        column_0 = (D)_mm512_unpacklo_pd(even, odd);
        column_1 = (D)_mm512_unpackhi_pd(even, odd);
    }
    static void lookup(const double (*table)[4], U index, D& column_0, D& column_1, D& column_2, D& column_3) {
        const __m512d even_01 = quarters(table, index, 0, 0), odd_01 = quarters(table, index, 1, 0);
        const __m512d even_23 = quarters(table, index, 0, 2), odd_23 = quarters(table, index, 1, 2);
        column_0 = (D)_mm512_unpacklo_pd(even_01, odd_01);
        column_1 = (D)_mm512_unpackhi_pd(even_01, odd_01);
        column_2 = (D)_mm512_unpacklo_pd(even_23, odd_23);
        column_3 = (D)_mm512_unpackhi_pd(even_23, odd_23);
    }

  private:
    // Two columns of the rows of every other lane.
    template <int columns>
    static __m512d quarters(const double (*table)[columns], U index, int lane, int column) {
        const auto pair = [&](int low, int high) {
            return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_load_pd(table[index[low]] + column)),
                                        _mm_load_pd(table[index[high]] + column), 1);
        };
        return _mm512_insertf64x4(_mm512_castpd256_pd512(pair(lane, lane + 2)), pair(lane + 4, lane + 6), 1);
    }
};

using Vector = Avx512;

}  // namespace
}  // namespace fanin
