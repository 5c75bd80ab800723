// Vector operations of the AVX-512 tier: 8 lanes of 64 bits.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "vector_common.h"

namespace fanin {
namespace {

struct Avx512 : VectorCommon {
    static constexpr int lanes = 8;
    static constexpr bool fused = true;
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

    // The four words of every block, side by side: words of blocks 0 to 3, then of blocks 4 to 7.
    static void interleave_words(const U (&words)[4], W& first, W& second) {
        // A masked shuffle moves the low halves of one vector into the high halves of the other in one instruction.
        const auto low_halves = [](U even, U odd) {
            return (__m512d)_mm512_mask_shuffle_epi32((__m512i)even, 0xAAAA, (__m512i)odd, _MM_PERM_CCAA);
        };
        interleave(low_halves(words[0], words[1]), low_halves(words[2], words[3]), first, second);
    }
    template <class T>
    static void interleave(__m512d a, __m512d b, T& first, T& second) {
        first = (T)_mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
        second = (T)_mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
    }
    // Sines and cosines of the two pairs of every block ([first pairs | second pairs] each) in the order of the stream.
    static void interleave_pairs(F sine, F cosine, F& first, F& second) {
        const __m512i low = _mm512_setr_epi32(0, 16, 8, 24, 1, 17, 9, 25, 2, 18, 10, 26, 3, 19, 11, 27);
        const __m512i high = _mm512_setr_epi32(4, 20, 12, 28, 5, 21, 13, 29, 6, 22, 14, 30, 7, 23, 15, 31);
        first = (F)_mm512_permutex2var_ps((__m512)sine, low, (__m512)cosine);
        second = (F)_mm512_permutex2var_ps((__m512)sine, high, (__m512)cosine);
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

    // Bit l is set if block l of [first pairs | second pairs] has a value of at least two standard deviations.
    static uint32_t rejected_blocks(F sine, F cosine) {
        const __m512 two = _mm512_set1_ps(2.0f);
        uint32_t lanes = _cvtmask16_u32(_mm512_cmp_ps_mask(_mm512_abs_ps((__m512)sine), two, _CMP_NLT_UQ) |
                                        _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)cosine), two, _CMP_NLT_UQ));
        return (lanes | lanes >> 8) & 0xFF;
    }
    // Appends first + l to the list for every bit l of the mask; writes up to `lanes` entries.
    static uint32_t* append_indices(uint32_t* list, uint32_t mask, uint32_t first) {
        const __m256i indices = _mm256_add_epi32(_mm256_set1_epi32(int32_t(first)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        _mm256_storeu_si256((__m256i*)list, _mm256_maskz_compress_epi32(__mmask8(mask), indices));
        return list + __builtin_popcount(mask);
    }
    using VectorCommon::keep_accepted;
    // Puts the first four values of [kept, more] under two standard deviations into `kept`; false if there are fewer.
    static bool keep_accepted(float* kept, const float* more) {
        const __m256 values = _mm256_set_m128(_mm_loadu_ps(more), _mm_loadu_ps(kept));
        const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
        const __mmask8 accepted = _mm256_cmp_ps_mask(size, _mm256_set1_ps(2.0f), _CMP_LT_OQ);
        _mm_storeu_ps(kept, _mm256_castps256_ps128(_mm256_maskz_compress_ps(accepted, values)));
        return __builtin_popcount(accepted) >= 4;
    }

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
    // Bit l is set if block l has a value of at least two standard deviations.
    static uint32_t rejected_blocks(D sine, D cosine) {
        const __m512d two = _mm512_set1_pd(2.0);
        return _cvtmask8_u32(_mm512_cmp_pd_mask(_mm512_abs_pd((__m512d)sine), two, _CMP_NLT_UQ) |
                             _mm512_cmp_pd_mask(_mm512_abs_pd((__m512d)cosine), two, _CMP_NLT_UQ));
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
