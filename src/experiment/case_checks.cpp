#include "experiment/case_checks.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "experiment/fields.hpp"
#include "occam/device.hpp"
#include "occam/error.hpp"
#include "threads.hpp"

namespace occam::experiment {
namespace {

constexpr std::int64_t kMostSubsets = 100'000;

double subsets_of(int coordinates, int size) {
  double count = 1;
  for (int i = 0; i < size; ++i) count = count * (coordinates - i) / (i + 1);
  return count;
}

void check_coordinates(const std::string& flag, const std::vector<int>& coordinates, int dim) {
  require(!coordinates.empty(), "--{}: no coordinate is given", flag);
  for (int coordinate : coordinates)
    require(coordinate >= 0 && coordinate < dim, "--{}: coordinate {} is outside the {} dimensions (0 … {})",
            flag, coordinate, dim, dim - 1);
}

// Of every member: a rotation of its own gives each a range of its own. The first that is excluded is named.
void check_attack_bounds(const Attacks& attacks, std::span<const Data> data, int threads) {
  if (!attacks.any() || !attacks.bounds) return;
  std::vector<std::ranges::min_max_result<float>> ranges(data.size());
  side_by_side(threads, data.size(),
               [&](std::size_t m) { ranges[m] = std::ranges::minmax(materialize(data[m], Split::test).x); });
  const auto [lower, upper] = *attacks.bounds;
  for (std::size_t m = 0; m < data.size(); ++m)
    require(static_cast<float>(lower) <= ranges[m].min && static_cast<float>(upper) >= ranges[m].max,
            "--attack-bounds: {}:{} excludes test rows of data seed {}, which reach from {} to {}", lower,
            upper, seed(data[m]), ranges[m].min, ranges[m].max);
}

// f, whose usage errors begin with what they are about, "input dropout: …"; where that is a flag, they name the flag.
// `attack` stands for the word in flags of this kind of attack.
template <class F>
void in_flags(const Case& c, const F& f, const std::string& attack = "attack") {
  try {
    f();
  } catch (const Error& error) {
    const std::string message = error.what();
    const std::size_t colon = message.find(':');
    if (error.kind() != ErrorKind::usage || colon == std::string::npos) throw;
    std::string flag = message.substr(0, colon);
    if (flag == "attack epsilon of SVD-UAP") flag = "svd epsilon";
    if (flag == "hidden dropout") flag = "dropout";
    if (flag.starts_with("attack ")) flag.replace(0, 6, attack);
    std::ranges::replace(flag, ' ', '-');
    const std::vector<Field>& table = fields(c.shapes ? DataKind::shapes : DataKind::slab);
    if (std::ranges::none_of(table, [&](const Field& field) { return field.flag == flag; })) throw;
    fail(ErrorKind::usage, "--{}{}", flag, message.substr(colon));
  }
}

}  // namespace

// A row's coordinates are given by one of another class.
void check_swap(std::span<const Data> data) {
  for (const Data& of : data) {
    const std::vector<std::int32_t> y = labels(of, Split::test);
    if (std::ranges::adjacent_find(y, std::ranges::not_equal_to{}) == y.end())
      fail(ErrorKind::data,
           "--measure swap: with data seed {} all {} test rows are of one class, and no row can give another "
           "its coordinates (give more with --test, or leave swap out)",
           seed(of), y.size());
    if (std::holds_alternative<ArrayData>(of)) return;  // the others have the same rows
  }
}

void check_settled(const Field& field, const Case& before, const Case& after) {
  const auto settled = before.settled.find(field.flag);
  if (settled == before.settled.end() || field.get(before) == field.get(after)) return;
  fail(ErrorKind::usage,
       "--{}: {} contradicts --{}, by which case '{}' has {} (leave the flag out, or that case)", field.flag,
       field.get(after), settled->second, before.name, field.get(before));
}

void check_idle(const std::vector<Field>& table, const std::vector<Case>& own,
                const std::vector<PlannedCase>& cases, const Options& options) {
  for (const Field& field : table) {
    if (!field.matters || !options.given(field.flag)) continue;
    if (std::ranges::any_of(cases, [&](const PlannedCase& c) { return field.matters(c.settings); })) continue;
    for (const std::string& text : options.fields.at(field.flag))
      for (Case c : own) {
        const std::string before = field.get(c);
        field.set(c, text);
        require(field.get(c) == before, "--{}: {} means nothing without {}", field.flag, text, field.needs);
      }
  }
}

void check_case(const PlannedCase& planned, int dim, const Options& options) {
  const Case& c = planned.settings;
  if (!c.shapes) {
    check_coordinates("simple", c.simple, dim);
    require(!planned.complement.empty(), "--simple: S holds all {} coordinates and leaves none for S^c", dim);
  }
  for (const auto& [name, coordinates] : c.measures.groups) check_coordinates("groups", coordinates, dim);
  double subsets = 0;
  for (int size : c.measures.subset_sizes) {
    require(size <= dim, "--measure: subset:{} is larger than the {} dimensions", size, dim);
    subsets += subsets_of(dim, size);
  }
  require(subsets <= static_cast<double>(kMostSubsets),
          "--measure: {:.0f} subsets are more than {}; take smaller ones", subsets, kMostSubsets);
  if (c.measures.swap) check_swap(planned.data);
  in_flags(c, [&] { validate(c.network); });
  require(std::isfinite(c.initialization.scale) && c.initialization.scale > 0,
          "--init-scale: {} is not a positive number", c.initialization.scale);
  if (c.training.adversary)
    in_flags(
        c, [&] { validate(*c.training.adversary, c.network.classes); }, "adversary");
  in_flags(c, [&] { validate(c.training, rows(planned.data.front(), Split::train), c.network); });
  const AttackSuite suite = c.attacks.suite(0);
  const auto check_attack = [&](const char* flags, const auto& attack) {
    if (attack)
      in_flags(
          c, [&] { validate(*attack, c.network.classes); }, flags);
  };
  check_attack("attack", suite.pgd);
  check_attack("svd-attack", suite.svd_uap);
  check_attack("as", suite.as_uap);
  check_attack_bounds(c.attacks, planned.data, select_device("cpu", options.threads).threads);
}

void check_votes(const Case& c, const Options& options, std::span<const Seeds> seeds) {
  if (c.votes.sizes.empty()) return;
  const auto repeats = [](auto values) {
    std::sort(values.begin(), values.end());
    return std::adjacent_find(values.begin(), values.end()) != values.end();
  };
  for (const int size : c.votes.sizes)
    require(size >= 1 && size <= kMostVoters, "--vote-sizes: {} is outside 1 … {}", size, kMostVoters);
  require(!repeats(c.votes.sizes), "--vote-sizes: a size is given twice");
  for (const Seeds& of : seeds)  // voter_seeds would wrap, and two votes have the same networks
    require(std::max(of.init, of.order) < (std::uint64_t{1} << 32) / kMostVoters,
            "seed {}: of votes, seeds of initialisation and order are below {}", std::max(of.init, of.order),
            (std::uint64_t{1} << 32) / kMostVoters);
  require(!c.votes.combiners.empty() && !repeats(c.votes.combiners),
          "--combiner: none, or one of them twice");
  require(c.network.outputs() >= 2 || std::ranges::count(c.votes.combiners, Combiner::softmax) == 0,
          "--combiner: softmax needs two outputs, and --loss {} has one (take average)",
          c.network.loss == Loss::hinge ? "hinge" : "binary_cross_entropy");
  require(options.save.empty(), "--save: votes keep neither weights nor data");
  require(!options.measure_at_checks, "--measure-at-checks: votes are held at the end alone");
  const Measures& m = c.measures;
  require(!c.attacks.any(), "--measure: votes are not attacked");
  require(!m.per_coordinate && m.subset_sizes.empty() && !m.swap && !m.predictions,
          "--measure: votes are measured on the S-, S^c- and group-randomised sets alone (--groups)");
}

}  // namespace occam::experiment
