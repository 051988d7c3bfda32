// Kernels from bytes through Builder: those of a searched kernel again, others in between and in their place, with attributes
// that are legal, nearly legal or none at all.
#include <algorithm>

#include "canvas/ir/builder.h"
#include "canvas/prims/registry.h"
#include "canvas/text/printer.h"
#include "inputs.h"

namespace canvas::fuzz {

namespace {

// Names that primitives and signatures use themselves, so that they clash.
constexpr const char* kNames[] = {"a", "b", "c", "h", "w", "C", "K", "H", "C_in", "a_in", "r", "v1"};

class Construction {
 public:
  Construction(Bytes& bytes, Signature signature, Variables variables)
      : bytes_(bytes), builder_(std::move(signature), std::move(variables)), place_{0} {
    for (const char* name : {"r", "g", "q"}) {
      if (builder_.variables().find(name) < 0 && bytes_.ConsumeBool()) builder_.variables().add(name);
    }
  }

  // One more primitive on any values; gives its value, or -1 where that is not legal.
  int attempt() {
    const Primitive& primitive = *primitives()[bytes_.ConsumeIntegralInRange<size_t>(0, primitives().size() - 1)];
    Inputs inputs;
    for (int i = 0; i < primitive.arity; ++i) inputs.push_back(any_value());
    return add(primitive, inputs, bytes_.ConsumeBool() ? proposed(primitive, inputs) : arbitrary(primitive, inputs));
  }

  // A node of another kernel in this one; false where it is not legal, which only a change before it can cause.
  bool repeat(const Node& node) {
    Inputs inputs;
    for (int input : node.inputs) inputs.push_back(place_[static_cast<size_t>(input)]);
    int made = -1;
    if (bytes_.ConsumeIntegralInRange(0, 7) == 0)
      made = add(*node.primitive, inputs, arbitrary(*node.primitive, inputs));
    if (made < 0) made = add(*node.primitive, inputs, node.attributes);
    place_.push_back(made);
    return made >= 0;
  }

  // Puts the value in place of what the last repeated node made, or takes it back.
  void use_or_drop(int value) {
    if (value < 0) return;
    if (bytes_.ConsumeBool())
      place_.back() = value;
    else
      builder_.pop();
  }

  std::optional<Kernel> finish() const {
    const auto kernel = builder_.finish("built");
    if (kernel) return *kernel;
    law(kernel.fault().label == "verify", "what finish() refuses breaks a rule of the whole kernel",
        kernel.fault().str());
    return std::nullopt;
  }

 private:
  int add(const Primitive& primitive, const Inputs& inputs, Attributes attributes) {
    const auto made = builder_.add(primitive, inputs, std::move(attributes));
    if (made) return *made;
    const Fault& fault = made.fault();
    const auto& rules = primitive.constraints;
    law(fault.label == primitive.name ||
            std::any_of(rules.begin(), rules.end(), [&](const Constraint& rule) { return fault.label == rule.label; }),
        "a refusal names a rule of the primitive", std::string(primitive.name) + ": " + fault.str());
    law(!fault.required.empty(), "a refusal says what is required", fault.str());
    return -1;
  }

  int any_value() { return bytes_.ConsumeIntegralInRange(0, static_cast<int>(builder_.nodes().size()) - 1); }

  Attributes proposed(const Primitive& primitive, const Inputs& inputs) {
    OperandAxes operands;
    for (int input : inputs) operands.push_back(&builder_.axes(input));
    const std::vector<Size> channels = {size(), size()}, groups = {size()};
    Random random(bytes_.ConsumeIntegral<uint64_t>());
    std::vector<Attributes> found;
    const std::string fresh = "n" + std::to_string(builder_.nodes().size());
    primitive.propose({operands, builder_.signature(), channels, groups, builder_.axes(any_value()), fresh}, random,
                      found);
    return found.empty() ? Attributes{} : random.pick(found);
  }

  // Attributes of any kind that the primitive takes, and once in a while of one that it does not.
  Attributes arbitrary(const Primitive& primitive, const Inputs& inputs) {
    const Axes& operand = builder_.axes(inputs[0]);
    const auto takes = [&](unsigned part) {
      return (primitive.grammar & part) != 0 || bytes_.ConsumeIntegralInRange(0, 15) == 15;
    };
    Attributes attributes;
    if (takes(kFrom | kArrow)) attributes.from = names(operand);
    if (takes(kArrow)) {
      for (const Name& name : names(operand)) attributes.to.push_back({name, size()});
    }
    if (takes(kPer) && bytes_.ConsumeBool()) attributes.per = names(operand);
    if (takes(kItems)) {
      for (const Name& axis : names(operand)) attributes.items.push_back(item(primitive, operand, axis));
    }
    if (takes(kDilation)) attributes.dilation = number();
    if (takes(kModes)) attributes.mode = bytes_.ConsumeIntegralInRange(-1, static_cast<int>(primitive.modes.size()));
    return attributes;
  }

  AxisItem item(const Primitive& primitive, const Axes& operand, const Name& axis) {
    AxisItem made{axis, "", Size()};
    if (primitive.grammar & kMade) made.made = name(operand);
    if (bytes_.ConsumeBool()) made.amount = bytes_.ConsumeBool() ? size() : Size::constant(number());
    if (primitive.grammar & kOffsets && bytes_.ConsumeBool()) made.offset = number();
    return made;
  }

  AxisNames names(const Axes& operand) {
    AxisNames found;
    for (int i = bytes_.ConsumeIntegralInRange(0, 3); i > 0; --i) found.push_back(name(operand));
    return found;
  }

  std::string name(const Axes& operand) {
    const bool known = !operand.empty() && bytes_.ConsumeBool();
    return known ? operand[bytes_.ConsumeIntegralInRange<size_t>(0, operand.size() - 1)].name
                 : bytes_.PickValueInArray(kNames);
  }

  int number() {
    constexpr int kNumbers[] = {1, 2, 3, 5, -1, 0, 7, 63, 341, 1023, 1024, INT32_MAX, INT32_MIN};
    return bytes_.PickValueInArray(kNumbers);
  }

  // A monomial of the signature's variables and the dynamic ones, mostly a plain one.
  Size size() {
    std::vector<int> variables;
    for (int v = 0; v < builder_.variables().count(); ++v) {
      const Axes& from = builder_.signature().from;
      const bool known = !is_extent(v) || std::any_of(from.begin(), from.end(),
                                                      [&](const Axis& axis) { return axis.size.exponent(v) != 0; });
      if (known && v <= kStride) variables.push_back(v);
      if (is_dynamic(v)) variables.push_back(v);
    }
    Size made;
    if (bytes_.ConsumeBool()) made = Size::constant(number(), bytes_.ConsumeBool() ? number() : 1);
    if (bytes_.ConsumeIntegralInRange(0, 15) == 15) made = Size::constant(bytes_.ConsumeIntegral<int64_t>());
    for (int i = bytes_.ConsumeIntegralInRange(0, 3); i > 0; --i) {
      const int variable = variables[bytes_.ConsumeIntegralInRange<size_t>(0, variables.size() - 1)];
      constexpr int kPowers[] = {1, -1, 2, -2, 127, -128};
      made = made * Size::variable(variable, bytes_.PickValueInArray(kPowers));
    }
    return made;
  }

  Bytes& bytes_;
  Builder builder_;
  std::vector<int> place_;
};

Axis signature_axis(Bytes& bytes, Role role) {
  const int variable = bytes.ConsumeIntegralInRange<int>(kC, kStride);
  const Size size = Size::variable(variable);
  return {bytes.ConsumeBool() ? kStaticNames[static_cast<size_t>(variable)] : bytes.PickValueInArray(kNames),
          bytes.ConsumeBool() ? size / Size::variable(kStride) : size, role};
}

// A convolution's, a linear layer's, a token mixer's, or any that the rules allow; check_signature() refuses the others.
Signature any_signature(Bytes& bytes) {
  const int kind = bytes.ConsumeIntegralInRange(0, 5);
  if (kind < 3) return Signature::convolution(kind + 1);
  const Axis c{"C", Size::variable(kC), Role::kChannel}, k{"K", Size::variable(kK), Role::kChannel};
  const Axis t{"T", Size::variable(kT), Role::kSpatial};
  if (kind == 3) return {"x", {c}, {k}};
  if (kind == 4) return {"x", {t, c}, {t, k}};
  Signature signature{"x", {c}, {k}};
  for (Axes* axes : {&signature.from, &signature.to}) {
    for (int i = bytes.ConsumeIntegralInRange(0, 4); i > 0; --i)
      axes->push_back(signature_axis(bytes, bytes.ConsumeBool() ? Role::kSpatial : Role::kChannel));
  }
  return signature;
}

}  // namespace

std::optional<Kernel> built(Bytes& bytes) {
  if (bytes.ConsumeBool()) {
    const Signature signature = any_signature(bytes);
    if (check_signature(signature, {})) return std::nullopt;
    Construction construction(bytes, signature, {});
    for (int i = bytes.ConsumeIntegralInRange(1, 24); i > 0; --i) construction.attempt();
    return construction.finish();
  }
  const Kernel model = searched(bytes);
  Construction construction(bytes, model.signature(), model.variables());
  for (size_t i = 1; i < model.nodes().size(); ++i) {
    if (!construction.repeat(model.nodes()[i])) return std::nullopt;
    if (bytes.ConsumeIntegralInRange(0, 3) == 0) construction.use_or_drop(construction.attempt());
  }
  return construction.finish();
}

}  // namespace canvas::fuzz
