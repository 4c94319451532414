#include "support/small_shapes.hpp"

namespace occam::test {

ShapeSpec small_shapes() {
  ShapeSpec spec;
  for (int k = 0; k < 2; ++k) {
    Mask mask{kImageHeight, kImageWidth,
              std::vector<float>(static_cast<std::size_t>(kImageHeight * kImageWidth), 0.0f)};
    for (int y = 4; y < 8 + k; ++y)
      for (int x = 6; x < 10 - k; ++x)
        if ((x * 3 + y * 5 + k) % 4 != 0)
          mask.coverage[static_cast<std::size_t>(y * kImageWidth + x)] = k == 0 ? 1.0f : 0.375f;
    spec.masks.push_back(mask);
  }
  spec.biased = {{{-4, -1, -3, 0}, {2, 5, 1, 3}}, {{3, 6, -3, -1}, {-5, -2, 0, 3}}};
  spec.uniform = {{{-6, 7, -4, 4}}, {{-6, 8, -4, 3}}};
  spec.train = 60, spec.test_rows = 30;
  return spec;
}

Data as_array(const Data& data) {
  ArrayData::Table table;
  const HostTable test = materialize(data, Split::test), validation = materialize(data, Split::validation),
                  train = materialize(data, Split::train);
  table.dim = train.dim, table.classes = classes(data);
  for (const HostTable* part : {&test, &validation, &train}) {
    table.x.insert(table.x.end(), part->x.begin(), part->x.end());
    table.y.insert(table.y.end(), part->y.begin(), part->y.end());
  }
  table.test = test.rows, table.validation = validation.rows, table.train = train.rows;
  return array_data(table, {seed(data)}).front();
}

// Long shapes on a canvas of 5 x 75.
static void wide(ShapeSpec& s) {
  for (int k = 0; k < 2; ++k) {
    Mask& mask = s.masks[static_cast<std::size_t>(k)];
    mask = {5, 75, std::vector<float>(5 * 75, 0.0f)};
    for (int x = 3; x < 66; ++x)
      mask.coverage[static_cast<std::size_t>((1 + (x + k) % 3) * 75 + x)] = 0.25f * static_cast<float>(x % 5);
  }
  s.biased = {{{-3, 0, -1, 0}}, {{3, 9, 0, 2}}}, s.uniform = {{{-3, 9, -1, 2}}, {{-3, 9, -1, 2}}};
}

ShapeSpec ImageVariant::shapes() const {
  ShapeSpec spec = small_shapes();
  change(spec);
  return spec;
}

std::vector<ImageVariant> image_variants() {
  const Optimizer adam{.kind = OptimizerKind::adam, .learning_rate = 0.01};
  const auto with = [](const Optimizer& optimizer) {
    return Training{
        .optimizer = optimizer, .stop = {.max_updates = 100}, .batch = 14};  // 4 in an epoch's last
  };
  std::vector<ImageVariant> variants = {
      {"Adam", {.hidden = {70, 9}}, with(adam)},
      {"Sgd", {.hidden = {33}}, with({})},
      {"Momentum", {.hidden = {20}}, with({.momentum = 0.9})},
      {"RmsProp", {.hidden = {150}}, with({.kind = OptimizerKind::rmsprop, .learning_rate = 0.01})},
      {"WeightDecay", {.hidden = {20}}, with({.kind = OptimizerKind::adam, .weight_decay = 0.1})},
      {"Linear", {.hidden = {}}, with(adam)},
      {"PreluBatchNorm",
       {.hidden = {40, 7}, .activation = Activation::prelu, .batch_norm = true},
       with(adam)},
      {"HiddenDropout", {.hidden = {40}, .activation = Activation::tanh}, with(adam)},
      {"OneLogit", {.hidden = {17}, .loss = Loss::binary_cross_entropy}, with(adam)},
      {"Background", {.hidden = {24}}, with(adam), [](ShapeSpec& s) { s.background = -0.5; }},
      {"Schedule", {.hidden = {24}}, with(adam)},
      {"LargeBatch", {.hidden = {24}}, with(adam), [](ShapeSpec& s) { s.train = 700; }},
      // Wider than what kernels stage of an image row at a time, and no pixel is 0.
      {"Wide", {.hidden = {24}}, with(adam), [](ShapeSpec& s) { wide(s), s.background = 0.125; }},
      {"WideDark", {.hidden = {24}}, with(adam), wide},
      {"Cropped",
       {.hidden = {24}},
       with(adam),
       [](ShapeSpec& s) {
         s.crop = true, s.bias = 0.5, s.uniform = {{{-9, 10, -7, 7}}, {{-8, 10, -7, 7}}};
       }},
  };
  for (ImageVariant& variant : variants) {
    variant.network.inputs = variant.shapes().height() * variant.shapes().width();
    if (variant.name == "HiddenDropout") variant.training.hidden_dropout = 0.3;
    if (variant.name == "Schedule") variant.training.schedule = {.epochs = 1, .factor = 0.5};
    if (variant.name == "LargeBatch") variant.training.batch = 300;
  }
  return variants;
}

}  // namespace occam::test
