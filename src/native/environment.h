// Callers may change the floating-point environment (flush-to-zero, the rounding mode); values must not depend on it.
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
