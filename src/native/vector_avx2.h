// Vector operations of the AVX2 tier (with FMA and F16C): 4 lanes of 64 bits.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "vector_common.h"

namespace fanin {
namespace {

// The positions of the first four set bits of every 8-bit mask, a byte each.
struct FirstSetBits {
    int32_t of[256] = {};
    constexpr FirstSetBits() {
        for (int mask = 0; mask < 256; ++mask)
            for (int bit = 0, found = 0; bit < 8 && found < 4; ++bit)
                if (mask >> bit & 1) of[mask] |= bit << (8 * found++);
    }
};
constexpr FirstSetBits first_set_bits;

struct Avx2 : VectorCommon {
    static constexpr int lanes = 4;
    static constexpr bool fused = true, permutes_tables = false;
    typedef uint64_t U __attribute__((vector_size(32)));
    typedef double D __attribute__((vector_size(32)));
    typedef uint32_t W __attribute__((vector_size(32)));
    typedef float F __attribute__((vector_size(32)));

    static U splat(uint64_t value) { return (U)_mm256_set1_epi64x(int64_t(value)); }
    static D splat(double value) { return (D)_mm256_set1_pd(value); }
    static F splat(float value) { return (F)_mm256_set1_ps(value); }
    static W splat(uint32_t value) { return (W)_mm256_set1_epi32(int32_t(value)); }
    static U lane_numbers() { return U{0, 1, 2, 3}; }

    static U multiply_low_halves(U a, U b) { return (U)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
    static U exclusive_or(U a, U b, U c) { return a ^ b ^ c; }
    static U take_bits(U a, uint64_t mask, uint64_t bits) { return (a & mask) | bits; }
    static W take_bits(W a, uint32_t mask, uint32_t bits) { return (a & mask) | bits; }

    static D fma(D a, D b, D c) { return (D)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
    static D to_double(U a) { return (D)(a | 0x4330000000000000ull) - 0x1p52; }
    static D maximum(D a, D b) { return (D)_mm256_max_pd((__m256d)a, (__m256d)b); }
    static D round_to_float(D a) { return (D)_mm256_cvtps_pd(_mm256_cvtpd_ps((__m256d)a)); }
    static bool any(U mask) { return !_mm256_testz_si256((__m256i)mask, (__m256i)mask); }  // whether a lane is not 0
    static F square_root(F a) { return (F)_mm256_sqrt_ps((__m256)a); }
    static F join(D a, D b) { return (F)_mm256_set_m128(_mm256_cvtpd_ps((__m256d)b), _mm256_cvtpd_ps((__m256d)a)); }
    static W join_low_halves(U a, U b) {
        const __m256 even = _mm256_shuffle_ps((__m256)a, (__m256)b, _MM_SHUFFLE(2, 0, 2, 0));
        return (W)_mm256_permute4x64_pd((__m256d)even, _MM_SHUFFLE(3, 1, 2, 0));
    }
    static void turn(W quadrant, F& sine, F& cosine, F& radius) {
        const W odd = quadrant << 31;
        const F old = sine;
        sine = (F)_mm256_blendv_ps((__m256)sine, (__m256)cosine, (__m256)odd);
        cosine = (F)_mm256_blendv_ps((__m256)cosine, (__m256)((W)old ^ odd), (__m256)odd);
        radius = (F)((W)radius ^ ((quadrant << 30) & 0x80000000u));
    }

    template <class T>
    static void interleave(T a, T b, T& first, T& second) {
        const __m256d even = _mm256_unpacklo_pd((__m256d)a, (__m256d)b), odd = _mm256_unpackhi_pd((__m256d)a, (__m256d)b);
        first = (T)_mm256_permute2f128_pd(even, odd, 0x20);
        second = (T)_mm256_permute2f128_pd(even, odd, 0x31);
    }
    template <class T>
    static void transpose(const T (&rows)[4], T (&columns)[4]) {
        const auto unpack = [](T a, T b, __m256d& low, __m256d& high) {
            low = (__m256d)_mm256_unpacklo_ps((__m256)a, (__m256)b);
            high = (__m256d)_mm256_unpackhi_ps((__m256)a, (__m256)b);
        };
        __m256d low[2], high[2];
        unpack(rows[0], rows[1], low[0], high[0]);
        unpack(rows[2], rows[3], low[1], high[1]);
        columns[0] = (T)_mm256_unpacklo_pd(low[0], low[1]);
        columns[1] = (T)_mm256_unpackhi_pd(low[0], low[1]);
        columns[2] = (T)_mm256_unpacklo_pd(high[0], high[1]);
        columns[3] = (T)_mm256_unpackhi_pd(high[0], high[1]);
    }

    // The elements of a where the upper bits of the lanes are set, else those of b.
    template <class T>
    static T choose(W upper_bits, T a, T b) { return (T)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)upper_bits); }
    template <class T>
    static T choose(U upper_bits, T a, T b) { return (T)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)upper_bits); }

    static F round_to_half(F a) { return (F)_mm256_cvtph_ps(_mm256_cvtps_ph((__m256)a, _MM_FROUND_TO_NEAREST_INT)); }
    static void store_half(void* to, F a, F b) {
        _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph((__m256)a, _MM_FROUND_TO_NEAREST_INT));
        _mm_storeu_si128((__m128i*)to + 1, _mm256_cvtps_ph((__m256)b, _MM_FROUND_TO_NEAREST_INT));
    }
    static void store_high_halves(void* to, W a, W b) {
        const __m256i packed = _mm256_packus_epi32(_mm256_srli_epi32((__m256i)a, 16), _mm256_srli_epi32((__m256i)b, 16));
        _mm256_storeu_si256((__m256i*)to, _mm256_permute4x64_epi64(packed, _MM_SHUFFLE(3, 1, 2, 0)));
    }

    static uint32_t rejected_groups(const D (&values)[2]) {
        const auto size = [&](int i) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), (__m256d)values[i]); };
        const __m256d largest = _mm256_max_pd(size(0), size(1));
        return uint32_t(_mm256_movemask_pd(_mm256_cmp_pd(largest, _mm256_set1_pd(2.0), _CMP_NLT_UQ)));
    }
    static uint32_t rejected_groups(const F (&values)[4]) {
        const auto size = [&](int i) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), (__m256)values[i]); };
        const __m256 largest = _mm256_max_ps(_mm256_max_ps(size(0), size(1)), _mm256_max_ps(size(2), size(3)));
        return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(largest, _mm256_set1_ps(2.0f), _CMP_NLT_UQ)));
    }

    template <int group, int width>
    static bool keep_accepted(float* kept, const float* more) {
        static_assert(group == 4);
        const __m128 first = _mm_setr_ps(kept[0], kept[width], kept[2 * width], kept[3 * width]);
        const __m256 values = _mm256_set_m128(_mm_load_ps(more), first);
        const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
        const uint32_t accepted = uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(2.0f), _CMP_LT_OQ)));
        const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi32_si128(first_set_bits.of[accepted]));
        alignas(16) float found[4];
        _mm_store_ps(found, _mm256_castps256_ps128(_mm256_permutevar8x32_ps(values, order)));
        for (int i = 0; i < 4; ++i) kept[i * width] = found[i];
        return __builtin_popcount(accepted) >= 4;
    }
    template <int group, int width>
    static bool keep_accepted(double* kept, const double* more) { return VectorCommon::keep_accepted<group, width>(kept, more); }

    // Doubles.
    static D fma_exact(D a, D b, D c) { return fma(a, b, c); }
    static D square_root(D a) { return (D)_mm256_sqrt_pd((__m256d)a); }
    static void lookup(const double (*table)[2], U index, D& column_0, D& column_1) {
        const U bytes = index << 4;
        const auto row = [table](int64_t i) { return _mm_load_pd((const double*)((const char*)table + i)); };
        const __m128i low = _mm256_castsi256_si128((__m256i)bytes), high = _mm256_extracti128_si256((__m256i)bytes, 1);
        const __m256d even = _mm256_set_m128d(row(_mm_cvtsi128_si64(high)), row(_mm_cvtsi128_si64(low)));
        const __m256d odd = _mm256_set_m128d(row(_mm_extract_epi64(high, 1)), row(_mm_extract_epi64(low, 1)));
        column_0 = (D)_mm256_unpacklo_pd(even, odd);
        column_1 = (D)_mm256_unpackhi_pd(even, odd);
    }
    static void lookup(const double (*table)[4], U index, D& column_0, D& column_1, D& column_2, D& column_3) {
        const Rows<4> rows(table, index);
        const __m256d even_01 = rows.pairs(0, 0), odd_01 = rows.pairs(1, 0);
        const __m256d even_23 = rows.pairs(0, 2), odd_23 = rows.pairs(1, 2);
        column_0 = (D)_mm256_unpacklo_pd(even_01, odd_01);
        column_1 = (D)_mm256_unpackhi_pd(even_01, odd_01);
        column_2 = (D)_mm256_unpacklo_pd(even_23, odd_23);
        column_3 = (D)_mm256_unpackhi_pd(even_23, odd_23);
    }

  private:
    // A row of a table for each lane. The lanes' offsets go through memory: extracting them would burden the units that
    // bound the kernels (7 % slower).
    template <int columns>
    struct Rows {
        Rows(const double (*table)[columns], U index) : table(reinterpret_cast<const char*>(table)) {
            store(offset, index * (columns * sizeof(double)));
            __asm__("" : "+m"(offset));  // or the compiler extracts them all the same
        }
        // Two columns of the rows of a lane and the next but one.
        __m256d pairs(int lane, int column) const {
            return _mm256_insertf128_pd(_mm256_castpd128_pd256(at(lane, column)), at(lane + 2, column), 1);
        }
        __m128d at(int lane, int column) const { return _mm_load_pd(reinterpret_cast<const double*>(table + offset[lane]) + column); }
        const char* table;
        alignas(32) uint64_t offset[lanes];
    };
};

using Vector = Avx2;

}  // namespace
}  // namespace fanin
