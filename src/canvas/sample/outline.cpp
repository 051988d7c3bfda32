#include "canvas/sample/outline.h"

#include <algorithm>
#include <bit>

namespace canvas {

Outline::Outline(const Signature& signature) : signature_(signature) {
  constexpr size_t kUsual = 16;  // values; room for so many is made at once
  values_.reserve(kUsual);
  marks_.reserve(kUsual);
  uses_.reserve(kUsual);
  loose_.reserve(kUsual);
  axes_.reserve(2 * kUsual);
  for (const Axis& axis : signature.to) {
    result_ |= bit(axis);
    if (axis.role != Role::kSpatial) channel_ |= bit(axis);
  }
  for (const Axis& axis : signature.to) {
    if (axis.role == Role::kSpatial) named_.push_back(bit(axis));
  }
}

Outline::Outline(const Builder& builder) : Outline(builder.signature()) {
  for (const Node& node : builder.nodes()) add(node);
}

size_t Outline::place(const Axis& axis) const {
  for (size_t i = 0; i < axes_.size(); ++i) {
    if (axes_[i].name == axis.name && axes_[i].size == axis.size) return i;
  }
  return kUnknown;
}

Outline::Value Outline::changed(Value value, const Axes& axes, const AxisNames& without, const Axes& with) const {
  for (const Name& name : without) {
    const int found = find_axis(axes, name);
    if (found < 0) continue;
    const Set gone = Set{1} << place(axes[static_cast<size_t>(found)]);
    value.axes &= ~gone;
    value.places &= ~gone;
  }
  for (const Axis& axis : with) {
    const size_t known = place(axis);
    value.axes |= known == kUnknown ? kFresh : Set{1} << known;
  }
  return value;
}

Outline::Set Outline::bit(const Axis& axis) {
  if (const size_t known = place(axis); known != kUnknown) return Set{1} << known;
  if (axes_.size() >= kMostAxes) {
    lost_ = true;
    return 0;
  }
  const Set own = Set{1} << axes_.size();
  axes_.push_back(axis);
  size_t position = 0;
  for (const Axis& wanted : signature_.to) {
    if (wanted.role != Role::kSpatial) continue;
    if (wanted.name == axis.name && position < named_.size()) named_[position] |= own;
    ++position;
  }
  const int wanted = find_axis(signature_.to, axis.name);
  if (wanted < 0) {
    foreign_ |= own;
    return own;
  }
  const Size excess = axis.size / signature_.to[static_cast<size_t>(wanted)].size;
  if (excess.exponent(kStride) > 0) strided_ |= own;
  if (excess.denominator() > 1) longer_ |= own;
  return own;
}

Outline::Value Outline::outlined(const Axes& axes) {
  Value value;
  for (const Axis& axis : axes) {
    const Set own = bit(axis);
    value.axes |= own;
    if (axis.role == Role::kSpatial) value.places |= own;
  }
  return value;
}

void Outline::add(const Node& node) {
  marks_.push_back(axes_.size());
  for (int input : node.inputs) {
    if (uses_[static_cast<size_t>(input)]++ == 0) loose_.erase(std::find(loose_.begin(), loose_.end(), input));
  }
  loose_.push_back(static_cast<int>(values_.size()));
  uses_.push_back(0);
  values_.push_back(outlined(node.axes));
}

void Outline::pop(const Node& last) {
  loose_.pop_back();
  uses_.pop_back();
  values_.pop_back();
  for (int input : last.inputs) {
    if (--uses_[static_cast<size_t>(input)] == 0)
      loose_.insert(std::lower_bound(loose_.begin(), loose_.end(), input), input);
  }
  axes_.resize(marks_.back());
  marks_.pop_back();
  const Set kept = (Set{1} << axes_.size()) - 1;
  for (Set* set : {&strided_, &longer_, &foreign_}) *set &= kept;
  for (Set& set : named_) set &= kept;
}

int Outline::conversions(const Value& value) const {
  return is_unmixed(value) + ((value.places & strided_) != 0) + ((value.places & longer_) != 0) +
         ((value.places & foreign_) != 0);
}

bool Outline::covers(Set all) const {
  return std::all_of(named_.begin(), named_.end(), [&](Set named) { return (all & named) != 0; });
}

template <class Each>
Outline::Way Outline::way_of(const Each& each, bool input_open) const {
  Set all = 0;
  bool channels = false;
  int joins = -1, separately = 0, mixes = 0;
  Value largest;
  const auto visit = [&](const Value& value) {
    ++joins;
    all |= value.axes;
    channels = channels || value.others() != 0;
    separately += conversions(value);
    mixes += is_unmixed(value);
    if (joins == 0 || std::popcount(value.axes) > std::popcount(largest.axes)) largest = value;
  };
  each(visit);
  if (!(channels && covers(all)) && !input_open) visit(values_[0]);
  if (all == largest.axes) return {joins + conversions(largest), is_unmixed(largest)};
  return {joins + separately, mixes};
}

std::vector<int> Outline::open_values() const {
  std::vector<int> values = loose_;
  Set all = 0;
  bool channels = false;
  for (int index : loose_) {
    all |= value(index).axes;
    channels = channels || value(index).others() != 0;
  }
  if (!(channels && covers(all)) && !is_loose(0)) values.push_back(0);
  return values;
}

Outline::Way Outline::way() const {
  const auto each = [&](const auto& visit) {
    for (int value : loose_) visit(values_[static_cast<size_t>(value)]);
  };
  return way_of(each, is_loose(0));
}

int Outline::bound() const {
  const int steps = way().steps;
  return values_.size() == 1 ? std::max(1, steps) : steps;
}

int Outline::bound_after(int used, int also, const Value& made) const {
  const auto each = [&](const auto& visit) {
    for (int value : loose_) {
      if (value != used && value != also) visit(values_[static_cast<size_t>(value)]);
    }
    visit(made);
  };
  return way_of(each, used != 0 && also != 0 && is_loose(0)).steps;
}

}  // namespace canvas
