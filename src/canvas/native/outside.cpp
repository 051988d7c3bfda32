#include "canvas/native/outside.h"

#include <algorithm>

#include "canvas/base/error.h"

namespace canvas::native {

namespace {

int64_t floored(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Where an access reaches along an axis of its buffer, its own axis `but` at its first step. What runs on beyond a rigid axis runs along the
// one before.
Range reach(const Access& access, const Buffer& buffer, size_t axis, const std::string& but = "") {
  Range range{access.offset[axis], access.offset[axis]};
  for (const auto& [name, how] : access.axes) {
    if (static_cast<size_t>(how.axis) != axis || name == but) continue;
    (how.times < 0 ? range.first : range.last) += how.times * (how.extent - 1);
  }
  if (axis + 1 < buffer.axes.size() && buffer.axes[axis + 1].rigid) {
    const Range inner = reach(access, buffer, axis + 1, but);
    range.first += floored(inner.first, buffer.axes[axis + 1].extent);
    range.last += floored(inner.last, buffer.axes[axis + 1].extent);
  }
  return range;
}

// The steps of a loop in which a factor does not lie in its margins for all others. These hold what changes nothing.
Range steps(const Access& factor, const Buffer& buffer, const std::string& loop, bool maximum, Range range) {
  const auto found = factor.axes.find(loop);
  if (found == factor.axes.end() || !buffer.has_margins() || buffer.lowest != maximum) return range;
  const AxisAccess& how = found->second;
  const auto axis = static_cast<size_t>(how.axis);
  if (buffer.axes[axis].rigid) return range;
  const Range others = reach(factor, buffer, axis, loop);
  const auto outside = [&](int64_t step) {
    const int64_t by = step * how.times;
    return others.last + by < 0 || others.first + by >= buffer.axes[axis].extent;
  };
  while (range.first < range.last && outside(range.first)) ++range.first;
  while (range.last > range.first && outside(range.last)) --range.last;
  return range;
}

void shorten(Nest& nest, const Buffers& buffers) {
  for (auto& [name, extent] : nest.reduced) {
    Range kept{0, extent - 1};
    for (const Access& factor : nest.factors) kept = steps(factor, buffers[factor.buffer], name, nest.maximum, kept);
    extent = kept.last - kept.first + 1;
    for (Access& factor : nest.factors) {
      const auto found = factor.axes.find(name);
      if (found == factor.axes.end()) continue;
      factor.offset[static_cast<size_t>(found->second.axis)] += kept.first * found->second.times;
      found->second.extent = extent;
    }
  }
}

// All that is read and written lies in its buffer.
void check(const Plan& plan) {
  for (const Nest& nest : plan.nests) {
    for_each_access(nest, [&](const Access& access) {
      const int64_t start = plan.buffers.start(access);
      Range range{start, start};
      for (const auto* loops : {&nest.loops, &nest.reduced}) {
        for (const auto& [name, extent] : *loops) {
          const int64_t by = plan.buffers.stride(access, name) * (extent - 1);
          (by < 0 ? range.first : range.last) += by;
        }
      }
      const Buffer& buffer = plan.buffers[access.buffer];
      require(range.first >= 0 && range.last < buffer.elements(), "an access beyond its buffer");
    });
  }
}

}  // namespace

void leave_out_zeros(Plan& plan) {
  for (Nest& nest : plan.nests) shorten(nest, plan.buffers);
  std::vector<std::vector<Range>> margins(plan.buffers.size());
  for (size_t id = 0; id < margins.size(); ++id) margins[id].resize(plan.buffers[static_cast<int>(id)].axes.size());
  for (const Nest& nest : plan.nests) {
    for_each_access(nest, [&](const Access& access) {
      const Buffer& buffer = plan.buffers[access.buffer];
      for (size_t axis = 0; axis < buffer.axes.size(); ++axis) {
        const Range range = reach(access, buffer, axis);
        Range& own = margins[static_cast<size_t>(access.buffer)][axis];
        own.first = std::max(own.first, -range.first);
        own.last = std::max(own.last, range.last - buffer.axes[axis].extent + 1);
      }
    });
  }
  for (size_t id = 0; id < margins.size(); ++id) {
    for (size_t i = 0; i < margins[id].size(); ++i) {
      BufferAxis& axis = plan.buffers[static_cast<int>(id)].axes[i];
      axis.low = std::min(axis.low, margins[id][i].first);
      axis.high = std::min(axis.high, margins[id][i].last);
    }
  }
  check(plan);
}

Range counting(const Nest& nest, const Buffers& buffers, const std::string& summed, const std::string& loop,
               int64_t step) {
  Range kept{0, std::find_if(
                    nest.reduced.begin(), nest.reduced.end(),
                    [&](const auto& one) {
                      return one.first == summed;
                    })->second -
                    1};
  for (Access factor : nest.factors) {
    if (const auto found = factor.axes.find(loop); found != factor.axes.end()) {
      factor.offset[static_cast<size_t>(found->second.axis)] += step * found->second.times;
      found->second.extent = 1;
    }
    kept = steps(factor, buffers[factor.buffer], summed, nest.maximum, kept);
  }
  return kept;
}

}  // namespace canvas::native
