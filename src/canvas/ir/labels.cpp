#include "canvas/ir/labels.h"

#include <algorithm>

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

class Refinement {
 public:
  Refinement(const std::vector<Node>& nodes, const Signature& signature) : nodes_(nodes), signature_(signature) {
    labels_.values.assign(nodes.size(), 1);
    uses_.assign(nodes.size(), 1);
    for (const Node& node : nodes) labels_.axes.emplace_back(node.axes.size(), 1);
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
  uint64_t axis_label(int value, const std::string& name) const {
    const int position = find_axis(nodes_[static_cast<size_t>(value)].axes, name);
    return position < 0 ? 3 : labels_.axes[static_cast<size_t>(value)][static_cast<size_t>(position)];
  }

  // The label of an axis by name over all operands of a node.
  uint64_t operand_axis(const Node& node, const std::string& name) const {
    uint64_t sum = 0;
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      sum += combine(commutes(node) ? 0 : slot, axis_label(node.inputs[slot], name));
    }
    return sum;
  }

  static void put(uint64_t& code, uint64_t entry, bool in_order) {
    code = in_order ? combine(code, entry) : code + mix64(entry);
  }

  uint64_t attributes(const Node& node) const {
    const Attributes& a = node.attributes;
    const bool in_order = ordered(node);
    uint64_t from = 0, to = 0, per = 0, items = 0;
    for (const std::string& name : a.from) put(from, operand_axis(node, name), in_order);
    for (const Axis& axis : a.to) put(to, labels_.of(axis.size), in_order);
    for (const std::string& name : a.per) put(per, operand_axis(node, name), false);
    for (const AxisItem& item : a.items) {
      uint64_t entry = combine(operand_axis(node, item.axis), labels_.of(item.amount));
      put(items, combine(entry, static_cast<uint64_t>(static_cast<int64_t>(item.offset))), in_order);
    }
    uint64_t code = combine(static_cast<uint64_t>(a.mode), static_cast<uint64_t>(a.dilation));
    for (uint64_t part : {from, to, per, items}) code = combine(code, part);
    return code;
  }

  void up(size_t i) {
    const Node& node = nodes_[i];
    uint64_t code = node.primitive ? hash_text(node.primitive->name) : 5;
    if (node.primitive) {
      uint64_t operands = 0;
      for (int input : node.inputs) put(operands, labels_.values[static_cast<size_t>(input)], !commutes(node));
      code = combine(combine(code, operands), attributes(node));
    }
    uint64_t futures = 0;  // what becomes of its axes may be all that tells two branches apart
    for (uint64_t use : axis_uses_[i]) futures += mix64(use);
    labels_.values[i] = combine(combine(code, uses_[i]), futures);
    for (size_t j = 0; j < node.axes.size(); ++j) {
      const Axis& axis = node.axes[j];
      uint64_t label;
      if (!node.primitive) {
        label = combine(13, j);
      } else if (!makes(node, axis.name)) {
        label = combine(17, operand_axis(node, axis.name));
      } else {
        label = combine(labels_.values[i], combine(labels_.of(axis.size), made_from(node, axis.name)));
      }
      labels_.axes[i][j] = combine(label, axis_uses_[i][j]);
    }
  }

  // What else tells a made axis from its sisters: its place where order matters, or the axis whose window it is.
  uint64_t made_from(const Node& node, const std::string& name) const {
    for (const AxisItem& item : node.attributes.items) {
      if (item.made == name) return operand_axis(node, item.axis);
    }
    const int place = find_axis(node.attributes.to, name);
    return ordered(node) ? static_cast<uint64_t>(place) : 0;
  }

  void down(size_t i) {
    const Node& node = nodes_[i];
    if (i + 1 == nodes_.size()) {
      uses_[i] = 19;
      for (size_t j = 0; j < node.axes.size(); ++j) {
        axis_uses_[i][j] = combine(23, static_cast<uint64_t>(find_axis(signature_.to, node.axes[j].name)));
      }
    }
    if (!node.primitive) return;
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const auto operand = static_cast<size_t>(node.inputs[slot]);
      const uint64_t place = commutes(node) ? 0 : slot;
      uses_[operand] += mix64(combine(combine(labels_.values[i], uses_[i]), place));
      for (size_t j = 0; j < nodes_[operand].axes.size(); ++j) {
        axis_uses_[operand][j] += mix64(axis_use(i, nodes_[operand].axes[j].name));
      }
    }
  }

  // How node i uses an operand's axis: which list names it and where, and what becomes of it.
  uint64_t axis_use(size_t i, const std::string& name) const {
    const Node& node = nodes_[i];
    const Attributes& a = node.attributes;
    uint64_t use =
        combine(labels_.values[i], operand_axis(node, name));  // with what it is joined to in another operand
    const auto place = std::find(a.from.begin(), a.from.end(), name);
    if (place != a.from.end())
      use = combine(use, ordered(node) ? static_cast<uint64_t>(place - a.from.begin()) + 29 : 29);
    if (std::count(a.per.begin(), a.per.end(), name)) use = combine(use, 31);
    for (size_t k = 0; k < a.items.size(); ++k) {
      if (a.items[k].axis == name) use = combine(use, combine(labels_.of(a.items[k].amount), ordered(node) ? k : 37));
    }
    const int kept = makes(node, name) ? -1 : find_axis(node.axes, name);
    if (kept >= 0) use = combine(use, axis_uses_[i][static_cast<size_t>(kept)]);
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
