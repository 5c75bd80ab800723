// The kernels of one tier. Compiled once per tier, with the tier's instruction set and the macro FANIN_TIER_<name>.
//
// Everything here except the table has internal linkage: otherwise the linker might keep an inline function that was
// compiled with AVX-512 here for the whole library, which would crash on processors without it.
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
