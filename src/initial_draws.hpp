// The constants of an initialisation, for the bodies that draw.
#pragma once

#include "law/initialization.hpp"
#include "occam/mlp.hpp"

namespace occam {

// Of a layer, by the formulas of InitializationKind; init: of a finite scale.
law::LayerDraws layer_draws(const Initialization& init, int fan_in, int fan_out);

}  // namespace occam
