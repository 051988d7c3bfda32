#include "canvas/sample/enumerate.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "canvas/ir/canonical.h"
#include "canvas/prims/registry.h"
#include "canvas/sample/closing.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr size_t kMostJoined = 7;  // axes of what joins two values

bool introduces(const Builder& builder, int value, const std::string& axis) {
  const Node& node = builder.nodes()[static_cast<size_t>(value)];
  return std::none_of(node.inputs.begin(), node.inputs.end(),
                      [&](int input) { return has_axis(builder.axes(input), axis); });
}

class Enumerator {
 public:
  Enumerator(const std::vector<Layer>& layers, const Budget& budget, const Limits& limits, Signature signature)
      : layers_(layers), budget_(budget), limits_(limits), builder_(std::move(signature)) {
    for (std::string name = "r"; builder_.variables().count() < kFirstDynamic + limits.max_variables; name += "r")
      builder_.variables().add(name);
    for (const Primitive* primitive : primitives()) {
      if (weight_of(*primitive, limits.weights) > 0) primitives_.push_back(primitive);
    }
  }

  std::vector<Sample> run() {
    extend(limits_.max_primitives);
    std::vector<Sample> kernels;
    for (auto& [hash, found] : found_) {
      if (found.kernel) kernels.push_back({hash, found.kernel->renamed("k" + hash.substr(0, 8))});
    }
    std::stable_sort(kernels.begin(), kernels.end(),
                     [](const Sample& a, const Sample& b) { return a.kernel.length() < b.kernel.length(); });
    return kernels;
  }

 private:
  struct Found {
    std::optional<Kernel> kernel;
    bool refused = false;  // whatever form of it is grown
  };

  // All kernels that begin as the builder does and have at most `room` primitives more.
  void extend(int room) {
    const std::vector<int> loose = builder_.loose();
    if (loose.size() == 1 && loose[0] > 0) note();
    if (room == 0 || least(loose) > room) return;
    for (const Primitive* primitive : primitives_) {
      std::vector<int> operands;
      choose(*primitive, operands, loose, room);
    }
  }

  // Operands in all ways that leave few enough values loose.
  void choose(const Primitive& primitive, std::vector<int>& operands, const std::vector<int>& loose, int room) {
    const auto count = static_cast<int>(operands.size());
    if (count >= primitive.arity) apply(primitive, operands, loose, room);
    if (count == primitive.widest()) return;
    for (int value = 0; value < static_cast<int>(builder_.nodes().size()); ++value) {
      if (count == 1 && value == operands[0]) continue;
      operands.push_back(value);
      choose(primitive, operands, loose, room);
      operands.pop_back();
    }
  }

  // How few primitives make one value of the loose ones that has the result's positions and channels, at least. Two values need a
  // joint; what lacks a stride and channels needs two steps, since no one does both.
  int least(const std::vector<int>& loose) const {
    const int others = static_cast<int>(loose.size()) - 1;
    int most = allowed(stack_primitive()) ? (others + 6) / 7 : others;
    for (int value : loose) {
      const Open lacks = open(builder_.axes(value), builder_.signature());
      most = std::max(most, (lacks.subsample || lacks.upsample || !lacks.foreign.empty()) + !lacks.is_result);
    }
    return most;
  }

  bool allowed(const Primitive& primitive) const {
    return std::find(primitives_.begin(), primitives_.end(), &primitive) != primitives_.end();
  }

  void apply(const Primitive& primitive, const std::vector<int>& operands, const std::vector<int>& loose, int room) {
    int used = 0;
    for (int value : loose) used += std::count(operands.begin(), operands.end(), value) > 0;
    const int left = static_cast<int>(loose.size()) - used + 1;
    if (used == 0 && primitive.arity > 1) return;  // what joins takes one of the loose values
    if (left > limits_.max_width || (room == 1 && left > 1) || !suits(primitive, operands)) return;
    for (const Attributes& attributes : proposals(primitive, operands)) {
      if (!builder_.add(primitive, {operands.begin(), operands.end()}, attributes)) continue;
      const int last = static_cast<int>(builder_.nodes().size()) - 1;
      const bool wide = primitive.arity > 1 && builder_.axes(last).size() > kMostJoined;
      if (!wide && !swapped_first(last, loose)) extend(room - 1);
      builder_.pop();
    }
  }

  // What sampling leaves out whatever the limits are.
  bool suits(const Primitive& primitive, const std::vector<int>& operands) const {
    const Primitive* before = builder_.nodes()[static_cast<size_t>(operands[0])].primitive;
    if (operands.size() == 1) {
      const bool activations = primitive.is(kPointwise) && before && before->is(kPointwise) && before->arity == 1;
      const bool scaled = primitive.initial == Initial::kOne && before && before->is(kLinear) && before->weighted();
      return !activations && !scaled;
    }
    if (primitive.is(kCommutative) && operands[0] > operands[1]) return false;
    if (!primitive.is(kPointwise)) return true;
    const Axes &a = builder_.axes(operands[0]), &b = builder_.axes(operands[1]), &to = builder_.signature().to;
    return joinable(a, b) || (subset(a, to) && subset(b, to));
  }

  // All that a primitive proposes on the operands, whatever the chances, and what closes a kernel beside that: a mix of all axes.
  std::vector<Attributes> proposals(const Primitive& primitive, const std::vector<int>& operands) const {
    OperandAxes axes;
    for (int operand : operands) axes.push_back(&builder_.axes(operand));
    const Proposal proposal{axes,          builder_.signature(), channel_sizes(),
                            group_sizes(), partners(),           "a" + std::to_string(builder_.nodes().size())};
    std::vector<Attributes> all;
    const auto add = [&](const Attributes& found) {
      if (std::find(all.begin(), all.end(), found) == all.end()) all.push_back(found);
    };
    Script script;
    do {
      Random random(script);
      std::vector<Attributes> found;
      primitive.propose(proposal, random, found);
      std::for_each(found.begin(), found.end(), add);
    } while (script.next());
    if (&primitive != &fc_primitive() && &primitive != &merge_primitive()) return all;
    Attributes mix;
    for (const Axis& axis : *axes[0]) {
      if (axis.role != Role::kSpatial) mix.from.push_back(axis.name);
    }
    mix.to = {builder_.signature().channel()};
    if (mix.from.size() > (&primitive == &merge_primitive() ? 2 : 0)) add(mix);
    return all;
  }

  std::vector<Size> channel_sizes() const {
    std::vector<Size> sizes;
    for (const Size& size : {Size::variable(kC), Size::variable(kK)}) {
      for (int64_t divisor : {1, 2, 4}) sizes.push_back(size / Size::constant(divisor));
      for (int v : offered_variables()) sizes.push_back(size / Size::variable(v));
    }
    return sizes;
  }

  std::vector<Size> group_sizes() const {
    std::vector<Size> sizes = {Size::constant(2), Size::constant(4), Size::constant(8)};
    for (int v : offered_variables()) sizes.push_back(Size::variable(v));
    return sizes;
  }

  // Those in use and one more: the others are like that one.
  std::vector<int> offered_variables() const {
    std::vector<int> offered;
    for (int v = kFirstDynamic; v < builder_.variables().count(); ++v) {
      offered.push_back(v);
      if (!mentioned(v, static_cast<int>(builder_.nodes().size()))) break;
    }
    return offered;
  }

  // Whether one of the first `count` values has an axis of such a size.
  bool mentioned(int variable, int count) const {
    return std::any_of(builder_.nodes().begin(), builder_.nodes().begin() + count, [&](const Node& node) {
      return std::any_of(node.axes.begin(), node.axes.end(),
                         [&](const Axis& axis) { return axis.size.exponent(variable) != 0; });
    });
  }

  Axes partners() const {
    Axes found;
    for (const Node& node : builder_.nodes()) {
      for (const Axis& axis : node.axes) {
        if (axis.role != Role::kSpatial && !has_axis(found, axis.name)) found.push_back(axis);
      }
    }
    return found;
  }

  // Whether the last value could as well have come before the one before it, and that order is the one to be walked through.
  bool swapped_first(int last, const std::vector<int>& loose_before) const {
    const int before = last - 1;
    if (before < 1) return false;
    const Node &a = builder_.nodes()[static_cast<size_t>(before)], &b = builder_.nodes()[static_cast<size_t>(last)];
    const auto rank = [&](const Node& node) {
      const auto place = std::find(primitives_.begin(), primitives_.end(), node.primitive) - primitives_.begin();
      return std::tuple(node.inputs, place);
    };
    if (rank(a) <= rank(b) || std::count(b.inputs.begin(), b.inputs.end(), before)) return false;
    for (const Axis& axis : b.axes) {
      if (has_axis(a.axes, axis.name) && introduces(builder_, before, axis.name)) return false;
      for (int v = kFirstDynamic; v < builder_.variables().count(); ++v) {
        if (axis.size.exponent(v) != 0 && !mentioned(v, before)) return false;
      }
    }
    // The other order must keep the width too.
    int loose = static_cast<int>(loose_before.size()) - 1, used = 0;  // without a's value
    for (int value = 0; value < before; ++value) {
      const bool of_a = std::count(a.inputs.begin(), a.inputs.end(), value) > 0;
      const bool was_loose = std::count(loose_before.begin(), loose_before.end(), value) || (of_a && only_user(value));
      loose += was_loose && of_a;
      used += was_loose && std::count(b.inputs.begin(), b.inputs.end(), value) > 0;
    }
    return loose - used + 1 <= limits_.max_width && (used > 0 || b.primitive->arity == 1) && a_joins_after(a, b);
  }

  // Whether no value but the last two uses this one.
  bool only_user(int value) const {
    const auto& nodes = builder_.nodes();
    return std::none_of(nodes.begin(), nodes.end() - 2, [&](const Node& node) {
      return std::count(node.inputs.begin(), node.inputs.end(), value) > 0;
    });
  }

  // What joins must still find a loose value after b has come.
  bool a_joins_after(const Node& a, const Node& b) const {
    if (a.primitive->arity == 1) return true;
    return std::any_of(a.inputs.begin(), a.inputs.end(), [&](int input) {
      return only_user(input) && std::count(b.inputs.begin(), b.inputs.end(), input) == 0;
    });
  }

  // Keeps the complete kernel if it is new and what the limits ask for.
  void note() {
    const auto grown = builder_.finish("kernel");
    if (!grown) return;
    Canonical form = canonical(*grown);
    Found& found = found_[hash_of(form)];
    if (found.kernel || found.refused || (limits_.concise && superfluous(*grown))) return;
    const Kernel& kernel = form.kernel;
    found.refused = kernel.length() < limits_.min_primitives || implausible(kernel, limits_) ||
                    unbindable(kernel, layers_, budget_, limits_.rules);
    if (!found.refused) found.kernel = std::move(form.kernel);
  }

  const std::vector<Layer>& layers_;
  const Budget& budget_;
  const Limits& limits_;
  Builder builder_;
  std::vector<const Primitive*> primitives_;
  std::map<std::string, Found> found_;
};

}  // namespace

std::vector<Sample> enumerate(const std::vector<Layer>& layers, const Budget& budget, const Limits& limits) {
  const Sampler checked(layers, budget, limits);
  if (limits.max_primitives > kLongestEnumerated) {
    throw ArgumentError("kernels of at most " + std::to_string(kLongestEnumerated) +
                        " primitives are enumerated; give max_primitives, got " +
                        std::to_string(limits.max_primitives));
  }
  return Enumerator(layers, budget, limits, checked.signature()).run();
}

}  // namespace canvas
