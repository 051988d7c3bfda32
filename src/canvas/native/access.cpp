#include "canvas/native/access.h"

#include <algorithm>

#include "canvas/base/error.h"

namespace canvas::native {

int64_t extent_of(const Axis& axis, const Values& values) {
  const auto extent = axis.size.evaluate(values);
  require(extent.has_value(), "an axis without a size");
  return *extent;
}

int64_t Buffer::elements() const {
  int64_t count = 1;
  for (const BufferAxis& axis : axes) count *= axis.low + axis.extent + axis.high;
  return count;
}

bool Buffer::has_margins() const {
  return std::any_of(axes.begin(), axes.end(), [](const BufferAxis& axis) { return axis.low + axis.high > 0; });
}

std::vector<int64_t> Buffer::strides() const {
  std::vector<int64_t> result(axes.size(), 1);
  for (size_t i = axes.size(); i-- > 1;) result[i - 1] = result[i] * (axes[i].low + axes[i].extent + axes[i].high);
  return result;
}

Access Buffers::all(int id) const {
  Access access{id, {}, {}};
  for (const BufferAxis& axis : (*this)[id].axes) {
    access.axes[axis.name] = {axis.extent, static_cast<int>(access.offset.size()), 1, true};
    access.offset.push_back(0);
  }
  return access;
}

std::pair<int64_t, int64_t> Buffers::arrange(const std::vector<std::pair<int, int>>& lives) {
  const auto room = [](const Buffer& buffer) {  // in lines of the cache, and one more that a wide load may touch
    return (buffer.elements() / (buffer.half ? 2 : 1) + 31) / 16 * 16;
  };
  int64_t constants = 0, kept = 0;
  for (Buffer& buffer : list_) {
    if (!buffer.can_have_margins() || (buffer.place == Place::kScratch && !buffer.has_margins())) continue;
    int64_t& end = buffer.place == Place::kConstant ? constants : kept;
    buffer.start = end;
    end += room(buffer);
  }
  int64_t scratch = kept;
  std::vector<size_t> placed;
  for (size_t id = 0; id < list_.size(); ++id) {
    Buffer& buffer = list_[id];
    if (buffer.place != Place::kScratch || buffer.has_margins()) continue;
    buffer.start = kept;
    for (bool moved = true; moved;) {  // to the first place that none in use at the same time overlaps
      moved = false;
      for (size_t other : placed) {
        const Buffer& there = list_[other];
        const bool together = lives[id].first <= lives[other].second && lives[other].first <= lives[id].second;
        if (!together || buffer.start >= there.start + room(there) || there.start >= buffer.start + room(buffer))
          continue;
        buffer.start = there.start + room(there);
        moved = true;
      }
    }
    placed.push_back(id);
    scratch = std::max(scratch, buffer.start + room(buffer));
  }
  return {constants, scratch};
}

int64_t Buffers::stride(const Access& access, const std::string& axis) const {
  const auto found = access.axes.find(axis);
  if (found == access.axes.end()) return 0;
  return found->second.times * (*this)[access.buffer].strides()[static_cast<size_t>(found->second.axis)];
}

int64_t Buffers::start(const Access& access) const {
  const Buffer& buffer = (*this)[access.buffer];
  const std::vector<int64_t> strides = buffer.strides();
  int64_t at = buffer.start;
  for (size_t i = 0; i < strides.size(); ++i) at += (buffer.axes[i].low + access.offset[i]) * strides[i];
  return at;
}

Access Buffers::split(Access access, const std::string& axis,
                      const std::vector<std::pair<std::string, int64_t>>& parts) const {
  const AxisAccess old = access.axes.at(axis);
  access.axes.erase(axis);
  int64_t times = old.times;
  for (size_t i = parts.size(); i-- > 0;) {
    const auto& [name, extent] = parts[i];
    access.axes[name] = {extent, old.axis, times, old.whole && extent == old.extent};
    times *= extent;
  }
  return access;
}

std::optional<Access> Buffers::join(Access access, const AxisNames& parts, const std::string& axis, int64_t extent) {
  std::optional<AxisAccess> inner;  // of the parts so far, from the last
  int lead = 0;                     // the axis of the buffer that the part before must run along, or lie in front of
  int64_t covered = 0;              // of its elements
  for (size_t i = parts.size(); i-- > 0;) {
    const AxisAccess part = access.axes.at(parts[i]);
    access.axes.erase(parts[i]);
    if (inner && part.extent == 1) continue;
    if (!inner || inner->extent == 1) {
      inner = part;
      lead = part.axis;
      covered = part.extent * part.times;
      continue;
    }
    BufferAxis& own = (*this)[access.buffer].axes[static_cast<size_t>(lead)];
    if (part.axis == lead && part.times == covered) {
      covered *= part.extent;
    } else if (part.axis + 1 == lead && part.times == 1 && own.low + own.high == 0 && covered == own.extent &&
               access.offset[static_cast<size_t>(lead)] == 0) {
      own.rigid = true;
      lead = part.axis;
      covered = part.extent;
    } else {
      return std::nullopt;
    }
    inner->extent *= part.extent;
    inner->whole = false;
  }
  require(inner && inner->extent == extent, "parts that do not make their axis");
  access.axes[axis] = *inner;
  return access;
}

std::optional<Access> Buffers::indexed(const CoreOp& op, Access access, const Values& values) {
  Buffer& buffer = (*this)[access.buffer];
  const bool lowest = op.function == kLowest, other = buffer.has_margins() && buffer.lowest != lowest;
  for (const IndexItem& item : op.items) {
    const AxisAccess old = access.axes.at(item.axis);
    const int64_t stride = item.stride.evaluate(values).value_or(1);
    const int64_t extent = extent_of(op.axes[static_cast<size_t>(find_axis(op.axes, item.axis))], values);
    const int64_t first = item.offset - item.dilation * (item.window / 2);
    const int64_t last = (extent - 1) * stride + first + item.dilation * (item.window - 1);
    if (first < 0 || last > old.extent - 1) {  // it reaches outside, where zeros are
      BufferAxis& axis = buffer.axes[static_cast<size_t>(old.axis)];
      if (!old.whole || axis.rigid || !buffer.can_have_margins() || other) return std::nullopt;
      buffer.lowest = lowest;
      axis.low = std::max(axis.low, -first * old.times);
      axis.high = std::max(axis.high, last * old.times - (axis.extent - 1));
    }
    access.offset[static_cast<size_t>(old.axis)] += first * old.times;
    const bool stays = first == 0 && item.window == 1 && extent * stride >= old.extent;  // none is left out at an end
    access.axes[item.axis] = {extent, old.axis, old.times * stride, old.whole && stays};
    if (!item.made.empty()) access.axes[item.made] = {item.window, old.axis, old.times * item.dilation, false};
  }
  return access;
}

std::optional<Access> Buffers::through(const CoreOp& op, const Access& operand, const Values& values) {
  if (op.kind == CoreKind::kIndex) return op.over.empty() ? indexed(op, operand, values) : std::nullopt;
  if (op.kind == CoreKind::kPick) {
    Access access = operand;
    for (const IndexItem& item : op.items) {
      if (has_axis(op.axes, item.axis)) {
        if (item.stride.evaluate(values).value_or(1) != 1) return std::nullopt;  // each element stands several times
        continue;
      }
      const AxisAccess old = access.axes.at(item.axis);
      access.offset[static_cast<size_t>(old.axis)] += item.offset * old.times;
      access.axes.erase(item.axis);
    }
    return access;
  }
  if (op.kind != CoreKind::kView) return std::nullopt;
  std::vector<std::pair<std::string, int64_t>> to;
  for (const Axis& axis : op.to) to.emplace_back(axis.name, extent_of(axis, values));
  if (op.from.size() == 1) return split(operand, op.from[0], to);
  return join(operand, op.from, to[0].first, to[0].second);
}

std::optional<Access> Buffers::back_through(const CoreOp& view, const CoreOp& operand, const Access& result,
                                            const Values& values) {
  std::vector<std::pair<std::string, int64_t>> from;
  for (const Name& name : view.from)
    from.emplace_back(name, extent_of(operand.axes[static_cast<size_t>(find_axis(operand.axes, name))], values));
  if (view.to.size() == 1) return split(result, view.to[0].name, from);
  AxisNames parts;
  for (const Axis& axis : view.to) parts.push_back(axis.name);
  return join(result, parts, from[0].first, from[0].second);
}

}  // namespace canvas::native
