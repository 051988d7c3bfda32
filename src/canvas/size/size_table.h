// What is known of sizes, or of counts, by size, for who asks of the same few again and again.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "canvas/size/size.h"

namespace canvas {

template <class Known, class Key = Size>
class SizeTable {
 public:
  SizeTable() : slots_(kFirstSlots, kEmpty) {}

  // The place of a size among those known, in the order in which they came, and whether it is new: then what is known of it is Known{}.
  std::pair<size_t, bool> place(const Key& size) {
    if (entries_.size() * 2 >= slots_.size()) rehash(slots_.size() * 2);
    const size_t slot = slot_of(size);
    if (slots_[slot] != kEmpty) return {slots_[slot], false};
    slots_[slot] = static_cast<uint32_t>(entries_.size());
    entries_.push_back({size, {}});
    return {entries_.size() - 1, true};
  }
  Known& operator[](size_t place) { return entries_[place].known; }
  const Known& operator[](size_t place) const { return entries_[place].known; }

  size_t size() const { return entries_.size(); }
  void clear() {
    entries_.clear();
    slots_.assign(kFirstSlots, kEmpty);
  }

 private:
  static constexpr size_t kFirstSlots = 256;
  static constexpr uint32_t kEmpty = UINT32_MAX;
  struct Entry {
    Key size;
    Known known;
  };

  size_t slot_of(const Key& size) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = size.mixed() & mask;
    while (slots_[slot] != kEmpty && !(entries_[slots_[slot]].size == size)) slot = (slot + 1) & mask;
    return slot;
  }
  void rehash(size_t slots) {
    slots_.assign(slots, kEmpty);
    for (size_t i = 0; i < entries_.size(); ++i) slots_[slot_of(entries_[i].size)] = static_cast<uint32_t>(i);
  }

  std::vector<uint32_t> slots_;
  std::vector<Entry> entries_;
};

}  // namespace canvas
