// The same work on several threads at once.
#pragma once
#include <functional>

namespace fanin {

// Calls `work` on the calling thread and on up to `helpers` new threads, which have ended when it returns: nothing is
// left that a fork could break. If a thread cannot be started, the others do its work. `work` must not throw.
void run_with_helpers(int helpers, const std::function<void()>& work);

}  // namespace fanin
