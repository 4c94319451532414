// Images of shapes on every body: training, scores and attacks have the bits of the same rows as floats on
// the CPU.
#include <algorithm>

#include <gtest/gtest.h>

#include "contract/bodies.hpp"
#include "occam/error.hpp"
#include "shape_set.hpp"
#include "support/small_data.hpp"
#include "support/small_shapes.hpp"

namespace occam::test {
namespace {

class ImageBody : public OnBody {};
OCCAM_ON_EVERY_BODY(ImageBody);

// Two members of one variant that differ in everything else.
struct Two {
  explicit Two(const ImageVariant& variant, bool trains = true) : spec(variant.network) {
    for (std::uint32_t m = 0; m < 2; ++m) {
      ShapeSpec shapes = variant.shapes();
      if (m == 1) shapes.train -= 11, shapes.contrast = 0.75;
      data.push_back(shape_data(shapes, {m + 4}).front());
      seeds.push_back({m + 4, m, 9 - m});
      starts.push_back(random_parameters(spec, 30 + m));
      trainings.push_back(variant.training);
    }
    trainings[1].optimizer.learning_rate *= 0.5;
    if (!trains) trainings.clear();
  }
  WaveRequest request() const { return {&spec, data, seeds, trainings}; }
  std::unique_ptr<Wave> open(Backend& backend) const {
    std::unique_ptr<Wave> wave = backend.open(request());
    for (int m = 0; m < 2; ++m) wave->load(m, starts[static_cast<std::size_t>(m)]);
    return wave;
  }

  MlpSpec spec;
  std::vector<Data> data;
  std::vector<Seeds> seeds;
  std::vector<std::vector<float>> starts;
  std::vector<Training> trainings;
};

std::vector<float> stored(const Wave& wave, int member, std::size_t total) {
  std::vector<float> parameters(total);
  wave.store(member, parameters);
  return parameters;
}

// One member alone on the CPU, on the rows as floats.
OneMember dense(const Two& two, int m) {
  const auto i = static_cast<std::size_t>(m);
  return {two.spec, as_array(two.data[i]), two.seeds[i],
          two.trainings.empty() ? Training{} : two.trainings[i], two.starts[i]};
}

TEST_P(ImageBody, TrainsAndScoresAsOnRowsOfFloats) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "a CPU wave has one member (tests/shapes_test.cpp)";
  for (const ImageVariant& variant : image_variants()) {
    SCOPED_TRACE(variant.name);
    const Two two(variant);
    const auto backend = make();
    ASSERT_EQ(backend->wave_members(two.request()), 2);
    const auto before = two.open(*backend);
    const std::int64_t updates[] = {7, 3};  // past an epoch's short last batch; the other freezes before
    before->train(updates);
    // Another wave goes on from there.
    const auto wave = two.open(*backend);
    for (int m = 0; m < 2; ++m) {
      wave->load(m, stored(*before, m, two.starts[0].size()));
      wave->resume(m, before->training_state(m));
    }
    wave->train(std::vector<std::int64_t>{1, 0});
    for (int m = 0; m < 2; ++m) {
      OneMember alone = dense(two, m);
      alone.train(m == 0 ? 8 : 3);
      ASSERT_EQ(stored(*wave, m, two.starts[0].size()), alone.parameters()) << "member " << m;
      for (const Split split : {Split::train, Split::test}) {
        const std::int64_t count = rows(two.data[static_cast<std::size_t>(m)], split);
        std::vector<float> logits(static_cast<std::size_t>(count * two.spec.outputs()));
        wave->logits(m, split, Randomization{}, logits);
        EXPECT_EQ(logits, alone.logits(split));
        WaveScore score;
        wave->score({&m, 1}, split, Randomization{}, true, {&score, 1});
        const WaveScore expected = alone.score(split, {}, true);
        EXPECT_EQ(score.correct, expected.correct);
        EXPECT_EQ(score.loss, expected.loss);
        EXPECT_EQ(score.auc, expected.auc);
      }
    }
  }
}

TEST_P(ImageBody, RandomisedRowsAndAttacksAreThoseOfRowsOfFloats) {
  const ImageVariant variant = image_variants().front();
  const Two two(variant, false);
  const auto backend = make();
  const WaveRequest one{&two.spec, std::span(two.data).first(1), std::span(two.seeds).first(1), {}};
  const Data array = as_array(two.data[0]);
  const WaveRequest floats{&two.spec, {&array, 1}, std::span(two.seeds).first(1), {}};
  const auto wave = backend->open(one), other = backend->open(floats);
  wave->load(0, two.starts[0]), other->load(0, two.starts[0]);
  std::vector<int> half;
  for (int i = 0; i < kImageHeight * kImageWidth / 2; ++i) half.push_back(i);
  for (const auto against : {Randomization::Against::labels, Randomization::Against::predictions}) {
    const Randomization randomization{half, Randomization::Kind::permute, against};
    const int member = 0;
    WaveScore a, b;
    wave->score({&member, 1}, Split::test, randomization, false, {&a, 1});
    other->score({&member, 1}, Split::test, randomization, false, {&b, 1});
    EXPECT_EQ(a.correct, b.correct);
    EXPECT_EQ(a.loss, b.loss);
  }
  const int member = 0;
  const Pgd pgd{.epsilon = 0.5, .step = 0.2, .iterations = 3, .lower = -1, .upper = 2};
  Perturbed a, b;
  wave->perturb({&member, 1}, Split::test, {&pgd, 1}, {&a, 1});
  other->perturb({&member, 1}, Split::test, {&pgd, 1}, {&b, 1});
  EXPECT_EQ(a.perturbation, b.perturbation);
  EXPECT_EQ(a.logits, b.logits);
}

TEST_P(ImageBody, OtherImagesForTheSameNetworks) {
  const ImageVariant variant = image_variants().front();
  const Two two(variant, false), training(variant);
  Two others(variant, false);
  for (Data& one : others.data) {
    ShapeSpec shapes = std::get<ShapeData>(one).set->spec();
    shapes.test = Arrangement::swapped, shapes.contrast *= 0.5;
    one = shape_data(shapes, {seed(one)}).front();
  }
  const auto backend = make();
  const int members = backend->wave_members(two.request());
  const auto opened = [&](const Two& of) {
    const auto count = static_cast<std::size_t>(members);
    return backend->open({&of.spec, std::span(of.data).first(count), std::span(of.seeds).first(count), {}});
  };
  const auto wave = opened(two), expected = opened(others);
  std::vector<float> of_wave(static_cast<std::size_t>(rows(two.data[0], Split::test) * two.spec.outputs())),
      of_expected = of_wave;
  for (int m = 0; m < members; ++m)
    for (Wave* one : {wave.get(), expected.get()}) one->load(m, two.starts[static_cast<std::size_t>(m)]);
  const std::vector<float> x(static_cast<std::size_t>(two.spec.inputs), 0.5f),
      ones(static_cast<std::size_t>(two.spec.outputs()), 1.0f);
  std::vector<float> gradient(x.size());
  wave->input_gradient(0, x, ones, gradient);  // what attacks made of the images before is gone, too
  for (const Two* of : {static_cast<const Two*>(&others), &two}) {
    SCOPED_TRACE(of == &two);
    wave->show(std::span(of->data).first(static_cast<std::size_t>(members)));
    for (int m = 0; m < members; ++m) {
      wave->logits(m, Split::test, Randomization{}, of_wave);
      expected->logits(m, Split::test, Randomization{}, of_expected);
      EXPECT_EQ(of_wave == of_expected, of == &others) << "member " << m;
      std::vector<float> parameters(two.starts[0].size());
      wave->store(m, parameters);
      EXPECT_EQ(parameters, two.starts[static_cast<std::size_t>(m)]);
    }
  }
  const auto trains =
      backend->open({&training.spec, std::span(training.data).first(1), std::span(training.seeds).first(1),
                     std::span(training.trainings).first(1)});
  EXPECT_THROW(trains->show(std::span(others.data).first(1)), Error);
}

TEST_P(ImageBody, InputGradientsAreThoseOfRowsOfFloats) {
  for (const ImageVariant& variant : image_variants()) {
    SCOPED_TRACE(variant.name);
    const Two two(variant, false);
    const auto backend = make();
    const HostTable images = materialize(two.data[0], Split::test);
    std::vector<float> logit_gradient;
    for (std::int64_t i = 0; i < images.rows * two.spec.outputs(); ++i)
      logit_gradient.push_back(0.25f * static_cast<float>(i % 9 - 4));
    const auto gradient = [&](const Data& data) {
      const auto wave = backend->open({&two.spec, {&data, 1}, std::span(two.seeds).first(1), {}});
      wave->load(0, two.starts[0]);
      std::vector<float> of_images(images.x.size());
      wave->input_gradient(0, images.x, logit_gradient, of_images);
      return of_images;
    };
    const std::vector<float> found = gradient(two.data[0]);
    EXPECT_EQ(found, gradient(as_array(two.data[0])));
    EXPECT_GT(std::ranges::count_if(found, [](float g) { return g != 0; }), 0);
  }
}

TEST_P(ImageBody, InputDropoutIsRefused) {
  if (GetParam() == Body::cpu) GTEST_SKIP() << "fit() refuses it there (tests/shapes_test.cpp)";
  ImageVariant variant = image_variants().front();
  variant.training.input_dropout = 0.5;
  const Two two(variant);
  EXPECT_ANY_THROW(two.open(*make()));
}

}  // namespace
}  // namespace occam::test
