// The environment of float arithmetic (flush-to-zero, a rounding mode) is the caller's to change; values must not follow.
#pragma once
#include <cfenv>

namespace fanin {

class DefaultFloatEnvironment {
  public:
    DefaultFloatEnvironment() {
        std::fegetenv(&saved);
        std::fesetenv(FE_DFL_ENV);
    }
    ~DefaultFloatEnvironment() { std::fesetenv(&saved); }
    DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;

  private:
    std::fenv_t saved;
};

}  // namespace fanin
