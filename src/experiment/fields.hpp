// The settings of a case that have a flag. One table serves the command line, --print-config, case names and
// the config recorded in result.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "occam/experiment.hpp"

namespace occam::experiment {

struct Field {
  enum class Room { data, network, training, attack, computation };

  std::string flag;  // "weight-decay"
  Room room = Room::data;
  std::string help;
  bool boolean = false;
  bool recipe = false;  // describes generated data: means nothing for a user's own
  std::function<void(Case&, const std::string& text)> set = {};
  std::function<std::string(const Case&)> get =
      {};  // text that `set` reads back; empty function: a shorthand
  std::function<nlohmann::json(const Case&)> json = {};  // as recorded
  std::vector<std::string> shorthand_for = {};           // flags that this one sets together
  // Whether it means something in a case (empty: always), and the flags that make it so: "--measure pgd".
  std::function<bool(const Case&)> matters = {};
  std::string needs = {};
};

// What an experiment's cases generate.
enum class DataKind { slab, shapes };

// Shorthands come before the fields they stand for, so a field's own flag wins.
const std::vector<Field>& fields(DataKind kind = DataKind::slab);

// Those of ShapeRecipe.
std::vector<Field> shape_fields();

// The resolved settings of a case: every field, S, measures and which model is evaluated. `user_data` leaves
// out the fields of generated data.
nlohmann::ordered_json config_of(const Case& c, bool user_data);

}  // namespace occam::experiment
