#include "experiment/plan.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/format.h>

#include "experiment/attack_measure.hpp"
#include "experiment/case_checks.hpp"
#include "experiment/checksum.hpp"
#include "experiment/fields.hpp"
#include "experiment/text.hpp"
#include "io/npz.hpp"
#include "occam/error.hpp"
#include "occam/limits.hpp"
#include "occam_build_info.hpp"
#include "shape_set.hpp"

namespace occam::experiment {
namespace {

void read_measures(Case& c, const Options& options) {
  Measures& measures = c.measures;
  if (options.measure.empty()) return;
  for (const std::string& item : split_list("measure", options.measure)) {
    if (item == "per-coordinate")
      measures.per_coordinate = true;
    else if (item == "swap")
      measures.swap = true;
    else if (item == "predictions")
      measures.predictions = true;
    else if (item == "pgd")
      c.attacks.pgd = true;
    else if (item == "svd-uap")
      c.attacks.svd_uap = true;
    else if (item == "as-uap")
      c.attacks.as_uap = true;
    else if (item.starts_with("subset:")) {
      const int size = static_cast<int>(parse_integer("measure", item.substr(7), 1, kMostDim));
      if (std::find(measures.subset_sizes.begin(), measures.subset_sizes.end(), size) ==
          measures.subset_sizes.end())
        measures.subset_sizes.push_back(size);
    } else {
      fail(ErrorKind::usage,
           "--measure: '{}' is not one of per-coordinate, subset:K, swap, predictions, pgd, svd-uap, as-uap",
           item);
    }
  }
}

void resolve_adversary(Case& c) {
  if (c.adversary.epsilon == 0) return;
  Pgd attack = c.adversary;
  if (attack.step == 0) attack.step = usual_step(attack.epsilon, attack.iterations);
  attack.lower = -kUnbounded, attack.upper = kUnbounded;
  c.training.adversary = attack;
}

// S and the further groups; --simple and --groups replace the experiment's own.
void read_groups(Case& c, const Options& options) {
  std::map<std::string, std::vector<int>> groups;
  if (!options.groups.empty()) groups = parse_groups("groups", options.groups);
  for (const auto& [name, coordinates] : groups)
    require(options.simple.empty() || name != "S", "--simple and --groups S= exclude each other");
  if (!options.simple.empty()) {
    c.simple.clear();
    for (std::uint32_t coordinate : parse_ranges("simple", options.simple, 16383))
      c.simple.push_back(static_cast<int>(coordinate));
  }
  for (const auto& [name, coordinates] : groups) {
    if (name == "S")
      c.simple = coordinates;
    else {
      const bool taken = name == "s" || name == "sc" || name == "standard" || name.starts_with("best_") ||
                         name.starts_with("last_") || name.starts_with("networks_");
      require(!taken, "--groups: '{}' is, or begins like, the name of a measure; choose another", name);
      c.measures.groups[name] = coordinates;
    }
  }
}

// The swap of the linear coordinate moves the case's own S and groups along; those of flags name columns of the data.
void follow_linear_position(Case& c) {
  const int p = c.slab.linear_position;
  const auto move = [p](std::vector<int>& coordinates) {
    for (int& coordinate : coordinates) coordinate = coordinate == 0 ? p : coordinate == p ? 0 : coordinate;
    std::sort(coordinates.begin(), coordinates.end());
  };
  move(c.simple);
  for (auto& [name, coordinates] : c.measures.groups) move(coordinates);
}

// What makes two cases one: flags with lists, where the experiment has one case for both; else its own flags, and those
// that give both cases the one value in which they differed. "--hidden, --lr"
std::string blamed_flags(const Case& one, const Case& other, bool one_origin, const Options& options) {
  std::vector<std::string> all, lists, undone = options.own;
  for (const Field& field : fields(options.kind)) {
    const auto given = options.fields.find(field.flag);
    if (given == options.fields.end()) continue;
    (given->second.size() > 1 ? lists : all).push_back("--" + field.flag);
    if (field.get && field.get(one) != field.get(other)) undone.push_back("--" + field.flag);
  }
  const std::vector<std::string>& blamed = !one_origin ? undone : lists.empty() ? all : lists;
  return blamed.empty() ? "a flag" : fmt::format("{}", fmt::join(blamed, ", "));
}

// What a recipe leaves to its masks, and to proportion.
void resolve(ShapeRecipe& recipe, const ShapeSpec& spec) {
  recipe.height = spec.height(), recipe.width = spec.width();
  recipe.biased0 = spec.biased[0], recipe.biased1 = spec.biased[1];
  recipe.uniform0 = spec.uniform[0], recipe.uniform1 = spec.uniform[1];
}

// What must be equal for published values to apply: every field, and S.
nlohmann::ordered_json protocol_of(Case c, const Options& options) {
  read_groups(c, options);
  if (c.shapes) resolve(*c.shapes, shape_spec(*c.shapes));
  c.measures = {};
  return config_of(c, false);
}

// Cases that differ in their attacks alone have the same networks; the same trainings, if none is attacked at checks.
void share_trainings(std::vector<PlannedCase>& cases, bool user_data, bool measure_at_checks) {
  const auto trained = [&](Case c) {
    if (!measure_at_checks || !c.attacks.pgd) c.attacks = {};
    c.name.clear(), c.published.clear(), c.expectations.clear(), c.settled.clear();
    return c;
  };
  std::map<std::string, std::size_t> trainers;  // by configuration, which leaves out what has no flag
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const Case own = trained(cases[c].settings);
    const std::size_t first = trainers.emplace(config_of(own, user_data).dump(), c).first->second;
    cases[own == trained(cases[first].settings) ? first : c].readers.push_back(static_cast<int>(c));
  }
}

}  // namespace

std::size_t Plan::trainings() const {
  return members.size() * static_cast<std::size_t>(std::ranges::count_if(
                              cases, [](const PlannedCase& c) { return !c.readers.empty(); }));
}

std::uint64_t fnv1a(const std::string& text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001B3u;
  return hash;
}

Members plan_members(const Options& options, int default_seeds) {
  Members members;
  const std::string names[] = {"data", "init", "order"};
  const std::string* given[] = {&options.data_seeds, &options.init_seeds, &options.order_seeds};
  for (const std::string* text : given) members.product |= !text->empty();

  // factor_of[k]: which factor drives data, init and order.
  std::vector<SeedFactor> factors;
  int factor_of[3] = {-1, -1, -1};
  std::string together;
  for (int k = 0; k < 3; ++k) {
    if (given[k]->empty()) {
      together += (together.empty() ? "" : "+") + names[k];
      continue;
    }
    factor_of[k] = static_cast<int>(factors.size());
    factors.push_back({names[k], parse_ranges(names[k] + "-seeds", *given[k], 0xFFFFFFFFu)});
  }
  if (options.computed && together == "order") together.clear();  // nothing is drawn from order seeds
  if (!together.empty() && (!options.seeds.empty() || !members.product)) {
    for (int k = 0; k < 3; ++k)
      if (factor_of[k] < 0) factor_of[k] = static_cast<int>(factors.size());
    factors.push_back(
        {members.product ? together : "seed",
         parse_seed_count("seeds", options.seeds.empty() ? std::to_string(default_seeds) : options.seeds)});
  }
  require(!(together.empty() && !options.seeds.empty()), "--seeds: all seeds are given on their own");

  std::size_t count = 1;
  for (const SeedFactor& factor : factors) {
    count *= factor.values.size();
    require(count <= (std::size_t{1} << 24), "--seeds: the product of all seeds is more than {} members",
            1 << 24);
  }
  std::vector<std::vector<int>> levels(factors.size(), std::vector<int>(count));
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t rest = i;
    for (std::size_t f = factors.size(); f-- > 0; rest /= factors[f].values.size())
      levels[f][i] = static_cast<int>(rest % factors[f].values.size());
    const auto seed_of = [&](int k) {
      if (factor_of[k] < 0) return 0u;
      const auto f = static_cast<std::size_t>(factor_of[k]);
      return factors[f].values[static_cast<std::size_t>(levels[f][i])];
    };
    members.seeds.push_back({seed_of(0), seed_of(1), seed_of(2)});
    members.labels.push_back(members.product ? static_cast<std::uint32_t>(i) : members.seeds.back().data);
  }
  for (std::size_t f = 0; f < factors.size(); ++f)
    if (factors[f].values.size() > 1) {
      members.factors.push_back(factors[f]);
      members.levels.push_back(levels[f]);
    }
  return members;
}

std::string seeds_text(const Options& options, int default_seeds) {
  if (!options.seeds.empty()) return options.seeds;
  const bool product =
      !(options.data_seeds.empty() && options.init_seeds.empty() && options.order_seeds.empty());
  return product ? "" : std::to_string(default_seeds);
}

// Texts of one value, such as 0.1 and .10, make one run of two.
void check_distinct(const Field& field, const std::vector<std::string>& texts, const Case& any) {
  std::map<std::string, std::string> seen;  // texts by value
  for (const std::string& text : texts) {
    Case c = any;
    field.set(c, text);
    const auto [same, is_new] = seen.emplace(field.get ? field.get(c) : text, text);
    require(is_new || text != same->second, "--{}: {} is given twice", field.flag, text);
    require(is_new, "--{}: {} and {} are one value", field.flag, same->second, text);
  }
}

void follow_epochs(Case& c) {
  if (c.epochs == 0) return;
  const std::int64_t batches = (c.slab.train + c.training.batch - 1) / c.training.batch;
  c.training.stop.max_updates = c.epochs * batches;
  c.training.stop.check_every = c.check_epochs * batches;
}

std::vector<Expanded> expand(const std::vector<Case>& own, const Options& options,
                             const std::vector<Field>& table) {
  std::vector<Expanded> cases;
  for (std::size_t i = 0; i < own.size(); ++i) cases.push_back({own[i], i});
  for (const Field& field : table) {
    const auto given = options.fields.find(field.flag);
    if (given == options.fields.end()) continue;
    std::vector<Expanded> product;
    check_distinct(field, given->second, own.front());
    for (const Expanded& c : cases)
      for (const std::string& value : given->second) {
        Expanded next = c;
        field.set(next.settings, value);
        if (field.flag == "train" || field.flag == "batch") follow_epochs(next.settings);
        check_settled(field, c.settings, next.settings);
        std::string& name = next.settings.name;
        if (given->second.size() > 1)
          name += fmt::format("{}{}={}", name.empty() ? "" : " ", field.flag, value);
        product.push_back(std::move(next));
      }
    require(product.size() <= 1'000'000, "--{}: the lists make more than 1000000 cases", field.flag);
    cases = std::move(product);
  }
  std::set<std::string> names;
  for (Expanded& c : cases) {
    if (c.settings.name.empty()) c.settings.name = "default";
    require(can_name_array(c.settings.name + "/x"),
            "case '{}': arrays cannot be named after it (leave .. out of the path, or change the folder)",
            c.settings.name);
    require(names.insert(c.settings.name).second, "two cases are called '{}': a list names a value twice",
            c.settings.name);
  }
  return cases;
}

Plan make_plan(const std::string& experiment, const std::vector<Case>& own, const Options& options,
               bool user_data, int default_seeds) {
  Plan plan;
  plan.members = plan_members(options, default_seeds);
  std::vector<std::uint32_t> data_seeds;
  for (const Seeds& seeds : plan.members.seeds) data_seeds.push_back(seeds.data);

  if (user_data) {
    for (const Field& field : fields())
      require(!field.recipe || !options.given(field.flag),
              "--{} describes slab data and does not go with --data", field.flag);
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(options.data, error);
    const bool exists = std::filesystem::exists(status);
    if (!std::filesystem::is_regular_file(status))
      fail(ErrorKind::data, "--data: {}: {} (an .npz with x_train, y_train, x_test and y_test, or x and y)",
           options.data, exists ? "not a file" : error.message());
    plan.data_checksums[std::filesystem::path(options.data).filename().string()] = checksum(options.data);
  } else if (std::error_code none;
             !options.data.empty() && !std::filesystem::is_directory(options.data, none)) {
    fail(ErrorKind::data, "--data: {}: no such folder (slab data are generated; leave the flag out)",
         options.data);
  }

  std::map<std::pair<std::int64_t, std::int64_t>, std::shared_ptr<const ArrayData::Table>>
      tables;  // by test, validation
  const auto of_shapes = [&](Case& c, PlannedCase& planned) {
    require(!options.save_data,
            "--save data: images of shapes follow from their settings and the seed; save weights");
    planned.data = shape_data(shape_spec(*c.shapes), data_seeds);
    for (const Arrangement arrangement : {Arrangement::uniform, Arrangement::swapped})
      validate(shape_spec(*c.shapes, arrangement));
    c.simple.clear();
    resolve(*c.shapes, std::get<ShapeData>(planned.data.front()).set->spec());
    for (const std::string* mask : {&c.shapes->mask0, &c.shapes->mask1})
      if (std::error_code none; std::filesystem::is_regular_file(*mask, none)) {
        const std::string sum = checksum(*mask);
        const auto [entry, is_new] =
            plan.data_checksums.emplace(std::filesystem::path(*mask).filename().string(), sum);
        if (entry->second != sum) plan.data_checksums[*mask] = sum;  // another file of that name
      }
  };
  const auto configured = [&](Case c, PlannedCase& planned) {
    require(!c.training.adversary && c.training.precision == Precision::fp32,
            "case '{}': an adversary is given by Case::adversary, a precision by --precision", c.name);
    if (!c.shapes && !user_data) follow_linear_position(c);
    read_groups(c, options);
    read_measures(c, options);
    resolve_adversary(c);
    if (c.shapes) {
      of_shapes(c, planned);
    } else if (user_data) {
      const std::int64_t test = options.given("test") ? c.slab.test : 0;
      auto& table = tables[{test, c.slab.validation}];
      if (!table)
        table = std::make_shared<const ArrayData::Table>(
            read_array_data(options.data, test, c.slab.validation, 0));
      for (std::uint32_t seed : data_seeds) planned.data.push_back(ArrayData{table, seed});
      c.slab.train = table->train, c.slab.validation = table->validation, c.slab.test = table->test;
    } else {
      planned.data = slab_data(slab_spec(c.slab), data_seeds);
    }
    std::sort(c.simple.begin(), c.simple.end());
    c.network.inputs = dim(planned.data.front());
    c.network.classes = classes(planned.data.front());
    planned.complement.clear();
    for (int i = 0; !c.shapes && i < c.network.inputs; ++i)
      if (!std::binary_search(c.simple.begin(), c.simple.end(), i)) planned.complement.push_back(i);
    for (const Precision precision : {Precision::tf32, Precision::bf16})
      if (options.precision == name_of(precision)) c.training.precision = precision;
    planned.settings = c;
    check_case(planned, c.network.inputs, options);
    check_votes(c, options, plan.members.seeds);
    planned.config = config_of(c, user_data);
    if (user_data) planned.config["train"] = c.slab.train;
  };

  std::string identity =
      fmt::format("{} {} {} {} {}", experiment, build_info::version, program(), options.keep, options.save);
  identity +=
      fmt::format(" {} {} {}", options.measure_at_checks, options.boundary_symmetric, options.precision);
  for (const Seeds& seeds : plan.members.seeds)
    identity += fmt::format(" {},{},{}", seeds.data, seeds.init, seeds.order);
  struct Seen {
    std::string name;
    std::size_t origin;
  };
  std::map<std::string, Seen> seen;  // by configuration
  for (const Expanded& expanded : expand(own, options, fields(options.kind))) {
    PlannedCase planned;
    configured(expanded.settings, planned);
    planned.as_published =
        !user_data && protocol_of(expanded.settings, options) == protocol_of(own[expanded.origin], {});
    if (planned.as_published && !expanded.settings.published.empty())
      planned.published = nlohmann::json::parse(published_entry(experiment, expanded.settings.published));
    const std::string config = planned.config.dump();
    identity += "\n" + planned.settings.name + config;
    const auto [same, is_new] = seen.emplace(config, Seen{planned.settings.name, expanded.origin});
    const auto& [name, origin] = same->second;
    require(
        is_new,
        "cases '{}' and '{}' are the same run: what they differ in is taken away, or means nothing here ({})",
        name, planned.settings.name,
        blamed_flags(own[origin], own[expanded.origin], origin == expanded.origin, options));
    plan.cases.push_back(std::move(planned));
  }
  check_idle(fields(options.kind), own, plan.cases, options);
  share_trainings(plan.cases, user_data, options.measure_at_checks);
  for (const auto& [file, sum] : plan.data_checksums) identity += file + sum;
  require(plan.cases.size() * plan.members.size() <= 100'000'000, "{} cases of {} members are too many",
          plan.cases.size(), plan.members.size());
  plan.hash = fnv1a(identity);
  return plan;
}

}  // namespace occam::experiment
