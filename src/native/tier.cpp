// The kernels of one tier. Compiled once for each, with the tier's instruction set and its name as FANIN_TIER.
//
// Everything here but the table has internal linkage: an inline function of external linkage, compiled with AVX-512 here,
// might be the copy that the linker keeps for the whole library, and crash lesser processors.
#if defined(FANIN_TIER_avx512)
#include "vector_avx512.h"
#elif defined(FANIN_TIER_avx2)
#include "vector_avx2.h"
#else
#include "vector_baseline.h"
#endif
#include "kernels.h"

namespace fanin {

extern const Kernels FANIN_KERNELS;
const Kernels FANIN_KERNELS = kernels;

}  // namespace fanin
