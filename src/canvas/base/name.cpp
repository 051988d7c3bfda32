#include "canvas/base/name.h"

#include <mutex>
#include <unordered_set>

namespace canvas {

void Name::keep(std::string_view text) {
  static std::mutex guard;
  static auto* const texts = new std::unordered_set<std::string>;  // outlives all names; its entries never move
  const std::lock_guard lock(guard);
  auto address = reinterpret_cast<uintptr_t>(&*texts->emplace(text).first);
  for (size_t i = 0; i < kMost; ++i, address >>= 8) text_[i] = static_cast<char>(address & 0xff);
  text_[kMost] = 1;
}

const std::string* Name::kept() const {
  uintptr_t address = 0;
  for (size_t i = kMost; i-- > 0;) address = address << 8 | static_cast<unsigned char>(text_[i]);
  return reinterpret_cast<const std::string*>(address);
}

}  // namespace canvas
