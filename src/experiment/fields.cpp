#include "experiment/fields.hpp"

#include <algorithm>
#include <cmath>

#include "experiment/field_makers.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"

namespace occam::experiment {
namespace {

template <class At>
Field count(std::string flag, At at, BlockKind kind, std::string help) {
  Field f{flag, Room::data, std::move(help)};
  f.set = [at, flag](Case& c, const std::string& text) {
    at(c) = text == "rest" ? kRest : static_cast<int>(parse_integer(flag, text, 0, kMostDim));
  };
  f.get = [get = read_only(at)](const Case& c) { return get(c) == kRest ? "rest" : std::to_string(get(c)); };
  f.json = [kind](const Case& c) {
    const SlabSpec spec = slab_spec(c.slab);
    return std::count_if(spec.coordinates.begin(), spec.coordinates.end(),
                         [kind](const SlabCoordinate& coordinate) { return coordinate.kind == kind; });
  };
  return f;
}

// ---- the table --------------------------------------------------------------------------------------------
std::vector<Field> data_fields() {
  constexpr Room room = Room::data;
  Field margin{"margin", room, "margin of every block, as a fraction of the width"};
  margin.set = [](Case& c, const std::string& text) {
    const double value = parse_real("margin", text);
    for (SlabBlock* block : {&c.slab.linear, &c.slab.slab3, &c.slab.slab5, &c.slab.slab7})
      block->margin = value;
  };
  margin.shorthand_for = {"margin-linear", "margin-3", "margin-5", "margin-7"};

  std::vector<Field> slab = {
      integer(room, "dim", OCCAM_AT(slab.dim), 1, kMostDim, "coordinates"),
      count("linear", OCCAM_AT(slab.linear.count), BlockKind::linear, "linear coordinates, or rest"),
      count("slabs3", OCCAM_AT(slab.slab3.count), BlockKind::slab3, "3-slab coordinates, or rest"),
      count("slabs5", OCCAM_AT(slab.slab5.count), BlockKind::slab5, "5-slab coordinates, or rest"),
      count("slabs7", OCCAM_AT(slab.slab7.count), BlockKind::slab7, "7-slab coordinates, or rest"),
      margin,
      real(room, "margin-linear", OCCAM_AT(slab.linear.margin), "margin of linear coordinates, below 1"),
      real(room, "margin-3", OCCAM_AT(slab.slab3.margin), "margin of 3-slabs, below 1/2"),
      real(room, "margin-5", OCCAM_AT(slab.slab5.margin), "margin of 5-slabs, below 1/4"),
      real(room, "margin-7", OCCAM_AT(slab.slab7.margin), "margin of 7-slabs, below 1/6"),
      real(room, "data-width", OCCAM_AT(slab.width), "B: coordinates live in [-B, B]"),
      real(room, "linear-noise", OCCAM_AT(slab.linear.noise),
           "share of noisy rows of each linear coordinate"),
      word<NoiseKind>(room, "linear-noise-kind", OCCAM_AT(slab.linear.noise_kind), {"flip", "margin"},
                      {NoiseKind::flip, NoiseKind::margin}, "what noise does to a linear coordinate"),
      real(room, "slab5-noise", OCCAM_AT(slab.slab5.noise), "share of noisy rows of each 5-slab"),
      word<NoiseKind>(room, "slab5-noise-kind", OCCAM_AT(slab.slab5.noise_kind), {"label", "margin"},
                      {NoiseKind::label, NoiseKind::margin}, "what noise does to a 5-slab"),
      real(room, "slab7-noise", OCCAM_AT(slab.slab7.noise),
           "share of rows of each 7-slab moved to the other class"),
      real(room, "linear-shift", OCCAM_AT(slab.linear.shift), "shift of linear coordinates, in widths"),
      real(room, "slab3-shift", OCCAM_AT(slab.slab3.shift), "shift of 3-slabs, in widths"),
      real(room, "slab5-shift", OCCAM_AT(slab.slab5.shift), "shift of 5-slabs, in widths"),
      real(room, "slab7-shift", OCCAM_AT(slab.slab7.shift), "shift of 7-slabs, in widths"),
      defaulted(room, "slab5-inner0", OCCAM_AT(slab.slab5.inner_probability0), 0.75, 1,
                "5-slab: centre, given class 0"),
      defaulted(room, "slab7-inner0", OCCAM_AT(slab.slab7.inner_probability0), 0.5, 1,
                "7-slab: centre, given class 0"),
      defaulted(room, "slab7-inner1", OCCAM_AT(slab.slab7.inner_probability1), 0.875, 1,
                "7-slab: inner slab, given class 1"),
      integer(room, "linear-position", OCCAM_AT(slab.linear_position), 0, kMostDim - 1,
              "column of the first linear coordinate (without rotation)"),
      boolean(room, "rotate", OCCAM_AT(slab.rotate),
              "rotate the data by a random orthogonal matrix; --no-rotate"),
      integer(room, "train", OCCAM_AT(slab.train), 1, kMostRows, "training rows"),
  };
  // Its default follows another field, the width.
  Field limit =
      real(room, "unused-limit", OCCAM_AT(slab.unused_limit), "unused coordinates are uniform on [0, this]");
  const auto value = [](const Case& c) {
    return c.slab.unused_limit < 0 ? c.slab.width : c.slab.unused_limit;
  };
  limit.set = [](Case& c, const std::string& text) {
    if (text == "width") return void(c.slab.unused_limit = -1);
    c.slab.unused_limit = parse_real("unused-limit", text);
    require(c.slab.unused_limit >= 0, "--unused-limit: '{}' is negative", text);
  };
  limit.get = [](const Case& c) {
    return c.slab.unused_limit < 0 ? "width" : format_real(c.slab.unused_limit);
  };
  limit.json = value;
  slab.push_back(std::move(limit));
  for (Field& field : slab) field.recipe = true;
  slab.push_back(integer(room, "test", OCCAM_AT(slab.test), 1, kMostRows, "test rows"));
  slab.push_back(integer(room, "validation", OCCAM_AT(slab.validation), 0, kMostRows,
                         "validation rows; they choose the best model"));
  return slab;
}

Field only_with(const char* flags, bool (*matters)(const Case&), Field field) {
  field.needs = flags, field.matters = matters;
  return field;
}

Field of_hidden(Field field) {
  return only_with(
      "hidden layers", [](const Case& c) { return !c.network.hidden.empty(); }, std::move(field));
}

template <OptimizerKind kind>
bool is(const Case& c) {
  return c.training.optimizer.kind == kind;
}
template <OptimizerKind kind>
bool is_not(const Case& c) {
  return !is<kind>(c);
}

std::vector<Field> network_fields() {
  constexpr Room room = Room::network;
  Field hidden{"hidden", room, "hidden widths such as 100x100, or linear"};
  hidden.set = [](Case& c, const std::string& text) {
    c.network.hidden = parse_architecture("hidden", text);
  };
  hidden.get = [](const Case& c) { return architecture_name(c.network.hidden); };
  hidden.json = hidden.get;
  return {
      hidden,
      of_hidden(word<Activation>(room, "activation", OCCAM_AT(network.activation),
                                 {"relu", "leaky_relu", "prelu", "tanh", "identity"},
                                 {Activation::relu, Activation::leaky_relu, Activation::prelu,
                                  Activation::tanh, Activation::identity},
                                 "activation")),
      word<Loss>(room, "loss", OCCAM_AT(network.loss), {"cross_entropy", "binary_cross_entropy", "hinge"},
                 {Loss::cross_entropy, Loss::binary_cross_entropy, Loss::hinge}, "loss"),
      of_hidden(
          boolean(room, "batch-norm", OCCAM_AT(network.batch_norm), "batch norm in every hidden layer")),
      word<InitializationKind>(
          room, "init", OCCAM_AT(initialization.kind),
          {"pytorch", "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal"},
          {InitializationKind::pytorch, InitializationKind::kaiming_uniform,
           InitializationKind::kaiming_normal, InitializationKind::xavier_uniform,
           InitializationKind::xavier_normal},
          "initialisation"),
      real(room, "init-scale", OCCAM_AT(initialization.scale), "factor on the initial weights"),
  };
}

// none, accuracy:A (train accuracy >= A) or loss:L (train loss < L).
Field stop_field() {
  Field f{"stop", Room::training, "when training has converged (none|accuracy:0.9999|loss:0.01)"};
  f.set = [](Case& c, const std::string& text) {
    StopRule& rule = c.training.stop;
    const std::string kind = text.substr(0, text.find(':'));
    require(kind == "none" ? text == kind
                           : (kind == "accuracy" || kind == "loss") && text.size() > kind.size() + 1,
            "--stop: '{}' is not none, accuracy:A or loss:L", text);
    if (kind == "none") {
      rule.criterion = StopCriterion::none;
      return;
    }
    const double value = parse_real("stop", text.substr(kind.size() + 1));
    if (kind == "accuracy") {
      require(value > 0 && value <= 1, "--stop: accuracy {} is outside (0, 1]", value);
      rule.criterion = StopCriterion::accuracy;
      rule.epsilon = 1 - value;
    } else {
      require(value > 0, "--stop: loss {} is not positive", value);
      rule.criterion = StopCriterion::loss;
      rule.epsilon = value;
    }
  };
  f.get = [](const Case& c) -> std::string {
    const StopRule& rule = c.training.stop;
    switch (rule.criterion) {
      case StopCriterion::none: return "none";
      case StopCriterion::accuracy:
        return fmt::format("accuracy:{:.15g}", 1 - rule.epsilon);  // as it was given
      case StopCriterion::loss: return "loss:" + format_real(rule.epsilon);
    }
    return "";
  };
  f.json = f.get;
  return f;
}

std::vector<Field> training_fields() {
  constexpr Room room = Room::training;
  return {
      word<OptimizerKind>(room, "optimizer", OCCAM_AT(training.optimizer.kind), {"sgd", "adam", "rmsprop"},
                          {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::rmsprop}, "optimiser"),
      real(room, "lr", OCCAM_AT(training.optimizer.learning_rate), "learning rate"),
      only_with("--optimizer sgd or rmsprop", is_not<OptimizerKind::adam>,
                real(room, "momentum", OCCAM_AT(training.optimizer.momentum), "momentum of SGD and RMSProp")),
      real(room, "weight-decay", OCCAM_AT(training.optimizer.weight_decay),
           "weight decay, on all parameters"),
      only_with("--optimizer adam", is<OptimizerKind::adam>,
                real(room, "beta1", OCCAM_AT(training.optimizer.beta1), "Adam's beta1")),
      only_with("--optimizer adam", is<OptimizerKind::adam>,
                real(room, "beta2", OCCAM_AT(training.optimizer.beta2), "Adam's beta2")),
      only_with("--optimizer rmsprop", is<OptimizerKind::rmsprop>,
                real(room, "alpha", OCCAM_AT(training.optimizer.alpha), "RMSProp's smoothing")),
      only_with("--optimizer adam or rmsprop", is_not<OptimizerKind::sgd>,
                real(room, "optimizer-epsilon", OCCAM_AT(training.optimizer.epsilon),
                     "epsilon of Adam and RMSProp")),
      integer(room, "lr-epochs", OCCAM_AT(training.schedule.epochs), 0, kMostUpdates,
              "epochs after which lr is multiplied; 0: never"),
      only_with(
          "--lr-epochs", [](const Case& c) { return c.training.schedule.epochs > 0; },
          real(room, "lr-factor", OCCAM_AT(training.schedule.factor), "what lr is multiplied by")),
      integer(room, "batch", OCCAM_AT(training.batch), 1, kMostBatch, "rows a batch"),
      real(room, "input-dropout", OCCAM_AT(training.input_dropout), "probability of zeroing an input"),
      of_hidden(
          real(room, "dropout", OCCAM_AT(training.hidden_dropout), "probability of zeroing a hidden unit")),
      stop_field(),
      integer(room, "check-every", OCCAM_AT(training.stop.check_every), 1, kMostUpdates,
              "updates between checks"),
      integer(room, "patience", OCCAM_AT(training.stop.patience), 1, kMostUpdates,
              "updates from the check that meets stop to the end, that one included; 1: stops there"),
      integer(room, "max-updates", OCCAM_AT(training.stop.max_updates), 1, kMostUpdates, "most updates"),
  };
}

Field attack_bounds_field() {
  Field f{"attack-bounds", Room::attack,
          "LOW:HIGH that moved rows stay inside, in the data's units; units: as attack-units says"};
  f.set = [](Case& c, const std::string& text) {
    if (text == "units") return c.attacks.bounds.reset();
    const std::vector<std::string> ends = split_list("attack-bounds", text, ':');
    require(ends.size() == 2, "--attack-bounds: '{}' is neither LOW:HIGH nor units", text);
    c.attacks.bounds = {parse_real("attack-bounds", ends[0]), parse_real("attack-bounds", ends[1])};
    require(c.attacks.bounds->lower < c.attacks.bounds->upper,
            "--attack-bounds: '{}' holds no value (give the smaller first)", text);
    require(c.attacks.bounds->lower >= -kMostBound && c.attacks.bounds->upper <= kMostBound,
            "--attack-bounds: '{}' reaches beyond ±{:g}", text, kMostBound);
  };
  f.get = [](const Case& c) {
    const auto& bounds = c.attacks.bounds;
    return bounds ? format_real(bounds->lower) + ":" + format_real(bounds->upper) : "units";
  };
  f.json = f.get;
  return f;
}

std::vector<Field> attack_fields() {
  constexpr Room room = Room::attack;
  const std::vector<std::string> norms = {"l2", "linf"};
  const std::vector<Norm> norm_values = {Norm::l2, Norm::linf};
  const std::vector<std::string> losses = {"untargeted", "targeted",        "random-targeted",
                                           "plus-one",   "binary-targeted", "binary-hybrid"};
  const std::vector<AttackLoss> loss_values = {AttackLoss::untargeted,      AttackLoss::targeted,
                                               AttackLoss::random_targeted, AttackLoss::plus_one,
                                               AttackLoss::binary_targeted, AttackLoss::binary_hybrid};
  std::vector<Field> all = {
      length(room, "adversary-epsilon", OCCAM_AT(adversary.epsilon),
             "train on PGD of this radius; 0: do not"),
      word<Norm>(room, "adversary-norm", OCCAM_AT(adversary.norm), norms, norm_values, "norm of that PGD"),
      length(room, "adversary-step", OCCAM_AT(adversary.step), "its step; 0: 2.5 epsilon / iterations"),
      integer(room, "adversary-iterations", OCCAM_AT(adversary.iterations), 1, kMostRepeats, "its steps"),
      word<AttackUnits>(
          room, "attack-units", OCCAM_AT(attacks.units), {"range", "absolute"},
          {AttackUnits::range, AttackUnits::absolute},
          "range: PGD's epsilon and step count in widths of the data's range, which bounds the rows"),
      attack_bounds_field(),
      word<Norm>(room, "attack-norm", OCCAM_AT(attacks.pgd_settings.norm), norms, norm_values, "norm of PGD"),
      word<AttackLoss>(room, "attack-loss", OCCAM_AT(attacks.pgd_settings.loss), losses, loss_values,
                       "what PGD descends"),
      integer(room, "attack-target", OCCAM_AT(attacks.pgd_settings.target), 0, kMostClasses - 1,
              "class a targeted PGD aims at"),
      length(room, "attack-epsilon", OCCAM_AT(attacks.pgd_settings.epsilon), "radius of PGD"),
      length(room, "attack-step", OCCAM_AT(attacks.pgd_settings.step),
             "step of PGD; 0: 2.5 epsilon / iterations"),
      integer(room, "attack-iterations", OCCAM_AT(attacks.pgd_settings.iterations), 1, kMostRepeats,
              "steps of PGD"),
      integer(room, "attack-restarts", OCCAM_AT(attacks.pgd_settings.restarts), 1, kMostRepeats,
              "runs of PGD; the worst counts"),
      boolean(room, "attack-minimal", OCCAM_AT(attacks.pgd_settings.minimal),
              "PGD moves a row until it is misclassified, without a radius"),
      integer(room, "attack-batch", OCCAM_AT(attacks.pgd_settings.batch), 1, kMostBatch,
              "rows that share a mean loss"),
      length(room, "svd-epsilon", OCCAM_AT(attacks.svd_settings.epsilon), "length of the SVD-UAP"),
      length(room, "svd-attack-epsilon", OCCAM_AT(attacks.svd_settings.attack.epsilon),
             "radius of the PGD behind it"),
      length(room, "svd-attack-step", OCCAM_AT(attacks.svd_settings.attack.step),
             "its step; 0: 2.5 epsilon / iterations"),
      integer(room, "svd-attack-iterations", OCCAM_AT(attacks.svd_settings.attack.iterations), 1,
              kMostRepeats, "steps of the PGD behind it"),
      word<Norm>(room, "as-norm", OCCAM_AT(attacks.as_settings.norm), norms, norm_values,
                 "norm of the AS-UAP"),
      length(room, "as-epsilon", OCCAM_AT(attacks.as_settings.epsilon), "radius of the AS-UAP"),
      length(room, "as-step", OCCAM_AT(attacks.as_settings.step),
             "step of the AS-UAP; 0: 2.5 epsilon / iterations"),
      integer(room, "as-iterations", OCCAM_AT(attacks.as_settings.iterations), 1, kMostRepeats,
              "steps a batch of the AS-UAP"),
      integer(room, "as-epochs", OCCAM_AT(attacks.as_settings.epochs), 1, kMostRepeats,
              "epochs of the AS-UAP"),
  };
  for (Field& field : all) {
    const auto needs = [&](const char* flags, bool (*matters)(const Case&)) {
      field.needs = flags, field.matters = matters;
    };
    if (field.flag.starts_with("adversary-"))
      needs("--adversary-epsilon", [](const Case& c) { return c.adversary.epsilon > 0; });
    else if (field.flag == "attack-units" || field.flag == "attack-bounds")
      needs("--measure pgd, svd-uap or as-uap", [](const Case& c) { return c.attacks.any(); });
    else if (field.flag == "attack-target")
      needs("--measure pgd and --attack-loss targeted", [](const Case& c) {
        return c.attacks.pgd && c.attacks.pgd_settings.loss == AttackLoss::targeted;
      });
    else if (field.flag.starts_with("attack-"))
      needs("--measure pgd", [](const Case& c) { return c.attacks.pgd; });
    else if (field.flag.starts_with("svd-"))
      needs("--measure svd-uap", [](const Case& c) { return c.attacks.svd_uap; });
    else
      needs("--measure as-uap", [](const Case& c) { return c.attacks.as_uap; });
  }
  return all;
}

}  // namespace

const std::vector<Field>& fields(DataKind kind) {
  const auto joined = [](std::vector<Field> all, const std::vector<std::vector<Field>>& more) {
    for (const std::vector<Field>& some : more) all.insert(all.end(), some.begin(), some.end());
    return all;
  };
  static const std::vector<Field> slab =
      joined(data_fields(), {network_fields(), training_fields(), attack_fields()});
  static const std::vector<Field> shapes = [&] {
    std::vector<Field> all = joined(shape_fields(), {network_fields(), training_fields()});
    std::erase_if(all, [](const Field& field) { return field.flag == "input-dropout"; });
    return all;
  }();
  return kind == DataKind::shapes ? shapes : slab;
}

nlohmann::ordered_json config_of(const Case& c, bool user_data) {
  nlohmann::ordered_json config;
  for (const Field& field : fields(c.shapes ? DataKind::shapes : DataKind::slab)) {
    if (!field.get || (user_data && field.recipe)) continue;
    if (field.room == Field::Room::attack && !field.matters(c)) continue;  // of attacks that are not made
    std::string key = field.flag;
    std::replace(key.begin(), key.end(), '-', '_');
    config[key] = field.json(c);
  }
  config["inputs"] = c.network.inputs;
  config["classes"] = c.network.classes;
  if (c.shapes) {
    config["evaluate"] = c.evaluate == Which::last ? "last" : "best";
    return config;
  }
  config["simple"] = c.simple;
  for (const auto& [name, coordinates] : c.measures.groups) config["group_" + name] = coordinates;
  std::vector<std::string> measures;
  if (c.measures.per_coordinate) measures.push_back("per-coordinate");
  for (int size : c.measures.subset_sizes) measures.push_back(fmt::format("subset:{}", size));
  if (c.measures.swap) measures.push_back("swap");
  if (c.measures.predictions) measures.push_back("predictions");
  if (c.attacks.pgd) measures.push_back("pgd");
  if (c.attacks.svd_uap) measures.push_back("svd-uap");
  if (c.attacks.as_uap) measures.push_back("as-uap");
  config["measure"] = measures;
  if (!c.votes.sizes.empty()) {
    config["vote_sizes"] = c.votes.sizes;
    config["combiners"] = nlohmann::ordered_json::array();
    for (const Combiner combiner : c.votes.combiners) config["combiners"].push_back(name_of(combiner));
    config["combiner_optimizer"] = c.votes.combiner_optimizer == OptimizerKind::sgd ? "sgd" : "adam";
  }
  config["evaluate"] = c.evaluate == Which::last ? "last" : "best";
  return config;
}

}  // namespace occam::experiment
