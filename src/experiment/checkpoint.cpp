#include "experiment/checkpoint.hpp"

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <type_traits>

#include <zlib.h>

#include "occam/error.hpp"

namespace occam::experiment {
namespace {

constexpr char kMagic[8] = {'O', 'C', 'C', 'A', 'M', 'C', 'K', 'P'};
constexpr std::uint32_t kVersion = 3;

std::uint32_t crc_of(const char* bytes, std::size_t size) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes), size));
}

// ---- one visitor serves writing and reading ---------------------------------------------------------------
struct Out {
  std::ofstream& file;
  std::uint32_t crc = 0;

  void bytes(const void* data, std::size_t size) {
    if (size == 0) return;  // of nothing at no address zlib makes the CRC of a new file
    crc = static_cast<std::uint32_t>(crc32_z(crc, static_cast<const Bytef*>(data), size));
    file.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
  }
  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void operator()(const T& value) { bytes(&value, sizeof value); }
  void size(std::size_t& count) { (*this)(static_cast<std::uint64_t>(count)); }
};

struct In {
  const char* at;
  const char* end;

  void bytes(void* data, std::size_t size) {
    if (size == 0) return;
    if (static_cast<std::size_t>(end - at) < size) throw std::out_of_range("checkpoint");
    std::memcpy(data, at, size);
    at += size;
  }
  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void operator()(T& value) { bytes(&value, sizeof value); }
  void size(std::size_t& count) {
    std::uint64_t value = 0;
    (*this)(value);
    if (value > static_cast<std::uint64_t>(end - at)) throw std::out_of_range("checkpoint");
    count = value;
  }
};

template <class Archive>
void visit(Archive& archive, std::string& text) {
  std::size_t count = text.size();
  archive.size(count);
  text.resize(count);
  archive.bytes(text.data(), count);
}

template <class Archive, class T>
void visit(Archive& archive, std::vector<T>& values) {
  std::size_t count = values.size();
  archive.size(count);
  values.resize(count);
  if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::byte>) {
    archive.bytes(values.data(), count * sizeof(T));
  } else {
    for (T& value : values) visit(archive, value);
  }
}

template <class Archive>
void visit(Archive& archive, Score& score) {
  archive(score.accuracy);
  archive(score.loss);
  visit(archive, score.auc);
}

template <class Archive>
void visit(Archive& archive, std::optional<Score>& score) {
  bool there = score.has_value();
  archive(there);
  if (there && !score) score.emplace();
  if (there) visit(archive, *score);
}

template <class Archive>
void visit(Archive& archive, Check& check) {
  archive(check.updates);
  archive(check.periodic);
  archive(check.final);
  for (double* value : {&check.train_accuracy, &check.train_loss, &check.validation_accuracy,
                        &check.validation_loss, &check.test_accuracy, &check.test_loss})
    archive(*value);
  visit(archive, check.randomized);
  visit(archive, check.further);
  visit(archive, check.pgd);
}

template <class Archive>
void visit(Archive& archive, std::pair<std::string, double>& metric) {
  visit(archive, metric.first);
  archive(metric.second);
}

template <class Archive>
void visit(Archive& archive, MemberArray& array) {
  visit(archive, array.name);
  archive(array.type);
  archive(array.single);
  visit(archive, array.shape);
  visit(archive, array.bytes);
}

template <class Archive>
void visit(Archive& archive, MemberHistory& history) {
  visit(archive, history.checks);
  archive(history.updates);
  archive(history.status);
  archive(history.best_check);
}

template <class Archive>
void visit(Archive& archive, MemberState& state) {
  archive(state.training.updates);
  visit(archive, state.training.optimizer);
  visit(archive, state.last);
  visit(archive, state.best);
  visit(archive, state.history);
}

template <class Archive>
void visit(Archive& archive, MemberRecord& record) {
  visit(archive, record.history);
  visit(archive, record.metrics);
  visit(archive, record.arrays);
}

}  // namespace

std::size_t Checkpoint::members() const {
  std::set<std::pair<int, int>> all;
  for (const auto& [place, record] : records) all.insert(place);
  for (const auto& [place, state] : states) all.insert({std::get<0>(place), std::get<1>(place)});
  return all.size();
}

void write_checkpoint(const std::filesystem::path& path, std::uint64_t key, const Seconds& seconds,
                      const Records& records, const States& states) {
  const std::filesystem::path temporary = path.parent_path() / ".partial-checkpoint";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  Out out{file};
  out.bytes(kMagic, sizeof kMagic);
  out(kVersion);
  out(key);
  for (double value : {seconds.data, seconds.train, seconds.measure, seconds.total}) out(value);
  out(static_cast<std::uint64_t>(records.size()));
  for (const auto& [place, record] : records) {
    out(place.first);
    out(place.second);
    visit(out, const_cast<MemberRecord&>(record));  // Out only reads
  }
  out(static_cast<std::uint64_t>(states.size()));
  for (const auto& [place, state] : states) {
    const auto [planned_case, member, network] = place;
    out(planned_case);
    out(member);
    out(network);
    visit(out, const_cast<MemberState&>(state));
  }
  const std::uint32_t crc = out.crc;
  file.write(reinterpret_cast<const char*>(&crc), sizeof crc);
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path, error);
  if (!file || error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    fail(ErrorKind::data, "{}: cannot write the checkpoint (is the disk full?)", path.string());
  }
}

std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) return std::nullopt;
  if (std::filesystem::is_directory(status))
    fail(ErrorKind::data, "{}: is a folder, where the checkpoint belongs (remove it)", path.string());
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail(ErrorKind::data, "{}: the checkpoint cannot be read (make it readable, or remove it to start anew)",
         path.string());
  const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  const auto damaged = [&] {
    fail(ErrorKind::data, "{}: the checkpoint is damaged (remove it to start anew)", path.string());
  };
  std::uint32_t crc = 0;
  if (content.size() < sizeof kMagic + 2 * sizeof crc ||
      std::memcmp(content.data(), kMagic, sizeof kMagic) != 0)
    damaged();
  const std::size_t body = content.size() - sizeof crc;
  std::memcpy(&crc, content.data() + body, sizeof crc);
  if (crc != crc_of(content.data(), body)) damaged();
  In in{content.data() + sizeof kMagic, content.data() + body};
  std::uint32_t version = 0;
  in(version);
  Checkpoint checkpoint;
  if (version != kVersion) return checkpoint;  // key 0: another version's
  try {
    in(checkpoint.key);
    for (double* value : {&checkpoint.seconds.data, &checkpoint.seconds.train, &checkpoint.seconds.measure,
                          &checkpoint.seconds.total})
      in(*value);
    std::uint64_t count = 0;
    in(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      std::pair<int, int> place;
      in(place.first);
      in(place.second);
      visit(in, checkpoint.records[place]);
    }
    in(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      int planned_case = 0, member = 0, network = 0;
      in(planned_case);
      in(member);
      in(network);
      visit(in, checkpoint.states[{planned_case, member, network}]);
    }
  } catch (const std::out_of_range&) {
    damaged();
  }
  return checkpoint;
}

}  // namespace occam::experiment
