#include "reference/roc_auc.hpp"

#include <cmath>
#include <cstddef>

namespace reference {

double roc_auc(const std::vector<double>& score, const std::vector<int>& positive) {
  long long twice_right = 0, pairs = 0;
  for (const double value : score)
    if (std::isnan(value)) return NAN;
  for (std::size_t i = 0; i < score.size(); ++i)
    for (std::size_t j = 0; j < score.size(); ++j) {
      if (positive[i] == 0 || positive[j] != 0) continue;
      ++pairs;
      twice_right += score[i] > score[j] ? 2 : score[i] == score[j] ? 1 : 0;
    }
  return pairs == 0 ? NAN : static_cast<double>(twice_right) / (2.0 * static_cast<double>(pairs));
}

}  // namespace reference
