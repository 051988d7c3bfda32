// A partial kernel as a closing sees it: its values as sets of axes, and which of them nothing uses yet. It grows and shrinks with the
// kernel, so that growth asks what its steps leave to be done in a few operations on words, and of most steps before it makes them.
#pragma once

#include <cstdint>
#include <vector>

#include "canvas/ir/builder.h"

namespace canvas {

class Outline {
 public:
  // One bit for each axis of one name and one size.
  using Set = uint64_t;
  struct Value {
    Set axes = 0, places = 0;  // all of them, and those that are positions
    Set others() const { return axes & ~places; }
  };
  static constexpr size_t kMostAxes = 60;  // in all values together

  explicit Outline(const Signature& signature);
  // All that the builder holds.
  explicit Outline(const Builder& builder);

  // The value that the next node makes; the last one is taken back before the builder forgets it.
  void add(const Node& node);
  void pop(const Node& last);

  const Few<Value, 16>& values() const { return values_; }
  const Value& value(int index) const { return values_[static_cast<size_t>(index)]; }
  // The values that nothing uses, in order.
  const std::vector<int>& loose() const { return loose_; }
  bool is_loose(int value) const { return uses_[static_cast<size_t>(value)] == 0; }
  // Its axes are all those of the result and no others.
  bool complete() const { return loose_.size() == 1 && value(loose_[0]).axes == result_; }

  // The open values: those that nothing uses, and the input again where they alone could never cover the result's axes.
  std::vector<int> open_values() const;
  // An upper bound on the steps that close the kernel: every open value is converted to the result's axes, and they are joined, before or
  // after that.
  int bound() const;
  // How many of those steps mix a value into the result's channels, and have weights unless a merge can do it.
  int mixes() const { return way().mixes; }
  // The same after a step that reads one value, or two, and makes one of these axes.
  int bound_after(int used, const Value& made) const { return bound_after(used, used, made); }
  int bound_after(int used, int also, const Value& made) const;
  // These axes and another one, of a name that is new.
  Value widened(const Value& value) const { return {value.axes | kFresh, value.places}; }

  // What a value of these axes has left without some of them, but with others.
  Value changed(Value value, const Axes& axes, const AxisNames& without, const Axes& with) const;

  // Whether a value has an axis other than positions, and these are the result's channels alone.
  bool is_mixed(const Value& value) const { return value.others() == channel_; }

  Set result() const { return result_; }
  Set channel() const { return channel_; }
  // The bit of an axis, which gets one if it has none; 0 where there are too many.
  Set bit(const Axis& axis);
  Value outlined(const Axes& axes);
  const std::vector<Axis>& axes() const { return axes_; }
  const Signature& signature() const { return signature_; }
  // Axes that still have to stride, and those that were made shorter than the result's by a whole number.
  Set strided() const { return strided_; }
  Set longer() const { return longer_; }
  // Little room for other axes is left.
  bool crowded() const { return axes_.size() > kMostAxes - 12; }
  // There were too many axes: nothing can be said.
  bool lost() const { return lost_; }

 private:
  static constexpr Set kFresh = Set{1} << 63;

  static constexpr size_t kUnknown = SIZE_MAX;
  size_t place(const Axis& axis) const;
  struct Way {
    int steps = 0, mixes = 0;
  };
  bool is_unmixed(const Value& value) const { return value.others() != 0 && !is_mixed(value); }
  int conversions(const Value& value) const;
  // Whether values that have all these axes between them can become the result.
  bool covers(Set all) const;
  // Calls each(visit) to go through the values that are to be joined.
  template <class Each>
  Way way_of(const Each& each, bool input_open) const;
  Way way() const;

  const Signature& signature_;
  std::vector<Axis> axes_;
  Few<Value, 16> values_;
  Few<size_t, 16> marks_;  // axes known before each value
  Few<int, 16> uses_;
  std::vector<int> loose_;
  Set result_ = 0, channel_ = 0, strided_ = 0, longer_ = 0, foreign_ = 0;
  Few<Set, 4> named_;  // by position of the result: the axes of its name
  bool lost_ = false;
};

}  // namespace canvas
