#include "canvas/emit/torch_writer.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"

namespace canvas {

namespace {

// "(H + 1) // 2" for H/s at s = 2: extents take the stride's divisions first, rounding up, as Size::evaluate() does.
std::string runtime_code(const Size& size, const Values& values) {
  const int64_t stride = values[kStride];
  int strides = size.exponent(kStride);
  int64_t top = size.numerator();
  int64_t bottom = size.denominator();
  std::vector<std::string> factors;
  for (int v = 0; v < kMaxVariables; ++v) {
    for (int power = size.exponent(v); v != kStride && power != 0; power += power > 0 ? -1 : 1) {
      if (!is_extent(v)) {
        (power > 0 ? top : bottom) *= values[static_cast<size_t>(v)];
        continue;
      }
      require(power > 0, "an axis whose size falls as an extent grows");
      const std::string name = kStaticNames[static_cast<size_t>(v)];
      const bool divided = strides < 0 && stride > 1;
      factors.push_back(!divided ? name
                                 : "(" + name + " + " + std::to_string(stride - 1) + ") // " + std::to_string(stride));
      if (strides < 0) ++strides;
    }
  }
  for (; strides > 0; --strides) top *= stride;
  for (; strides < 0; ++strides) bottom *= stride;
  if (factors.size() == 1 && top == bottom) return factors[0];
  for (std::string& factor : factors) {
    if (factor.size() > 1) factor = "(" + factor + ")";
  }
  if (top != 1) factors.insert(factors.begin(), std::to_string(top));
  return join(factors, " * ") + (bottom != 1 ? " // " + std::to_string(bottom) : "");
}

}  // namespace

TorchWriter::TorchWriter(CoreProgram program, const Values& values) : program_(std::move(program)), values_(values) {}

const TorchValue& TorchWriter::value(int id) {
  const auto found = written_.find(id);
  if (found != written_.end()) return found->second;
  TorchValue made = write(id);
  made.axes = op(id).axes;
  return written_.emplace(id, std::move(made)).first->second;
}

TorchValue TorchWriter::write(int id) {
  const CoreOp& core = op(id);
  const CoreKind counting[] = {CoreKind::kIndex, CoreKind::kPick, CoreKind::kPut, CoreKind::kReduce,
                               CoreKind::kSoftmax};
  one_batch_ = one_batch_ || std::count(std::begin(counting), std::end(counting), core.kind) > 0;
  switch (core.kind) {
    case CoreKind::kInput: return input(core);
    case CoreKind::kParameter: {
      Layout apart;
      for (const Axis& axis : core.axes) apart.push_back({axis.name});
      return weight(core, apart);
    }
    case CoreKind::kView: return view(core);
    case CoreKind::kIndex: return index(core);
    case CoreKind::kMap: return map(core);
    case CoreKind::kContract: return contract(core);
    case CoreKind::kReduce: return reduce(core);
    case CoreKind::kSoftmax: return softmax(core);
    case CoreKind::kPick: return pick(core);
    case CoreKind::kPut: return put(core);
  }
  throw InternalError("unknown core form");
}

TorchValue TorchWriter::input(const CoreOp& core) {
  TorchValue made{fresh(python_name(core.name)), {{kBatch}}, core.axes};
  for (const Axis& axis : core.axes) made.layout.push_back({axis.name});
  return made;
}

TorchValue TorchWriter::view(const CoreOp& core) {
  TorchValue made = value(core.inputs[0]);
  Dim to;
  for (const Axis& axis : core.to) to.push_back(axis.name);
  // The layout with the axes `from` side by side, where the first of them lies.
  Layout together;
  bool placed = false;
  for (const Dim& dim : made.layout) {
    Dim kept;
    for (const std::string& axis : dim) {
      if (!holds(core.from, axis))
        kept.push_back(axis);
      else if (!placed)
        kept.insert(kept.end(), core.from.begin(), core.from.end());
      placed = placed || holds(core.from, axis);
    }
    if (!kept.empty() || dim.empty()) together.push_back(std::move(kept));
  }
  const bool moves = together != made.layout;
  if (moves) made = arranged(made, together);
  for (Dim& dim : made.layout) {
    const auto found = std::find(dim.begin(), dim.end(), core.from[0]);
    if (found == dim.end()) continue;
    const auto place = dim.erase(found, found + static_cast<std::ptrdiff_t>(core.from.size()));
    dim.insert(place, to.begin(), to.end());
    break;
  }
  return moves ? assign(core, made.code, made.layout) : made;
}

TorchValue TorchWriter::arranged(const TorchValue& value, const Layout& layout) {
  one_batch_ = one_batch_ || (layout != value.layout && find_dim(value.layout, kBatch) >= 0);
  const ExtentOf extents = [&](const std::string& axis) { return extent_code(value.axes, axis); };
  return {arrange(value.code, value.layout, layout, extents), layout, value.axes};
}

TorchValue TorchWriter::assign(const CoreOp& core, const std::string& code, Layout layout) {
  return {define(core.name.empty() ? "t" : python_name(core.name), code), std::move(layout), core.axes};
}

std::string TorchWriter::define(const std::string& wanted, const std::string& code) {
  const auto known = computed_.find(code);
  if (known != computed_.end()) return known->second;
  const std::string name = fresh(wanted);
  statements_.push_back(name + " = " + code);
  return computed_[code] = name;
}

std::string TorchWriter::fresh(const std::string& wanted) {
  std::string name = wanted;
  for (int number = 2; !names_.insert(name).second; ++number) name = wanted + std::to_string(number);
  return name;
}

int64_t TorchWriter::extent(const Axes& axes, const std::string& axis) const {
  const int found = find_axis(axes, axis);
  require(found >= 0, "an axis is not where the emitter expects it");
  return axes[static_cast<size_t>(found)].size.evaluate(values_).value_or(0);
}

int64_t TorchWriter::extent(const Axes& axes, const Dim& dim) const {
  int64_t total = 1;
  for (const std::string& axis : dim) total *= extent(axes, axis);
  return total;
}

bool TorchWriter::fixed(const Axes& axes, const std::string& axis) const {
  const Size& size = axes[static_cast<size_t>(find_axis(axes, axis))].size;
  for (int v = kD; v <= kT; ++v) {
    if (size.exponent(v) != 0) return false;
  }
  return true;
}

Extent TorchWriter::extent_code(const Axes& axes, const std::string& axis) const {
  if (fixed(axes, axis)) return {std::to_string(extent(axes, axis)), true};
  return {runtime_code(axes[static_cast<size_t>(find_axis(axes, axis))].size, values_), false};
}

int64_t TorchWriter::stride(const IndexItem& item) const { return item.stride.evaluate(values_).value_or(1); }

TorchValue TorchWriter::weight(const CoreOp& parameter, const Layout& wanted) {
  Dim logical;
  for (const Axis& axis : parameter.axes) logical.push_back(axis.name);
  Layout kept = wanted;
  if (flat(wanted) != logical) {
    kept.clear();
    for (const std::string& axis : logical) kept.push_back({axis});
  }
  if (kept.size() > kMostStoredDims) kept = without_ones(kept);
  while (kept.size() > kMostStoredDims) {
    const Dim last = kept.back();
    kept.pop_back();
    kept.back().insert(kept.back().end(), last.begin(), last.end());
  }
  std::vector<int64_t>& shape = stored_[parameter.name];
  shape.clear();
  for (const Dim& dim : kept) shape.push_back(extent(parameter.axes, dim));
  return arranged({"self." + python_name(parameter.name), kept, parameter.axes}, wanted);
}

}  // namespace canvas
