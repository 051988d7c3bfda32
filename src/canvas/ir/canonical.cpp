#include "canvas/ir/canonical.h"

#include <array>
#include <cctype>

#include "canvas/base/random.h"
#include "canvas/ir/builder.h"
#include "canvas/ir/identities.h"
#include "canvas/ir/labels.h"
#include "canvas/ir/normal_order.h"
#include "canvas/ir/renames.h"

namespace canvas {

namespace {

constexpr size_t kLongestOrdered = 256;  // steps; a kernel of more keeps its order

constexpr const char* kVariableNames[] = {"r", "g", "q", "p", "t", "u", "v", "z"};

// The shortest program that the identities make of a kernel, its steps in normal order where that is possible and asked for.
Program rewritten(const Kernel& kernel, bool ordered = true) {
  Program program(kernel);
  program.refresh();
  simplify(program, false);
  program.separate();
  simplify(program);
  while (drop_rename(program)) simplify(program);
  if (!ordered || program.order.size() > kLongestOrdered) return program;
  if (!normal_order(program)) return rewritten(kernel, false);
  program.separate();
  return program;
}

// Puts steps, operands, lists, axes and variables into an order that follows from their labels.
class Arrangement {
 public:
  explicit Arrangement(const Program& program)
      : program_(program),
        labels_(labels(program)),
        places_(program.steps.size(), -1),
        ids_(static_cast<size_t>(program.axis_count), -1),
        variables_(kMaxVariables, -1) {
    for (size_t i = 0; i < program.fixed.size(); ++i) ids_[i] = static_cast<int>(i);
    count_ = static_cast<int>(program.fixed.size());
    steps_.reserve(program.order.size());
    sizes_.reserve(program.sizes.size());
    stems_.reserve(static_cast<size_t>(program.axis_count));
    place(0);
    place(program.result);
  }

  // The program so arranged; of each axis made, the axis that it is a window of, or -1; the number of variables.
  void write(Program& program, std::vector<int>& stems, int& variables) {
    program.steps = std::move(steps_);
    program.sizes = std::move(sizes_);
    program.axis_count = count_;
    program.result = static_cast<int>(program.steps.size()) - 1;
    stems = std::move(stems_);
    variables = free_;
  }

  // Whether chains turned out to have a pair in common, which other rules may then see.
  bool shares() const { return shares_; }

 private:
  uint64_t axis_label(int axis) const { return labels_.axes[static_cast<size_t>(axis)]; }

  // Depth first from the result, operands before users; of commuting operands the one of fewer axes first, then the smaller label.
  void place(int value) {
    if (places_[static_cast<size_t>(value)] >= 0) return;
    Step step = program_.step(value);
    if (step.is(kCommutative)) {
      step.inputs.sort([&](int a, int b) { return key(a) < key(b); });
    }
    const auto operands = step.inputs;
    const bool in_pairs = step.is(kAssociative);  // the language has no more than two operands of these
    step.inputs.clear();
    for (int operand : operands) {
      place(operand);
      step.inputs.push(places_[static_cast<size_t>(operand)]);
      if (!in_pairs || step.inputs.size() < 2) continue;
      const int pair = place_of_pair(step);
      step.inputs.clear();
      step.inputs.push(pair);
    }
    if (in_pairs) {
      places_[static_cast<size_t>(value)] = step.inputs[0];
      return;
    }
    arrange(step);
    steps_.push_back(step);
    places_[static_cast<size_t>(value)] = static_cast<int>(steps_.size()) - 1;
  }

  // Adds a pair of operands, unless it stands there as part of another chain.
  int place_of_pair(const Step& step) {
    const auto same = std::find_if(steps_.begin(), steps_.end(), [&](const Step& other) {
      return other.primitive == step.primitive && other.inputs.size() == 2 && other.inputs[0] == step.inputs[0] &&
             other.inputs[1] == step.inputs[1];
    });
    shares_ = shares_ || same != steps_.end();
    if (same != steps_.end()) return static_cast<int>(same - steps_.begin());
    steps_.push_back(step);
    return static_cast<int>(steps_.size()) - 1;
  }

  std::pair<int, uint64_t> key(int value) const {
    return {program_.step(value).axes.size(), labels_.values[static_cast<size_t>(value)]};
  }

  void arrange(Step& step) {
    if (!step.ordered()) {
      const auto by_label = [&](const auto& a, const auto& b) { return axis_label(a.axis) < axis_label(b.axis); };
      step.to.sort(by_label);
      step.items.sort(by_label);
    }
    for (int& axis : step.from) axis = id(axis, -1);
    for (int& axis : step.per) axis = id(axis, -1);
    if (!step.ordered()) step.from.sort(std::less<>());
    step.per.sort(std::less<>());
    for (Step::Made& made : step.to) made = {id(made.axis, -1), size(made.size)};
    for (Step::Item& item : step.items) {
      item.axis = id(item.axis, -1);
      if (item.made >= 0) item.made = id(item.made, item.axis);
      item.amount = size(item.amount);
    }
  }

  int id(int axis, int window_of) {
    int& known = ids_[static_cast<size_t>(axis)];
    if (known < 0) {
      known = count_++;
      stems_.push_back(window_of);
    }
    return known;
  }

  // The size in canonical variables: those met for the first time are numbered by label.
  int size(int place) {
    Size size = program_.sizes[static_cast<size_t>(place)];
    const auto exponent = [&](int v) { return size.exponent(v); };
    if (size.has_dynamic()) {
      std::vector<int> fresh;
      for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
        if (exponent(v) != 0 && variables_[static_cast<size_t>(v)] < 0) fresh.push_back(v);
      }
      std::stable_sort(fresh.begin(), fresh.end(), [&](int a, int b) {
        return labels_.variables[static_cast<size_t>(a)] < labels_.variables[static_cast<size_t>(b)];
      });
      for (int v : fresh) variables_[static_cast<size_t>(v)] = kFirstDynamic + free_++;
      Size renamed = Size::constant(size.numerator(), size.denominator());
      for (int v = 0; v < kMaxVariables; ++v) {
        if (exponent(v) != 0)
          renamed = renamed * Size::variable(is_dynamic(v) ? variables_[static_cast<size_t>(v)] : v, exponent(v));
      }
      size = renamed;
    }
    sizes_.push_back(size);
    return static_cast<int>(sizes_.size()) - 1;
  }

  const Program& program_;
  const Labels labels_;
  std::vector<int> places_;     // of values, in steps_
  std::vector<int> ids_;        // of axes
  std::vector<int> variables_;  // of variables
  std::vector<int> stems_;
  int count_ = 0, free_ = 0;
  bool shares_ = false;
  std::vector<Step> steps_;
  std::vector<Size> sizes_;
};

class Hasher {
 public:
  void put(uint64_t value) {
    high_ = mix64(high_ ^ value);
    low_ = mix64(low_ + (value ^ 0x5bd1e995ull));
  }
  template <class Number>
  void put(Number value) {
    put(static_cast<uint64_t>(static_cast<int64_t>(value)));
  }
  void put(const Size& size) {
    put(size.numerator());
    put(size.denominator());
    for (int first : {0, 8}) {
      uint64_t packed = 0;
      for (int v = first; v < first + 8; ++v) packed = packed << 8 | static_cast<uint8_t>(size.exponent(v));
      put(packed);
    }
  }
  void put(const AxisIds& axes) {
    put(axes.size());
    for (int axis : axes) put(axis);
  }
  void put(const Step& step, const Program& program) {
    put(step.code);
    for (int input : step.inputs) put(input);
    put(step.from);
    put(step.per);
    put(step.to.size() * 64 + step.items.size());
    for (const Step::Made& made : step.to) {
      put(made.axis);
      put(program.sizes[static_cast<size_t>(made.size)]);
    }
    for (const Step::Item& item : step.items) {
      put(item.axis);
      put(item.made);
      put(item.offset);
      put(program.sizes[static_cast<size_t>(item.amount)]);
    }
    put(step.mode * 65536 + step.dilation);
  }
  Digest digest() const { return {high_, low_}; }

 private:
  uint64_t high_ = 1;
  uint64_t low_ = 2;
};

Digest digest_of(const Program& program, const Signature& signature) {
  Hasher hasher;
  for (const Axes* axes : {&signature.from, &signature.to}) {
    hasher.put(axes->size());
    for (const Axis& axis : *axes) {
      hasher.put(hash_text(axis.name.view()));
      hasher.put(axis.size);
    }
  }
  for (size_t i = 1; i < program.steps.size(); ++i) hasher.put(program.steps[i], program);
  return hasher.digest();
}

// Names of axes: the signature's; windows are called after what they are windows of, h and w, other axes c1, c2.
AxisNames names(const Program& program, const std::vector<int>& stems, const Signature& signature) {
  AxisNames made;
  for (const Axis* axis : program.fixed) made.push_back(axis->name);
  std::array<int, 256> used{};
  for (int window_of : stems) {
    const bool window = window_of >= 0;
    const int first = window ? static_cast<unsigned char>(made[static_cast<size_t>(window_of)].view()[0]) : 'c';
    const int stem = std::tolower(first);
    std::string name;
    do {
      const int number = ++used[static_cast<size_t>(stem)];
      name = static_cast<char>(stem);
      if (!window || number > 1) name += std::to_string(number);
    } while (has_axis(signature.from, name) || has_axis(signature.to, name));
    made.push_back(name);
  }
  return made;
}

Attributes attributes(const Step& step, const Program& program, const AxisNames& names) {
  Attributes a;
  const auto name = [&](int axis) { return names[static_cast<size_t>(axis)]; };
  const auto size = [&](int place) { return program.sizes[static_cast<size_t>(place)]; };
  for (int axis : step.from) a.from.push_back(name(axis));
  for (int axis : step.per) a.per.push_back(name(axis));
  for (const Step::Made& made : step.to) a.to.push_back({name(made.axis), size(made.size)});
  for (const Step::Item& item : step.items)
    a.items.push_back({name(item.axis), item.made < 0 ? "" : name(item.made), size(item.amount), item.offset});
  a.mode = step.mode;
  a.dilation = step.dilation;
  return a;
}

}  // namespace

CanonicalForm::CanonicalForm(const Kernel& kernel, bool again) : kernel_(&kernel), program_(rewritten(kernel)) {
  Arrangement arrangement(program_);
  arrangement.write(program_, stem_, variables_);
  digest_ = digest_of(program_, kernel.signature());
  if (!again || !arrangement.shares()) return;
  Canonical first = this->kernel();
  const auto held = std::make_shared<const Kernel>(std::move(first.kernel));
  CanonicalForm second(*held, false);
  for (Step& step : second.program_.steps) step.origin = first.origin[static_cast<size_t>(step.origin)];
  *this = std::move(second);
  held_ = held;
}

Canonical CanonicalForm::kernel() const {
  Variables variables;
  for (int i = 0; i < variables_; ++i) variables.add(kVariableNames[i]);
  const AxisNames axes = names(program_, stem_, kernel_->signature());
  Builder builder(kernel_->signature(), variables);
  std::vector<int> origin = {0};
  for (size_t i = 1; i < program_.steps.size(); ++i) {
    const Step& step = program_.steps[i];
    const auto added = builder.add(*step.primitive, {step.inputs.begin(), step.inputs.end()},
                                   attributes(step, program_, axes), "v" + std::to_string(i));
    require(static_cast<bool>(added), "the canonical form of a legal kernel is not legal");
    origin.push_back(step.origin);
  }
  auto finished = std::move(builder).finish(kernel_->name());
  require(static_cast<bool>(finished), "the canonical form of a legal kernel does not verify");
  return {std::move(*finished), std::move(origin), digest_};
}

Canonical canonical(const Kernel& kernel) { return CanonicalForm(kernel).kernel(); }

std::string hash(const Kernel& kernel) { return to_string(CanonicalForm(kernel).digest()); }

std::string to_string(const Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint64_t word : {digest.first, digest.second}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(word >> shift) & 15];
  }
  return text;
}

}  // namespace canvas
