#include "pages.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#endif

namespace fanin {

#ifdef __linux__

void take_pages(char* data, size_t bytes) {
    constexpr int populate_write = 23;  // MADV_POPULATE_WRITE, of Linux 5.14; older systems refuse it, which changes nothing
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), address = reinterpret_cast<uintptr_t>(data);
    const uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
    if (begin >= end) return;
    // Pages that are there already would be looked up one by one, so the one in the middle stands for all.
    const auto at = [](uintptr_t place) { return reinterpret_cast<void*>(place); };
    const int before = errno;
    unsigned char present = 1;
    if (!mincore(at(begin + (end - begin) / page / 2 * page), page, &present) && !(present & 1))
        madvise(at(begin), end - begin, populate_write);
    errno = before;
}

#else

void take_pages(char*, size_t) {}

#endif

}  // namespace fanin
