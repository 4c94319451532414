// The parts of a data set.
#pragma once

namespace occam {

// What a model is trained on, what chooses its best state, and what it is measured on.
enum class Split { train, validation, test };

}  // namespace occam
