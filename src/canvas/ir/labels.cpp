#include "canvas/ir/labels.h"

#include <algorithm>
#include <array>

#include "canvas/base/random.h"
#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

// Three rounds up and down carry what distinguishes two parts of a kernel from any place to any other: each sweep crosses the
// whole graph.
constexpr int kRounds = 3;

uint64_t hash_text(const char* text) {
  uint64_t code = 0xcbf29ce484222325ull;
  for (; *text; ++text) code = (code ^ static_cast<unsigned char>(*text)) * 0x100000001b3ull;
  return mix64(code);
}

// Where each operand has an axis, by slot; negative where it lacks it.
constexpr size_t kMostOperands = 8;
using Places = std::array<int8_t, kMostOperands>;

// How a node meets an axis of one of its operands.
struct AxisUse {
  Places places;    // of the axis of that name, in all operands
  int listed = -1;  // its place in the list `from`
  bool per = false;
  int item = -1;  // the place of the one that names it
  int kept = -1;  // its place in the result
};

// A node's axes by place instead of by name, so that rounds compare no text.
struct Plan {
  uint64_t code = 5;  // of the primitive's name
  bool ordered = false, commutes = false;
  std::vector<Places> from, per, items;
  // Of each of its own axes: the places of the operand axis that it is handed on from or is a window of, or its place in `to`.
  struct Own {
    bool made = false, window = false;
    Places places{};
    int place = -1;
  };
  std::vector<Own> own;
  std::vector<AxisUse> uses;  // of each operand's axes, slot by slot
};

class Refinement {
 public:
  Refinement(const std::vector<Node>& nodes, const Signature& signature) : nodes_(nodes), signature_(signature) {
    labels_.values.assign(nodes.size(), 1);
    uses_.assign(nodes.size(), 1);
    for (const Node& node : nodes) {
      labels_.axes.emplace_back(node.axes.size(), 1);
      plans_.push_back(node.primitive ? plan(node) : Plan{});
    }
    axis_uses_ = labels_.axes;
    for (int v = 0; v < kMaxVariables; ++v)
      labels_.variables.push_back(is_dynamic(v) ? 7 : combine(11, static_cast<uint64_t>(v)));
  }

  Labels run() {
    for (int round = 0; round < kRounds; ++round) {
      for (size_t i = 0; i < nodes_.size(); ++i) up(i);
      std::fill(uses_.begin(), uses_.end(), 0);
      for (auto& axes : axis_uses_) std::fill(axes.begin(), axes.end(), 0);
      for (size_t i = nodes_.size(); i-- > 0;) down(i);
      name_variables();
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      labels_.values[i] = combine(labels_.values[i], uses_[i]);
      for (size_t j = 0; j < labels_.axes[i].size(); ++j)
        labels_.axes[i][j] = combine(labels_.axes[i][j], axis_uses_[i][j]);
    }
    return std::move(labels_);
  }

 private:
  Places places(const Node& node, const std::string& name) const {
    Places found{};
    for (size_t slot = 0; slot < node.inputs.size(); ++slot)
      found[slot] = static_cast<int8_t>(find_axis(nodes_[static_cast<size_t>(node.inputs[slot])].axes, name));
    return found;
  }

  Plan plan(const Node& node) const {
    require(node.inputs.size() <= kMostOperands, "a node of more operands than labels know");
    const Attributes& a = node.attributes;
    Plan plan{hash_text(node.primitive->name), ordered(node), commutes(node), {}, {}, {}, {}, {}};
    for (const std::string& name : a.from) plan.from.push_back(places(node, name));
    for (const std::string& name : a.per) plan.per.push_back(places(node, name));
    for (const AxisItem& item : a.items) plan.items.push_back(places(node, item.axis));
    for (const Axis& axis : node.axes) {
      const auto window =
          std::find_if(a.items.begin(), a.items.end(), [&](const AxisItem& i) { return i.made == axis.name; });
      const bool is_window = window != a.items.end(), made = is_window || has_axis(a.to, axis.name);
      const int place = made && !is_window ? find_axis(a.to, axis.name) : -1;
      plan.own.push_back(
          {made, is_window, made && !is_window ? Places{} : places(node, is_window ? window->axis : axis.name), place});
    }
    for (int input : node.inputs) {
      for (const Axis& axis : nodes_[static_cast<size_t>(input)].axes) plan.uses.push_back(use(node, axis.name));
    }
    return plan;
  }

  AxisUse use(const Node& node, const std::string& name) const {
    const Attributes& a = node.attributes;
    AxisUse use{places(node, name), -1, std::count(a.per.begin(), a.per.end(), name) > 0, -1, -1};
    const auto listed = std::find(a.from.begin(), a.from.end(), name);
    if (listed != a.from.end()) use.listed = static_cast<int>(listed - a.from.begin());
    for (size_t k = 0; k < a.items.size(); ++k) {
      if (a.items[k].axis == name) use.item = static_cast<int>(k);  // no other does: check_items
    }
    if (!makes(node, name)) use.kept = find_axis(node.axes, name);
    return use;
  }

  // The label of an axis by name over all operands of a node.
  uint64_t operand_axis(size_t i, const Places& at) const {
    const Node& node = nodes_[i];
    uint64_t sum = 0;
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const auto& labels = labels_.axes[static_cast<size_t>(node.inputs[slot])];
      sum += combine(plans_[i].commutes ? 0 : slot, at[slot] < 0 ? 3 : labels[static_cast<size_t>(at[slot])]);
    }
    return sum;
  }

  static void put(uint64_t& code, uint64_t entry, bool in_order) {
    code = in_order ? combine(code, entry) : code + mix64(entry);
  }

  uint64_t attributes(size_t i) const {
    const Attributes& a = nodes_[i].attributes;
    const Plan& plan = plans_[i];
    uint64_t from = 0, to = 0, per = 0, items = 0;
    for (const Places& at : plan.from) put(from, operand_axis(i, at), plan.ordered);
    for (const Axis& axis : a.to) put(to, labels_.of(axis.size), plan.ordered);
    for (const Places& at : plan.per) put(per, operand_axis(i, at), false);
    for (size_t k = 0; k < a.items.size(); ++k) {
      uint64_t entry = combine(operand_axis(i, plan.items[k]), labels_.of(a.items[k].amount));
      put(items, combine(entry, static_cast<uint64_t>(static_cast<int64_t>(a.items[k].offset))), plan.ordered);
    }
    uint64_t code = combine(static_cast<uint64_t>(a.mode), static_cast<uint64_t>(a.dilation));
    for (uint64_t part : {from, to, per, items}) code = combine(code, part);
    return code;
  }

  void up(size_t i) {
    const Node& node = nodes_[i];
    const Plan& plan = plans_[i];
    uint64_t code = plan.code;
    if (node.primitive) {
      uint64_t operands = 0;
      for (int input : node.inputs) put(operands, labels_.values[static_cast<size_t>(input)], !plan.commutes);
      code = combine(combine(code, operands), attributes(i));
    }
    uint64_t futures = 0;  // what becomes of its axes may be all that tells two branches apart
    for (uint64_t use : axis_uses_[i]) futures += mix64(use);
    labels_.values[i] = combine(combine(code, uses_[i]), futures);
    for (size_t j = 0; j < node.axes.size(); ++j) {
      uint64_t label;
      if (!node.primitive) {
        label = combine(13, j);
      } else if (!plan.own[j].made) {
        label = combine(17, operand_axis(i, plan.own[j].places));
      } else {
        label = combine(labels_.values[i], combine(labels_.of(node.axes[j].size), made_from(i, plan.own[j])));
      }
      labels_.axes[i][j] = combine(label, axis_uses_[i][j]);
    }
  }

  // What else tells a made axis from its sisters: its place where order matters, or the axis whose window it is.
  uint64_t made_from(size_t i, const Plan::Own& own) const {
    if (own.window) return operand_axis(i, own.places);
    return plans_[i].ordered ? static_cast<uint64_t>(own.place) : 0;
  }

  void down(size_t i) {
    const Node& node = nodes_[i];
    if (i + 1 == nodes_.size()) {
      uses_[i] = 19;
      for (size_t j = 0; j < node.axes.size(); ++j) {
        axis_uses_[i][j] = combine(23, static_cast<uint64_t>(find_axis(signature_.to, node.axes[j].name)));
      }
    }
    auto use = plans_[i].uses.begin();
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const auto operand = static_cast<size_t>(node.inputs[slot]);
      const uint64_t place = plans_[i].commutes ? 0 : slot;
      uses_[operand] += mix64(combine(combine(labels_.values[i], uses_[i]), place));
      for (uint64_t& sum : axis_uses_[operand]) sum += mix64(axis_use(i, *use++));
    }
  }

  // How node i uses an operand's axis: which list names it and where, and what becomes of it.
  uint64_t axis_use(size_t i, const AxisUse& how) const {
    const bool in_order = plans_[i].ordered;
    uint64_t use =
        combine(labels_.values[i], operand_axis(i, how.places));  // with what it is joined to in another operand
    if (how.listed >= 0) use = combine(use, in_order ? static_cast<uint64_t>(how.listed) + 29 : 29);
    if (how.per) use = combine(use, 31);
    if (how.item >= 0) {
      const auto k = static_cast<size_t>(how.item);
      use = combine(use, combine(labels_.of(nodes_[i].attributes.items[k].amount), in_order ? k : 37));
    }
    if (how.kept >= 0) use = combine(use, axis_uses_[i][static_cast<size_t>(how.kept)]);
    return use;
  }

  void name_variables() {
    std::vector<uint64_t> sums(kMaxVariables, 0);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (size_t j = 0; j < nodes_[i].axes.size(); ++j) {
        for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
          const int power = nodes_[i].axes[j].size.exponent(v);
          if (power == 0) continue;
          sums[static_cast<size_t>(v)] +=
              mix64(combine(combine(labels_.axes[i][j], axis_uses_[i][j]), static_cast<uint64_t>(power)));
        }
      }
    }
    for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
      const auto at = static_cast<size_t>(v);
      labels_.variables[at] = combine(labels_.variables[at], sums[at]);
    }
  }

  const std::vector<Node>& nodes_;
  const Signature& signature_;
  Labels labels_;
  std::vector<Plan> plans_;
  std::vector<uint64_t> uses_;
  std::vector<std::vector<uint64_t>> axis_uses_;
};

}  // namespace

uint64_t Labels::of(const Size& size) const {
  uint64_t sum = 0;
  for (int v = 0; v < kMaxVariables; ++v) {
    if (size.exponent(v) != 0)
      sum += mix64(combine(variables[static_cast<size_t>(v)], static_cast<uint64_t>(size.exponent(v))));
  }
  return combine(combine(static_cast<uint64_t>(size.numerator()), static_cast<uint64_t>(size.denominator())), sum);
}

bool ordered(const Node& node) {
  return node.primitive->is(kOrdered) && (node.attributes.items.empty() || !node.attributes.per.empty());
}

bool commutes(const Node& node) { return node.primitive->is(kCommutative); }

bool makes(const Node& node, const std::string& name) {
  if (has_axis(node.attributes.to, name)) return true;
  for (const AxisItem& item : node.attributes.items) {
    if (item.made == name) return true;
  }
  return false;
}

Labels labels(const std::vector<Node>& nodes, const Signature& signature) { return Refinement(nodes, signature).run(); }

}  // namespace canvas
