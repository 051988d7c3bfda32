#include "canvas/analyze/flow.h"

#include <algorithm>
#include <utility>

#include "canvas/base/error.h"

namespace canvas {

namespace {

using Mask = uint64_t;

constexpr int64_t kMostChannels = 64;
// The bits of a position axis: depends on any position, on the centre by itself, on a summary of all.
constexpr Mask kAny = 1, kCentre = 2, kSummary = 4;

// An axis, by the number of its name.
struct Place {
  int axis;
  int64_t extent;
  bool operator==(const Place&) const = default;
};

// Masks of a value's elements over those axes along which they differ, row-major; over none: one mask for all.
struct Masks {
  std::vector<Place> axes;
  std::vector<Mask> data = {0};
};

int position_of(const std::vector<Place>& axes, int axis) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].axis == axis) return static_cast<int>(i);
  }
  return -1;
}

std::vector<int64_t> strides_of(const std::vector<Place>& axes) {
  std::vector<int64_t> strides(axes.size(), 1);
  for (size_t i = axes.size(); i-- > 1;) strides[i - 1] = strides[i] * axes[i].extent;
  return strides;
}

// Calls visit(index, offset) for every index over the axes, row-major; offset: the sum of index times stride.
template <class Visit>
void each_element(const std::vector<Place>& axes, const std::vector<int64_t>& strides, const Visit& visit) {
  std::vector<int64_t> index(axes.size(), 0);
  int64_t offset = 0;
  for (size_t axis = 0; true;) {
    visit(index, offset);
    for (axis = axes.size(); axis > 0; --axis) {
      offset += strides[axis - 1];
      if (++index[axis - 1] < axes[axis - 1].extent) break;
      offset -= strides[axis - 1] * axes[axis - 1].extent;
      index[axis - 1] = 0;
    }
    if (axis == 0) return;
  }
}

size_t elements_of(const std::vector<Place>& axes) {
  int64_t count = 1;
  for (const Place& axis : axes) count *= axis.extent;
  return static_cast<size_t>(count);
}

// The masks over `axes` in this order, among which are all their own.
Masks arranged(const Masks& masks, const std::vector<Place>& axes) {
  if (masks.axes == axes) return masks;
  const std::vector<int64_t> own = strides_of(masks.axes);
  std::vector<int64_t> strides(axes.size(), 0);
  for (size_t i = 0; i < own.size(); ++i) strides[static_cast<size_t>(position_of(axes, masks.axes[i].axis))] = own[i];
  Masks result{axes, {}};
  result.data.reserve(elements_of(axes));
  each_element(axes, strides, [&](const std::vector<int64_t>&, int64_t offset) {
    result.data.push_back(masks.data[static_cast<size_t>(offset)]);
  });
  return result;
}

// Takes together all elements along the axes that are not among those kept.
void keep(Masks& masks, const std::vector<Place>& kept) {
  for (size_t at = masks.axes.size(); at-- > 0;) {
    if (position_of(kept, masks.axes[at].axis) >= 0) continue;
    const auto inner = static_cast<size_t>(strides_of(masks.axes)[at]);
    const size_t outer = inner * static_cast<size_t>(masks.axes[at].extent);
    std::vector<Mask> data(masks.data.size() / outer * inner, 0);
    for (size_t i = 0; i < masks.data.size(); ++i) data[i / outer * inner + i % inner] |= masks.data[i];
    masks.data = std::move(data);
    masks.axes.erase(masks.axes.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// Those over the axes of both, in the order in which they are met.
std::vector<Place> joint_axes(std::vector<Place> axes, const std::vector<Place>& more) {
  for (const Place& place : more) {
    if (position_of(axes, place.axis) < 0) axes.push_back(place);
  }
  return axes;
}

Masks united(const Masks& left, const Masks& right) {
  const std::vector<Place> axes = joint_axes(left.axes, right.axes);
  Masks result = arranged(left, axes);
  const Masks other = arranged(right, axes);
  for (size_t i = 0; i < result.data.size(); ++i) result.data[i] |= other.data[i];
  return result;
}

// The masks read otherwise along `axis`, which gets the extent given: element i is what stood at source(i, j), and nothing where that is
// outside. j is the index along `beside`, an axis that is added if need be; 0 without one.
template <class Source>
Masks moved(const Masks& masks, Place axis, const Place* beside, Source source) {
  const auto at = static_cast<size_t>(position_of(masks.axes, axis.axis));
  Masks result{masks.axes, {}};
  result.axes[at].extent = axis.extent;
  if (beside) result.axes = joint_axes(std::move(result.axes), {*beside});
  const size_t second = beside ? static_cast<size_t>(position_of(result.axes, beside->axis)) : at;
  std::vector<int64_t> strides = strides_of(masks.axes);
  const int64_t along = std::exchange(strides[at], 0);
  strides.resize(result.axes.size(), 0);
  result.data.reserve(elements_of(result.axes));
  each_element(result.axes, strides, [&](const std::vector<int64_t>& index, int64_t offset) {
    const int64_t from = source(index[at], beside ? index[second] : 0);
    const bool inside = from >= 0 && from < masks.axes[at].extent;
    result.data.push_back(inside ? masks.data[static_cast<size_t>(offset + from * along)] : 0);
  });
  return result;
}

class Propagation {
 public:
  Propagation(const CoreProgram& program, const Signature& signature, const Values& values)
      : ops_(program.ops), signature_(signature), values_(values) {
    for (const Axis& axis : signature.from) {
      if (axis.role == Role::kChannel) sources_.insert(sources_.begin(), axis.name);
      if (axis.role == Role::kSpatial) sources_.push_back(axis.name);
    }
  }

  Flow run() {
    for (const CoreOp& op : ops_) {
      places_.push_back(places(op.axes));
      positional_.push_back(tells_positions(op));
      masks_.emplace_back(sources_.size() + 1);
      if (op.kind == CoreKind::kParameter) {
        masks_.back().back().data[0] = parameter_bit(parameters_.size());
        parameters_.push_back(op.name);
        continue;
      }
      for (size_t source = 0; source <= sources_.size(); ++source) masks_.back()[source] = propagated(op, source);
    }
    return read_off();
  }

 private:
  int number(const Name& name) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found != names_.end()) return static_cast<int>(found - names_.begin());
    names_.push_back(name);
    known_.emplace_back();
    return static_cast<int>(names_.size()) - 1;
  }

  int64_t whole(const Size& size) const {
    const auto value = size.evaluate(values_);
    require(value.has_value(), "the flow of a kernel whose sizes are not whole was asked for");
    return *value;
  }

  std::vector<Place> places(const Axes& axes) {
    std::vector<Place> found;
    for (const Axis& axis : axes) {
      const int at = number(axis.name);
      Known& known = known_[static_cast<size_t>(at)];
      if (known.extent == 0 || known.size != axis.size) known = {axis.size, whole(axis.size)};
      found.push_back({at, known.extent});
    }
    return found;
  }

  // An axis of a value that was propagated, or null.
  const Place* place(size_t value, const Name& name) {
    const int at = position_of(places_[value], number(name));
    return at < 0 ? nullptr : &places_[value][static_cast<size_t>(at)];
  }

  bool is_position(size_t source) const { return source > 0 && source < sources_.size(); }

  // Whether a value tells positions apart.
  bool tells_positions(const CoreOp& op) const {
    return op.kind != CoreKind::kParameter && std::any_of(op.axes.begin(), op.axes.end(), [&](const Axis& axis) {
             return axis.role == Role::kSpatial ||
                    std::find(sources_.begin() + 1, sources_.end(), axis.name) != sources_.end();
           });
  }
  bool positional(int value) const { return positional_[static_cast<size_t>(value)]; }

  // The 64th and all after it share a bit.
  static Mask parameter_bit(size_t number) { return Mask{1} << std::min<size_t>(number, 63); }

  const Masks& operand(const CoreOp& op, size_t source, size_t which = 0) const {
    return masks_[static_cast<size_t>(op.inputs[which])][source];
  }

  // The masks of the operation whose places were put in last.
  Masks propagated(const CoreOp& op, size_t source) {
    switch (op.kind) {
      case CoreKind::kInput: return source < sources_.size() ? own(source) : Masks{};
      case CoreKind::kView: return viewed(op, source);
      case CoreKind::kIndex: return indexed(op, source);
      case CoreKind::kPick: return picked(op, source);
      case CoreKind::kPut: return op.items[0].made.empty() ? updated(op, source) : stacked(op, source);
      default: return joined(op, source);
    }
  }

  Masks own(size_t source) {
    const Place axis = *place(places_.size() - 1, sources_[source]);
    if (source == 0 && axis.extent > kMostChannels)
      throw ArgumentError("the flow is known for at most 64 input channels, got " + std::to_string(axis.extent));
    Masks masks{{axis}, {}};
    for (int64_t i = 0; i < axis.extent; ++i) {
      const Mask centre = i == axis.extent / 2 ? kCentre : 0;
      masks.data.push_back(is_position(source) ? kAny | centre : Mask{1} << i);
    }
    return masks;
  }

  // Maps, contractions, reductions, softmax: an element depends on all that its operands have at its index.
  Masks joined(const CoreOp& op, size_t source) {
    std::vector<Place> kept = places_.back();
    if (op.kind == CoreKind::kSoftmax) {
      for (const Name& name : op.from) std::erase(kept, *place(places_.size() - 1, name));
    }
    Masks all;
    for (int input : op.inputs) {
      Masks part = masks_[static_cast<size_t>(input)][source];
      keep(part, kept);
      // What does not tell positions apart is a summary to an operand that does.
      const bool repeated =
          is_position(source) && !positional(input) &&
          std::any_of(op.inputs.begin(), op.inputs.end(), [&](int other) { return positional(other); });
      if (repeated) {
        for (Mask& mask : part.data) mask = mask ? kAny | kSummary : 0;
      }
      all = input == op.inputs[0] ? std::move(part) : united(all, part);
    }
    return all;
  }

  Masks viewed(const CoreOp& op, size_t source) {
    const auto input = static_cast<size_t>(op.inputs[0]);
    const Masks& before = operand(op, source);
    std::vector<Place> from, axes;
    for (const Name& name : op.from) from.push_back(*place(input, name));
    for (const Place& axis : before.axes) {
      if (position_of(from, axis.axis) < 0) axes.push_back(axis);
    }
    if (axes.size() == before.axes.size()) return before;
    const size_t others = axes.size();
    axes.insert(axes.end(), from.begin(), from.end());
    Masks masks = arranged(before, axes);
    masks.axes.resize(others);
    for (const Axis& axis : op.to) masks.axes.push_back(*place(places_.size() - 1, axis.name));
    return masks;
  }

  Masks indexed(const CoreOp& op, size_t source) {
    const size_t result = places_.size() - 1;
    Masks masks = operand(op, source);
    int64_t neighbours = 1, later = 1;
    for (const IndexItem& item : op.items) neighbours *= item.window;
    for (size_t i = op.items.size(); i-- > 0;) {  // of a neighbourhood, the last item's changes fastest
      const IndexItem& item = op.items[i];
      const Place axis = *place(result, item.axis);
      const bool differs = position_of(masks.axes, axis.axis) >= 0;
      const int64_t stride = whole(item.stride), window = item.window, rest = later;
      later *= window;
      if (!differs) continue;
      const Place* beside = !op.over.empty()    ? place(result, op.over)
                            : item.made.empty() ? nullptr
                                                : place(result, item.made);
      masks = moved(masks, axis, beside, [&](int64_t at, int64_t j) {
        if (!op.over.empty()) j = j * neighbours / beside->extent / rest % window;
        return stride * at + item.offset + (beside ? item.dilation * (j - window / 2) : 0);
      });
    }
    return masks;
  }

  Masks picked(const CoreOp& op, size_t source) {
    Masks masks = operand(op, source);
    for (const IndexItem& item : op.items) {
      const int axis = number(item.axis);
      const int at = position_of(masks.axes, axis);
      if (at < 0) continue;
      if (const Place* kept = place(places_.size() - 1, item.axis)) {
        const int64_t stride = whole(item.stride);
        masks = moved(masks, *kept, nullptr, [&](int64_t i, int64_t) { return i / stride; });
      } else {
        masks = moved(masks, {axis, 1}, nullptr, [&](int64_t, int64_t) { return item.offset; });
        masks.axes.erase(masks.axes.begin() + at);
      }
    }
    return masks;
  }

  Masks stacked(const CoreOp& op, size_t source) {
    std::vector<Place> axes;
    for (size_t i = 0; i < op.inputs.size(); ++i) axes = joint_axes(std::move(axes), operand(op, source, i).axes);
    Masks all{{*place(places_.size() - 1, op.items[0].made)}, {}};
    all.axes.insert(all.axes.end(), axes.begin(), axes.end());
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const Masks part = arranged(operand(op, source, i), axes);
      all.data.insert(all.data.end(), part.data.begin(), part.data.end());
    }
    return all;
  }

  Masks updated(const CoreOp& op, size_t source) {
    const Place along = *place(places_.size() - 1, op.items[0].axis);
    std::vector<Place> axes = joint_axes({along}, operand(op, source, 0).axes);
    axes = joint_axes(std::move(axes), operand(op, source, 1).axes);
    Masks all = arranged(operand(op, source, 0), axes);
    const Masks part = arranged(operand(op, source, 1), axes);
    const size_t slice = all.data.size() / static_cast<size_t>(along.extent);  // the axis stands first
    const size_t first = slice * static_cast<size_t>(op.items[0].offset);
    std::copy_n(part.data.begin() + static_cast<std::ptrdiff_t>(first), slice,
                all.data.begin() + static_cast<std::ptrdiff_t>(first));
    return all;
  }

  // The result's masks along one of its axes, all other axes taken together.
  std::vector<Mask> along(const Name& axis, size_t source) {
    const Place kept = *place(places_.size() - 1, axis);
    Masks masks = masks_.back()[source];
    keep(masks, {kept});
    return arranged(masks, {kept}).data;
  }

  Flow read_off() {
    Flow flow;
    flow.channels = along(signature_.channel().name, 0);
    for (size_t source = 1; source < sources_.size(); ++source) {
      const std::vector<Mask> seen = along(signature_.channel().name, source);
      for (size_t k = 0; k < seen.size(); ++k) {
        if (seen[k] == 0) flow.channels[k] = 0;  // zero everywhere: moved outside
        flow.summary = flow.summary || (seen[k] & kSummary);
      }
    }
    for (const Axis& axis : signature_.to) {
      if (axis.role != Role::kSpatial) continue;
      std::vector<Mask> seen = along(axis.name, 1);
      for (size_t source = 2; source < sources_.size(); ++source) {
        const std::vector<Mask> more = along(axis.name, source);
        for (size_t i = 0; i < seen.size(); ++i) seen[i] &= more[i];
      }
      const auto sees = [](Mask mask) { return (mask & kCentre) != 0; };
      const auto first = std::find_if(seen.begin(), seen.end(), sees);
      const auto last = std::find_if(seen.rbegin(), seen.rend(), sees).base();
      flow.reach.push_back(first < last ? last - first : 0);
    }
    Masks used = masks_.back().back();
    keep(used, {});
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (!(used.data[0] & parameter_bit(i))) flow.dead.push_back(parameters_[i]);
    }
    return flow;
  }

  const std::vector<CoreOp>& ops_;
  const Signature& signature_;
  const Values& values_;
  AxisNames sources_;        // the input's axes: the channels, then the positions
  std::vector<Name> names_;  // of axes, by number
  struct Known {
    Size size;
    int64_t extent = 0;
  };
  std::vector<Known> known_;                // the last size and extent of each axis, which most values share
  std::vector<std::string> parameters_;     // by the bit that stands for them
  std::vector<std::vector<Place>> places_;  // the axes of each value
  std::vector<bool> positional_;
  std::vector<std::vector<Masks>> masks_;  // of each value: one a source, and the parameters'
};

}  // namespace

Flow flow(const CoreProgram& program, const Signature& signature, const Values& values) {
  return Propagation(program, signature, values).run();
}

}  // namespace canvas
