// The same work on several threads at once.
#pragma once
#include <functional>

namespace fanin {

// Calls `work` on the calling thread and on up to `helpers` threads of its own, which are gone when it returns: nothing is
// kept that a fork could break. A thread that cannot be started is done without. `work` must not throw.
void run_with_helpers(int helpers, const std::function<void()>& work);

}  // namespace fanin
