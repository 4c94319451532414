// Claim: every kernel of kernels/ runs under the access checks of the SIMT executor. What the cases of
// train_test.cpp, score_test.cpp, attack_test.cpp and adversary_test.cpp do is done here once more in one
// process, and the executor says which functions it was given.
#if OCCAM_HAS_SIMT
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <regex>
#include <set>

#include <fmt/ranges.h>

#include "contract/ensembles.hpp"
#include "simt/body.hpp"
#include "support/small_data.hpp"
#include "support/small_shapes.hpp"

namespace occam::test {
namespace {

// The names of the __global__ functions in the files of kernels/.
std::set<std::string> kernels_in_sources() {
  const std::regex kernel(
      R"(__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\()");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(OCCAM_SOURCE_DIR "/kernels")) {
    if (entry.path().extension() != ".cu" && entry.path().extension() != ".cuh") continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::size_t found = 0;
    for (std::sregex_iterator match(text.begin(), text.end(), kernel), end; match != end; ++match, ++found)
      names.insert((*match)[1]);
    std::size_t written = 0;
    for (std::size_t at = text.find("__global__ "); at != std::string::npos;
         at = text.find("__global__ ", at + 1))
      ++written;
    EXPECT_EQ(found, written) << entry.path()
                              << ": a __global__ function is written in a way that this test cannot read";
  }
  return names;
}

void score(const Ensemble& ensemble, Wave& wave, Split split, const Randomization& variant) {
  std::vector<int> members(static_cast<std::size_t>(ensemble.members()));
  std::iota(members.begin(), members.end(), 0);
  std::vector<WaveScore> scores(members.size());
  wave.score(members, split, variant, true, scores);
}

void attack(const Ensemble& ensemble, Wave& wave) {
  std::vector<int> members(static_cast<std::size_t>(ensemble.members()));
  std::iota(members.begin(), members.end(), 0);
  std::vector<Perturbed> perturbed(members.size());
  wave.perturb(members, Split::test,
               std::vector<Pgd>(members.size(), {.iterations = 2, .lower = -9, .upper = 9, .restarts = 2}),
               perturbed);
  std::vector<DataRange> ranges(members.size());
  wave.ranges(members, Split::test, ranges);
  std::vector<std::vector<float>> universal(members.size());
  wave.fit_universal(members, Split::test,
                     std::vector<AsUap>(members.size(),
                                        {.iterations = 2, .epochs = 1, .lower = -9, .upper = 9, .batch = 20}),
                     universal);
}

TEST(Coverage, EveryKernelRunsUnderTheChecks) {
  const simt::Body& body = simt::checked_body();
  const auto tiled = body.make_backend(0, 0), backend = body.make_backend(0, kWholeBlock);
  for (std::uint32_t number = 0; number < 60; ++number) {
    const Ensemble ensemble =
        drawn_ensemble(number, {.widest = 20, .largest_batch = 20, .members = 2, .depth = 2});
    const auto wave = open_loaded(number % 2 == 0 ? *tiled : *backend, ensemble);
    wave->train(std::vector<std::int64_t>(static_cast<std::size_t>(ensemble.members()), 2));
    score(ensemble, *wave, Split::train, {});
  }
  Ensemble whole{.spec = {.inputs = 3, .hidden = {92, 92}}};
  whole.add(slabs(3, 130, 0, 5, true, 1), {.batch = 130}, 10);
  Ensemble one_hidden{.spec = {.inputs = 3, .hidden = {5}}};
  one_hidden.add(slabs(3, 70, 0, 5, true, 1), {.batch = 70}, 10);
  for (Ensemble* const ensemble : {&whole, &one_hidden})
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      ensemble->trainings[0].precision = precision;
      open_loaded(*backend, *ensemble)->train(std::vector<std::int64_t>{1});
    }
  Ensemble wide{.spec = {.inputs = 3, .hidden = {193, 200}}};
  wide.add(slabs(3, 70, 0, 5, true, 1), {.batch = 70}, 10);
  open_loaded(*backend, wide)->train(std::vector<std::int64_t>{1});
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    Ensemble ensemble{.spec = {.inputs = 9, .hidden = {6}}};
    Training training;
    training.batch = 20, training.precision = precision;
    ensemble.add(slabs(9, 70, 0, 5, true, 1), training, 10);
    open_loaded(*backend, ensemble)->train(std::vector<std::int64_t>{2});
  }
  open_loaded(*backend, wide)->initialize(0, {}, 1);
  Ensemble attacked{.spec = {.inputs = 9, .hidden = {6}}};
  Training training;
  training.batch = 20, training.adversary = Pgd{.iterations = 2, .lower = -9, .upper = 9};
  attacked.add(slabs(9, 70, 0, 35, true, 1), training, 10);
  for (Backend* plan : {tiled.get(), backend.get()}) {
    const auto wave = open_loaded(*plan, attacked);
    wave->train(std::vector<std::int64_t>{2});
    attack(attacked, *wave);
  }
  Ensemble scored{.spec = {.inputs = 9, .hidden = {6}}};
  scored.add(slabs(9, 70, 33, 45, true, 1), {}, 10);
  scored.add(clouds_data({9, 2, 40, 12, 100}, 3), {}, 30);
  for (Backend* plan : {tiled.get(), backend.get()}) {
    const auto wave = open_loaded(*plan, scored, false);
    for (const auto kind : {Randomization::Kind::permute, Randomization::Kind::swap})
      for (const auto against : {Randomization::Against::labels, Randomization::Against::predictions})
        score(scored, *wave, Split::test, {{0}, kind, against});
  }
  const ImageVariant images = image_variants().front();
  const Data shapes = shape_data(images.shapes(), {1}).front();
  const Seeds seeds{1, 2, 3};
  const auto wave = tiled->open({&images.network, {&shapes, 1}, {&seeds, 1}, {&images.training, 1}});
  wave->load(0, random_parameters(images.network, 4));
  wave->train(std::vector<std::int64_t>{2});
  const std::vector<std::string> launched = body.launched_kernels();
  const std::set<std::string> sources = kernels_in_sources();
  EXPECT_GE(sources.size(), 10u);
  for (const std::string& kernel : sources) {
    const std::regex name("(^|[^\\w])" + kernel + "($|[^\\w])");
    EXPECT_TRUE(std::any_of(launched.begin(), launched.end(),
                            [&](const std::string& function) { return std::regex_search(function, name); }))
        << kernel << " was never launched; launched were\n"
        << fmt::format("{}", fmt::join(launched, "\n"));
  }
}

// Writes the functions that the executor was given in this process to the file that OCCAM_LAUNCHED_KERNELS names.
class LaunchedKernels : public testing::Environment {
 public:
  void TearDown() override {
    const char* path = std::getenv("OCCAM_LAUNCHED_KERNELS");
    if (!path) return;
    std::ofstream file(path);
    for (const simt::Body* body : {&simt::checked_body(), &simt::plain_body()})
      file << fmt::format("{}\n", fmt::join(body->launched_kernels(), "\n"));
  }
};
[[maybe_unused]] const testing::Environment* const kLaunched =
    testing::AddGlobalTestEnvironment(new LaunchedKernels);

}  // namespace
}  // namespace occam::test
#endif
