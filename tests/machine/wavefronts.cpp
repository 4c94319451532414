#include "wavefronts.hpp"

#include <algorithm>
#include <set>

namespace occam::machine {
namespace {

constexpr std::size_t kLanes = 32, kBanks = 32, kWord = 4;

bool alike(const std::array<std::uint32_t, 32>& address, std::uint32_t mask, std::size_t apart) {
  for (std::size_t l = 0; l < kLanes; ++l)
    if ((mask >> l & 1) && (mask >> (l ^ apart) & 1) && address[l] != address[l ^ apart]) return false;
  return true;
}

}  // namespace

std::uint16_t wavefronts(const std::array<std::uint32_t, 32>& address, std::uint32_t mask, std::size_t bytes,
                         bool load) {
  const std::size_t words = std::max<std::size_t>(bytes / kWord, 1);
  std::size_t together = kLanes / words;
  if (load && words > 1 && (alike(address, mask, 1) || alike(address, mask, 2))) together *= 2;
  std::size_t total = 0;
  for (std::size_t part = 0; part < kLanes / together; ++part) {
    std::array<std::set<std::uint32_t>, kBanks> of_bank;
    for (std::size_t l = 0; l < kLanes; ++l)
      for (std::uint32_t w = 0; w < words && l / together == part && (mask >> l & 1); ++w) {
        const std::uint32_t word = address[l] / kWord + w;
        of_bank[word % kBanks].insert(word);
      }
    total += std::ranges::max(of_bank, {}, [](const auto& bank) { return bank.size(); }).size();
  }
  return static_cast<std::uint16_t>(total);
}

}  // namespace occam::machine
