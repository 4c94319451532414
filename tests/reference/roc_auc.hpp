// The area under the ROC curve by its definition: the share of pairs (positive, negative) that the score
// orders rightly, a tie counting one half. O(n²).
#pragma once

#include <vector>

namespace reference {

// positive[i] != 0 marks the positive class. NaN without both classes or with a score that is NaN.
double roc_auc(const std::vector<double>& score, const std::vector<int>& positive);

}  // namespace reference
