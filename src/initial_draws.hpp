// The constants of an initialisation, for the bodies that draw.
#pragma once

#include "law/initialization.hpp"
#include "occam/mlp.hpp"

namespace occam {

law::LayerDraws layer_draws(const Initialization& init, int fan_in, int fan_out);

}  // namespace occam
