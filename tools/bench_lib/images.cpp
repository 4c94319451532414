#include "images.hpp"

#include <numeric>

#include "io/npz.hpp"
#include "occam/metrics.hpp"
#include "occam/shapes.hpp"
#include "occam/training.hpp"
#include "problem.hpp"

namespace occam::bench {

using nlohmann::json;

json fit_images(const json& request) {
  const int members = request.value("members", 1);
  const Device device = device_of(request);
  ShapeSpec spec = stars_and_moons();
  spec.train = request.value("train", spec.train), spec.test_rows = request.value("test", spec.test_rows);
  const MlpSpec network{.inputs = spec.height() * spec.width(), .hidden = {1024, 1024}};
  const Training training{.optimizer = {.kind = OptimizerKind::adam, .learning_rate = 1e-4},
                          .stop = {.criterion = StopCriterion::none,
                                   .check_every = 1'000'000,
                                   .max_updates = request.at("updates")},
                          .batch = 100};
  json reply{{"members", members}, {"updates", training.stop.max_updates}};
  std::vector<std::uint32_t> data_seeds(static_cast<std::size_t>(members));
  std::iota(data_seeds.begin(), data_seeds.end(), 0u);
  std::vector<Seeds> seeds;
  for (const std::uint32_t seed : data_seeds) seeds.push_back({seed, seed, seed});

  MlpEnsemble models(network, seeds, device);
  FitOptions options;
  options.test_at_checks = false;
  const Stopwatch watch;
  const History history = fit(models, shape_data(spec, data_seeds),
                              std::vector<Training>(static_cast<std::size_t>(members), training), options);
  watch.report(reply);
  for (const MemberHistory& member : history)
    reply["train_accuracy"].push_back(member.checks.back().train_accuracy);
  const Randomization as_it_is;
  for (const auto& [arrangement, name] :
       {std::pair{Arrangement::iid, "iid"}, {Arrangement::uniform, "uniform"}}) {
    ShapeSpec tested = spec;
    tested.test = arrangement;
    for (const auto& scores : score(models, shape_data(tested, data_seeds), {&as_it_is, 1}))
      reply[std::string(name) + "_accuracy"].push_back(scores.front().accuracy);
  }
  return reply;
}

json export_images(const json& request) {
  NpzWriter file(request.at("path"), NpzWriter::Compression::store);
  const auto add = [&](const Data& data, Split split, const std::string& name) {
    const HostTable table = materialize(data, split);
    const std::vector<std::uint8_t> pixels(table.x.begin(), table.x.end());  // 0 or 1
    file.add("x_" + name, pixels, {table.rows, table.dim});
    file.add("y_" + name, table.y, {table.rows});
  };
  ShapeSpec spec = stars_and_moons();
  const Data data = shape_data(spec, {0}).front();
  add(data, Split::train, "train");
  add(data, Split::test, "iid");
  spec.test = Arrangement::uniform;
  add(shape_data(spec, {0}).front(), Split::test, "uniform");
  file.close();
  return json::object();
}

}  // namespace occam::bench
