// Relational operators of device code with a bound that can be shifted at run time, for tools/mutate_kernels.
// The tool writes `a < b` as `a < occam::simt::bound<7> < b`: relational operators associate to the left and
// have one precedence, so both operands are parsed as before. The value is that of `a < b`, or of `a < b ± 1`
// in the process that OCCAM_SIMT_BOUND tells to shift bound 7 (`7+1`, `7-1`). Numbers that are no integers are
// compared as they are.
#pragma once

#include <type_traits>

namespace occam::simt {

// −1, 0 or 1. Constant within a process, so that loops ask once.
[[gnu::const]] int shift_of_bound(int id);

template <int id>
struct Bound {};
template <int id>
inline constexpr Bound<id> bound{};

// The left operand and the first operator.
template <int id, class Comparison, class Left>
struct Half {
  Left left;
};

template <int id, class Comparison, class Left, class Right>
[[gnu::always_inline]] constexpr bool compare_with_bound(Left left, Right right) {
  if constexpr (std::is_integral_v<Left> && std::is_integral_v<Right>) {
    using Common = std::common_type_t<Left, Right>;
    const auto a = static_cast<Common>(left), b = static_cast<Common>(right);
    if (!std::is_constant_evaluated()) {
      __extension__ using Wide = __int128;
      if (const int shift = shift_of_bound(id); shift != 0)
        return Comparison::holds(static_cast<Wide>(a), static_cast<Wide>(b) + shift);
    }
    return Comparison::holds(a, b);
  } else {
    return Comparison::holds(left, right);
  }
}

#define OCCAM_SIMT_COMPARISON(Name, operation)                                                       \
  struct Name {                                                                                      \
    template <class T, class U>                                                                      \
    [[gnu::always_inline]] static constexpr bool holds(T a, U b) {                                   \
      return a operation b;                                                                          \
    }                                                                                                \
  };                                                                                                 \
  template <int id, class Left>                                                                      \
  [[gnu::always_inline]] constexpr Half<id, Name, Left> operator operation(Left left, Bound<id>) {   \
    return {left};                                                                                   \
  }                                                                                                  \
  template <int id, class Left, class Right>                                                         \
  [[gnu::always_inline]] constexpr bool operator operation(Half<id, Name, Left> half, Right right) { \
    return compare_with_bound<id, Name>(half.left, right);                                           \
  }
OCCAM_SIMT_COMPARISON(Less, <)
OCCAM_SIMT_COMPARISON(LessEqual, <=)
OCCAM_SIMT_COMPARISON(Greater, >)
OCCAM_SIMT_COMPARISON(GreaterEqual, >=)
#undef OCCAM_SIMT_COMPARISON

}  // namespace occam::simt
