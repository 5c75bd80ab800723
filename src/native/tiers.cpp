#include "tiers.h"

namespace fanin {

extern const Kernels baseline_kernels, avx2_kernels, avx512_kernels;

const Tier tiers[] = {
    {"baseline", &baseline_kernels, [] { return true; }},
#ifdef FANIN_X86
    {"avx2", &avx2_kernels,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                 __builtin_cpu_supports("popcnt"); }},
    {"avx512", &avx512_kernels,
     [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
     }},
#endif
};
const int tier_count = sizeof tiers / sizeof tiers[0];

}  // namespace fanin
