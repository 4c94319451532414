// Claim: what keeps a batch, slices of it or samples on the chip gives the scalar twin's bits, too.
#include <algorithm>
#include <set>

#include "contract/trains.hpp"
#include "cuda/plan.hpp"

namespace occam::test {
namespace {

class TrainOnTheChip : public Train {};
OCCAM_ON_THE_CHIP(TrainOnTheChip);

// Members that differ in their optimiser: plain SGD, one that diverges, and some of the others, from `first` on.
void add_optimizers(Ensemble& e, int batch, int rows, std::size_t first, int others) {
  std::vector<Optimizer> optimizers = {{.learning_rate = 0.1, .weight_decay = 0.01},
                                       {.learning_rate = 1e30, .weight_decay = 0.01}};
  for (int i = 0; i < others; ++i) optimizers.push_back(kOptimizers[first++ % std::size(kOptimizers)]);
  for (const Optimizer& optimizer : optimizers) {
    Training training;
    training.optimizer = optimizer;
    training.batch = batch;
    e.add(slabs(e.spec.inputs, rows, 0, 1, true, 3), training, 5);
  }
}

// Two calls, in each of which members do more or fewer updates.
std::vector<std::vector<std::int64_t>> unequal_updates(const Ensemble& e) {
  std::vector<std::vector<std::int64_t>> updates(2);
  for (std::int64_t m = 0; m < e.members(); ++m) updates[0].push_back(2 - m % 2), updates[1].push_back(m % 3);
  return updates;
}

// A batch in slices, whole and short ones, with everything that happens between two slices; small ones whole.
TEST_P(TrainOnTheChip, Slices) {
  for (const Activation activation : {Activation::relu, Activation::prelu, Activation::tanh}) {
    std::set<int> slices;
    for (const int batch : {15, 30, 60, 250}) {
      Ensemble e{.spec = {.inputs = 9, .hidden = {18, 5}, .activation = activation}};
      for (const double dropout : {0.0, 0.3}) {
        if (dropout > 0 && activation == Activation::relu) continue;
        Training training;
        training.optimizer = kOptimizers[dropout > 0 ? 4 : 2];
        training.batch = batch;
        training.input_dropout = training.hidden_dropout = dropout;
        e.add(slabs(9, 2 * batch + 7, 0, 1, true, 1), training, 7);
      }
      const std::vector<std::int64_t> updates(static_cast<std::size_t>(e.members()), 4);
      for (const std::size_t kibibytes : {15, 28, 64}) {
        const auto plan =
            cuda::plan_resident(e.spec, batch, cuda::TrainingNeeds(e.spec, e.trainings), kibibytes << 10)
                .resident;
        if (!plan) continue;
        ASSERT_GE(plan->slice, std::min(batch, 64));
        slices.insert(plan->slice);
        ASSERT_NO_FATAL_FAILURE(expect_twins_on(kibibytes << 10, e, {updates, updates}, Nan::rejected));
      }
    }
    ASSERT_EQ(slices, (std::set{16, 32, 64, 128}));
  }
}

// Slices that leave no room for the rows of the next one, which come when nobody reads these any more; the gradients of a
// last layer of one unit, two and more.
TEST_P(TrainOnTheChip, RowsThatAreNotFetchedAhead) {
  struct Shape {
    int classes, batch;
    Loss loss;
    Activation activation;
  };
  for (const Shape& shape : {Shape{2, 250, Loss::cross_entropy, Activation::relu},
                             Shape{2, 100, Loss::binary_cross_entropy, Activation::relu},
                             Shape{2, 128, Loss::hinge, Activation::tanh},
                             Shape{3, 215, Loss::cross_entropy, Activation::leaky_relu},
                             Shape{2, 200, Loss::cross_entropy, Activation::prelu}}) {
    Ensemble e{.spec = {.inputs = 21,
                        .hidden = {18},
                        .classes = shape.classes,
                        .activation = shape.activation,
                        .loss = shape.loss}};
    for (const double dropout : {0.0, 0.3}) {
      Training training;
      training.optimizer = kOptimizers[dropout > 0 ? 4 : 0];
      training.batch = shape.batch;
      training.input_dropout = dropout;
      e.add(clouds_data({21, shape.classes, 2 * shape.batch + 7, 0, 1}, 3), training, 7);
    }
    const cuda::TrainingNeeds needs(e.spec, e.trainings);
    std::size_t limit = 8192;
    const auto plan = [&] { return cuda::plan_resident(e.spec, shape.batch, needs, limit).resident; };
    while (limit < std::size_t{227} << 10 && (!plan() || plan()->slice < 128)) limit += 64;
    ASSERT_TRUE(plan()->slice == 128 && !plan()->fetches_ahead());
    ASSERT_NO_FATAL_FAILURE(expect_twins_on(limit, e, {{4, 3}, {1, 2}}, Nan::rejected));
  }
}

// The batch on the chip as a whole: every loss it takes, as many units as its tiles and fewer, batches around its half
// and its most, short last ones that fill one half and part of the other, every optimiser, and a member that diverges.
TEST_P(TrainOnTheChip, WholeBatches) {
  struct Shape {
    int inputs;
    std::vector<int> hidden;
    int batch, rows;
    Loss loss;
  };
  std::vector<Shape> shapes = {{50, {100, 100}, 256, 256 + 160, Loss::cross_entropy},
                               {3, {92, 96}, 129, 129 + 1, Loss::hinge},
                               {51, {96, 92}, 129, 129, Loss::cross_entropy}};
  if (!is_slow())
    shapes.insert(shapes.end(), {{52, {100, 92}, 255, 2 * 255 + 128, Loss::binary_cross_entropy},
                                 {49, {96, 100}, 256, 100, Loss::cross_entropy}});
  std::size_t first = 0;
  for (const Shape& shape : shapes) {
    Ensemble e{.spec = {.inputs = shape.inputs, .hidden = shape.hidden, .loss = shape.loss}};
    add_optimizers(e, shape.batch, shape.rows, first, is_slow() ? 2 : 5);
    first += 2;
    const cuda::PlanAnswer answer = cuda::plan_resident(
        e.spec, shape.batch, cuda::TrainingNeeds(e.spec, e.trainings), std::size_t{227} << 10);
    ASSERT_TRUE(answer.resident && answer.resident->body == cuda::ResidentBody::whole_batch) << describe(e);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, unequal_updates(e), Nan::matched));
  }
}

// One hidden layer, gradients in registers, whatever the optimiser: both sizes at their most, one past the smaller one's, a
// single unit, ends anywhere in a quad; each loss; batches of one slice, part of one, two, and one and a part; short last
// batches of each kind; a member that diverges.
TEST_P(TrainOnTheChip, OneHiddenLayer) {
  struct Shape {
    int inputs, hidden, batch, rows;
    Loss loss;
  };
  std::vector<Shape> shapes = {{50, 200, 256, 256 + 160, Loss::cross_entropy},
                               {3, 13, 65, 65 + 1, Loss::hinge},
                               {50, 100, 129, 129 + 128, Loss::binary_cross_entropy}};
  if (!is_slow())
    shapes.insert(shapes.end(), {{47, 101, 128, 2 * 128 + 65, Loss::cross_entropy},
                                 {50, 195, 255, 255 + 127, Loss::hinge},
                                 {48, 58, 256, 100, Loss::cross_entropy},
                                 {1, 1, 200, 200, Loss::binary_cross_entropy}});
  std::size_t first = 0;
  for (const Shape& shape : shapes) {
    Ensemble e{.spec = {.inputs = shape.inputs, .hidden = {shape.hidden}, .loss = shape.loss}};
    add_optimizers(e, shape.batch, shape.rows, first, is_slow() ? 2 : 5);
    first += 2;
    const cuda::PlanAnswer answer = cuda::plan_resident(
        e.spec, shape.batch, cuda::TrainingNeeds(e.spec, e.trainings), std::size_t{227} << 10);
    ASSERT_TRUE(answer.resident && answer.resident->body == cuda::ResidentBody::one_hidden) << describe(e);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, unequal_updates(e), Nan::matched));
  }
}

// Members that one of these kernels takes have it beside others, too, which have a launch of their own.
TEST_P(TrainOnTheChip, InCompany) {
  using Body = cuda::ResidentBody;
  const std::pair<std::vector<int>, Body> networks[] = {{{92, 92}, Body::whole_batch},
                                                        {{12}, Body::one_hidden}};
  for (const auto& [hidden, body] : networks) {
    Ensemble e{.spec = {.inputs = 4, .hidden = hidden}};
    Training training;
    training.batch = 129;
    Training other = training;
    other.optimizer.momentum = 0.9, other.input_dropout = 0.2;
    e.add(slabs(4, 140, 0, 1, true, 1), other, 5);
    e.add(slabs(4, 150, 0, 1, true, 2), training, 6);
    other = training, other.hidden_dropout = 0.3;
    e.add(slabs(4, 129, 0, 1, true, 3), other, 7);
    training.optimizer.weight_decay = 0.01;
    e.add(slabs(4, 129, 0, 1, true, 4), training, 8);
    const std::vector<cuda::ResidentPlan> plans =
        cuda::plan_resident(e.spec, e.trainings, std::size_t{227} << 10, false);
    ASSERT_EQ(plans.size(), 2u);
    ASSERT_TRUE(plans[0].body == body && plans[1].body == Body::slices);
    ASSERT_NO_FATAL_FAILURE(expect_twins(e, {{1, 2, 1, 1}, {2, 0, 1, 1}}));
  }
}

// Samples taken through all layers and back in one launch: one layer to as many as it takes, which end anywhere in a quad,
// at the tiles' most and just where they begin to be taken; blocks that the batch fills, leaves and does without; rows that
// were gathered before.
TEST_P(TrainOnTheChip, SamplePass) {
  struct Shape {
    int inputs;
    std::vector<int> hidden;
    int batch, rows;
    Loss loss;
    Activation activation;
    double input_dropout;
  };
  const Activation relu = Activation::relu;
  std::vector<Shape> shapes = {
      {5, {193, 200}, 70, 70 + 1, Loss::cross_entropy, relu, 0},
      {2, {260, 257}, 66, 66 + 2, Loss::cross_entropy, relu, 0},
      {3, {203, 204, 196, 65}, 66, 130, Loss::binary_cross_entropy, Activation::tanh, 0.2}};
  if (!is_slow())
    shapes.insert(shapes.end(), {{50, {300, 300}, 256, 256 + 129, Loss::cross_entropy, relu, 0},
                                 {52, {257, 300, 299}, 129, 129, Loss::hinge, relu, 0.2},
                                 {297, {270}, 128, 200, Loss::cross_entropy, Activation::identity, 0},
                                 {50, {300, 286, 289, 290}, 65, 65, Loss::cross_entropy, relu, 0},
                                 {300, {291, 258}, 255, 255, Loss::cross_entropy, Activation::leaky_relu, 0}});
  constexpr std::size_t kLimit = std::size_t{227} << 10;
  for (const Shape& shape : shapes) {
    Ensemble e{.spec = {.inputs = shape.inputs,
                        .hidden = shape.hidden,
                        .activation = shape.activation,
                        .loss = shape.loss}};
    for (const int optimizer : {0, 2}) {
      Training training;
      training.optimizer = kOptimizers[optimizer];
      training.batch = shape.batch;
      training.input_dropout = optimizer == 2 ? shape.input_dropout : 0;  // rows are gathered then
      e.add(slabs(shape.inputs, shape.rows, 0, 1, true, 3), training, 5);
    }
    const cuda::TrainingNeeds needs(e.spec, e.trainings);
    ASSERT_FALSE(cuda::plan_resident(e.spec, shape.batch, needs, kLimit).resident) << describe(e);
    ASSERT_TRUE(cuda::takes_sample_pass(cuda::DeviceLayout(e.spec), needs, shape.batch, kLimit))
        << describe(e);
    ASSERT_NO_FATAL_FAILURE(expect_twins_on(kLimit, e, {{2, 3}}, Nan::rejected));
  }
}

}  // namespace
}  // namespace occam::test
