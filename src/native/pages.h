// Fresh memory, which the system gives a page at a time, when each is first written.
#pragma once
#include <cstddef>

namespace fanin {

// Has the system give all pages of these bytes at once, if it has not given them yet: each page by itself interrupts the
// writer, which can take longer than making its values. Only for bytes that are written next. How large pages are is left
// to whoever allocated the memory.
void take_pages(char* data, size_t bytes);

}  // namespace fanin
