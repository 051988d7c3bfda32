#include "canvas/emit/torch_writer.h"

#include <algorithm>
#include <numeric>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"

namespace canvas {

namespace {

// A size that is known only at run time: the product of `factors` and `top`, over `bottom`.
struct Runtime {
  std::vector<std::string>
      factors;  // "H", "(H + 1) // 2": extents take the stride's divisions first, as Size::evaluate() does
  int64_t top;
  int64_t bottom;
};

Runtime runtime(const Size& size, const Values& values) {
  const Count count = size;
  const int64_t stride = values[kStride];
  Runtime made{{}, size.numerator(), size.denominator()};
  for (int v = 0; v < kMaxVariables; ++v) {
    int power = count.plain().exponent(v);
    if (is_extent(v)) {
      for (; power < 0; ++power)  // the module takes no other extent, see preamble() in torch.cpp
        made.bottom *= values[static_cast<size_t>(v)];
      const std::string name = kStaticNames[static_cast<size_t>(v)];
      const std::string divided =
          stride > 1 ? "(" + name + " + " + std::to_string(stride - 1) + ") // " + std::to_string(stride) : name;
      made.factors.insert(made.factors.end(), static_cast<size_t>(count.rounded(v)), divided);
      made.factors.insert(made.factors.end(), static_cast<size_t>(power), name);
      continue;
    }
    for (; power != 0; power += power > 0 ? -1 : 1)
      (power > 0 ? made.top : made.bottom) *= values[static_cast<size_t>(v)];
  }
  const int64_t common = std::gcd(made.top, made.bottom);
  made.top /= common;
  made.bottom /= common;
  return made;
}

// "(H + 1) // 2", "3 * H * W".
std::string product_code(Runtime size) {
  if (size.factors.size() == 1 && size.top == 1 && size.bottom == 1) return size.factors[0];
  for (std::string& factor : size.factors) {
    if (factor.size() > 1) factor = "(" + factor + ")";
  }
  if (size.top != 1) size.factors.insert(size.factors.begin(), std::to_string(size.top));
  return join(size.factors, " * ");
}

std::string join_numbers(const std::vector<int64_t>& numbers) {
  const std::string text = tuple(numbers);
  return text.substr(1, text.size() - (numbers.size() == 1 ? 3 : 2));
}

std::string runtime_code(const Size& size, const Values& values) {
  const Runtime made = runtime(size, values);
  return product_code(made) + (made.bottom != 1 ? " // " + std::to_string(made.bottom) : "");
}

}  // namespace

std::optional<Divisor> runtime_divisor(const Size& size, const Values& values) {
  bool is_fixed = true;
  for (int v = kD; v <= kT; ++v) is_fixed = is_fixed && size.exponent(v) == 0;
  if (is_fixed) return std::nullopt;
  const Runtime made = runtime(size, values);
  if (made.bottom == 1) return std::nullopt;
  return Divisor{product_code(made), std::to_string(made.bottom)};
}

TorchWriter::TorchWriter(CoreProgram program, const Values& values, Lowering& lowering)
    : program_(std::move(program)), values_(values), lowering_(lowering), uses_(program_.ops.size(), 0) {
  for (const CoreOp& core : program_.ops) {
    for (int in : core.inputs) ++uses_[static_cast<size_t>(in)];
  }
}

bool TorchWriter::rule(const char* name) {
  if (!lowering_.has(name)) return false;
  lowering_.fired(name);
  return true;
}

bool TorchWriter::constant(int id) const {
  const CoreOp& core = op(id);
  if (core.inputs.empty()) return core.kind == CoreKind::kParameter;
  return std::all_of(core.inputs.begin(), core.inputs.end(), [&](int in) { return constant(in); });
}

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
      return weight(id, apart);
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
    for (const Name& axis : dim) {
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
  for (const Name& axis : dim) total *= extent(axes, axis);
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

TorchValue TorchWriter::weight(int id, const Layout& wanted) {
  const CoreOp& parameter = op(id);
  if (parameter.kind != CoreKind::kParameter) return arranged(value(id), wanted);
  const std::string code = "self." + python_name(parameter.name);
  Dim logical;
  for (const Axis& axis : parameter.axes) logical.push_back(axis.name);
  Layout kept = wanted;
  if (flat(wanted) != logical) {
    kept.clear();
    for (const Name& axis : logical) kept.push_back({axis});
  }
  if (kept.size() > kMostStoredDims) kept = without_ones(kept);
  while (kept.size() > kMostStoredDims) {
    const Dim last = kept.back();
    kept.pop_back();
    kept.back().insert(kept.back().end(), last.begin(), last.end());
  }
  const auto [known, first] = stored_layout_.emplace(parameter.name, kept);
  if (!first && flat(known->second) == logical) return arranged({code, known->second, parameter.axes}, wanted);
  std::vector<int64_t> shape;
  for (const Dim& dim : kept) shape.push_back(extent(parameter.axes, dim));
  if (first) stored_[parameter.name] = shape;
  // Another user sees its axes merged.
  return arranged({first ? code : code + ".reshape(" + join_numbers(shape) + ")", kept, parameter.axes}, wanted);
}

}  // namespace canvas
