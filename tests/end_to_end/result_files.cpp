#include "end_to_end/result_files.hpp"

#include "end_to_end/program.hpp"

namespace occam::end_to_end {

nlohmann::json read_json(const std::string& path) { return nlohmann::json::parse(content(path)); }

nlohmann::json result_of(const std::string& folder) { return read_json(folder + "/result.json"); }

}  // namespace occam::end_to_end
