// The file of --config, beside what CLI11 reads of it.
#pragma once

#include <istream>
#include <string>

namespace occam::experiment {

// no-rotate is rotate, too.
std::string without_no(const std::string& flag);

// Refuses what CLI11 would take silently or wrongly: a key given twice, one without a value, a list that is not closed,
// begins with an end of line or holds a comment; and sections. Throws usage errors. name: of the file.
void check_config(const std::string& name, std::istream& file);

}  // namespace occam::experiment
