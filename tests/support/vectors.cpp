#include "support/vectors.hpp"

#include <string_view>

namespace occam::test {

namespace {

template <class T>
std::vector<T> values(const NpzReader& file, const std::string& name) {
  const NpyArray array = file.read(name);
  const std::span<const T> all = array.values<T>();
  return {all.begin(), all.end()};
}

std::vector<PytorchCase> read_cases() {
  const NpzReader file(OCCAM_SOURCE_DIR "/tests/data/pytorch_vectors.npz");
  std::vector<PytorchCase> cases;
  constexpr std::string_view suffix = "/settings";
  for (const std::string& entry : file.names()) {
    if (!entry.ends_with(suffix)) continue;
    PytorchCase c;
    c.name = entry.substr(0, entry.size() - suffix.size());
    const std::vector<double> settings = values<double>(file, entry);
    std::size_t next = 0;  // SETTINGS of make_pytorch_vectors.py, in order
    const auto number = [&] { return settings.at(next++); };
    const auto whole = [&] { return static_cast<int>(number()); };
    c.spec.inputs = whole();
    c.spec.classes = whole();
    c.spec.activation = static_cast<Activation>(whole());
    c.spec.loss = static_cast<Loss>(whole());
    c.spec.batch_norm = whole() != 0;
    c.spec.hidden = values<std::int32_t>(file, c.name + "/hidden");
    Optimizer& o = c.training.optimizer;
    o.kind = static_cast<OptimizerKind>(whole());
    o.learning_rate = number(), o.momentum = number(), o.weight_decay = number();
    o.beta1 = number(), o.beta2 = number(), o.alpha = number(), o.epsilon = number();
    c.training.input_dropout = number(), c.training.hidden_dropout = number();
    c.training.batch = whole();
    c.updates = whole();
    c.order_seed = static_cast<std::uint32_t>(whole());

    const std::vector<float> test_x = values<float>(file, c.name + "/test_x"),
                             x = values<float>(file, c.name + "/x");
    const std::vector<std::int32_t> y = values<std::int32_t>(file, c.name + "/y");
    c.table.dim = c.spec.inputs, c.table.classes = c.spec.classes;
    c.table.test = static_cast<std::int64_t>(test_x.size()) / c.spec.inputs;
    c.table.train = static_cast<std::int64_t>(y.size());
    c.table.x = test_x, c.table.y.assign(static_cast<std::size_t>(c.table.test), 0);
    c.table.x.insert(c.table.x.end(), x.begin(), x.end());
    c.table.y.insert(c.table.y.end(), y.begin(), y.end());
    c.start = values<float>(file, c.name + "/start");
    c.gradient = values<double>(file, c.name + "/gradient"), c.loss = values<double>(file, c.name + "/loss");
    c.end = values<double>(file, c.name + "/end"), c.logits = values<double>(file, c.name + "/logits");
    cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace

const std::vector<PytorchCase>& pytorch_cases() {
  static const std::vector<PytorchCase> cases = read_cases();
  return cases;
}

}  // namespace occam::test
