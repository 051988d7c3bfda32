// A kernel as the canonical form works on it: axes are small integers, lists have a fixed place, nothing is inferred but which axes a value
// has. So a rewrite moves a few numbers, and names and sizes are put together once, at the end. Used by the canonical form; `hash_text` by the search too.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>
#include <vector>

#include "canvas/ir/kernel.h"
#include "canvas/ir/primitive.h"

namespace canvas {

// Of a primitive's, or an axis's, name.
uint64_t hash_text(std::string_view text);

// A short list in place; what is pushed beyond N is refused.
template <class T, int N>
class List {
 public:
  int size() const { return count_; }
  bool empty() const { return count_ == 0; }
  T* begin() { return items_.data(); }
  T* end() { return items_.data() + count_; }
  const T* begin() const { return items_.data(); }
  const T* end() const { return items_.data() + count_; }
  T& operator[](int place) { return items_[static_cast<size_t>(place)]; }
  const T& operator[](int place) const { return items_[static_cast<size_t>(place)]; }
  bool push(const T& item) {
    if (count_ == N) return false;
    items_[static_cast<size_t>(count_++)] = item;
    return true;
  }
  // Puts one in front of the place.
  bool insert(int place, const T& item) {
    if (!push(item)) return false;
    std::rotate(begin() + place, end() - 1, end());
    return true;
  }
  void erase(int place) { count_ = static_cast<int>(std::move(begin() + place + 1, end(), begin() + place) - begin()); }
  void clear() { count_ = 0; }
  // Stable, and without a buffer.
  template <class Less>
  void sort(const Less& less) {
    for (T* last = begin(); last != end(); ++last) {
      for (T* at = last; at != begin() && less(*at, *(at - 1)); --at) std::swap(*at, *(at - 1));
    }
  }
  template <class Test>
  void erase_if(const Test& test) {
    count_ = static_cast<int>(std::remove_if(begin(), end(), test) - begin());
  }
  int find(const T& item) const {
    const T* found = std::find(begin(), end(), item);
    return found == end() ? -1 : static_cast<int>(found - begin());
  }
  bool has(const T& item) const { return find(item) >= 0; }
  bool operator==(const List& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

 private:
  int count_ = 0;
  std::array<T, N> items_;
};

constexpr int kMostOfList = 16;  // axes of a value, and so of every list (Builder holds to it)
constexpr int kMostOperands = 8;
using AxisIds = List<int, kMostOfList>;

struct Step {
  struct Made {
    int axis;
    int size;  // in Program::sizes
  };
  struct Item {
    int axis;
    int made;  // negative for none
    int amount;
    int offset;
  };

  const Primitive* primitive = nullptr;  // null for the input
  uint64_t code = 5;                     // of the primitive's name
  int origin = 0;                        // the value of the original kernel that it stands for
  int mode = 0, dilation = 1;
  bool takes_listed = false, takes_items = false;  // whether the axes of `from`, those of `items` are gone afterwards
  List<int, kMostOperands> inputs;
  AxisIds from, per;
  List<Made, kMostOfList> to;
  List<Item, kMostOfList> items;
  AxisIds axes;  // of its value

  bool is(Property property) const { return primitive && primitive->is(property); }
  bool linear() const { return is(kLinear) || (primitive && (primitive->linear_modes >> mode & 1) != 0); }
  // True where the order of its lists carries meaning (split, merge, a neighbourhood).
  bool ordered() const { return is(kOrdered) && (items.empty() || !per.empty()); }
  // Whether it is one step after another: one operand.
  bool links() const { return primitive && inputs.size() == 1; }
  bool makes(int axis) const;
  // The axes that it reads along, makes, or tells apart.
  template <class Visit>
  void each_touched(const Visit& visit) const {
    for (int axis : from) visit(axis);
    for (int axis : per) visit(axis);
    for (const Made& made : to) visit(made.axis);
    for (const Item& item : items) {
      visit(item.axis);
      if (item.made >= 0) visit(item.made);
    }
  }
  bool touches(int axis) const;
  // Of those, the axes along which it does more than to each index what it does to that index alone: a weight per channel does not mix them.
  bool mixes(int axis) const;
};

// Whether an axis is touched by both, and mixed by one of them.
bool meet(const Step& left, const Step& right);

class Program {
 public:
  explicit Program(const Kernel& kernel);

  std::vector<Step> steps;         // those of `order` count; 0 is the input
  std::vector<Size> sizes;         // what attributes say
  std::vector<int> order;          // topological: operands before users, the result last
  std::vector<int> uses;           // of each value, the result's own use included
  std::vector<int> user;           // one of those that use a value; negative for none
  std::vector<const Axis*> fixed;  // the signature's axes: ids below its size have these names
  AxisIds wanted;                  // the axes of the result
  int axis_count = 0;              // ids are below
  int result = 0;

  Step& step(int value) { return steps[static_cast<size_t>(value)]; }
  const Step& step(int value) const { return steps[static_cast<size_t>(value)]; }
  bool is_fixed(int axis) const { return axis < static_cast<int>(fixed.size()); }
  // The only user of a one-operand step, or its operand used by nothing else, where that is one, too; else -1.
  int next(int value) const {
    const int by = user[static_cast<size_t>(value)];
    return by >= 0 && used_once(value) && step(by).links() ? by : -1;
  }
  int previous(int value) const {
    if (!step(value).links()) return -1;
    const int operand = step(value).inputs[0];
    return step(operand).links() && used_once(operand) ? operand : -1;
  }
  bool used_once(int value) const { return uses[static_cast<size_t>(value)] == 1; }

  // To be called after a change: what the result needs, in order, with its axes. False where a value would have an axis twice or too many.
  bool refresh();
  // Puts one value in the place of another, everywhere.
  void replace(int value, int by);
  // Gives every axis that the signature does not name, and that is joined with no other, an id of its own.
  void separate();
  // Whether two axes may be one: no value has both, and no step joins what was apart.
  bool may_unite(int left, int right) const;
  void unite(int left, int right);
  bool same_size(int left, int right) const {
    return sizes[static_cast<size_t>(left)] == sizes[static_cast<size_t>(right)];
  }

 private:
  bool infer(Step& step) const;
  void visit(int value);
};

}  // namespace canvas
