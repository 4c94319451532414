// What a run leaves behind, read.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace occam::end_to_end {

nlohmann::json read_json(const std::string& path);
// result.json of an experiment's folder.
nlohmann::json result_of(const std::string& folder);

}  // namespace occam::end_to_end
