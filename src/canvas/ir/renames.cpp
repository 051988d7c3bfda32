#include "canvas/ir/renames.h"

#include <algorithm>
#include <map>
#include <set>

#include "canvas/ir/axis_classes.h"
#include "canvas/ir/labels.h"
#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

bool renames(const Node& node) {
  return node.primitive && node.primitive->is(kBijective) && node.attributes.from.size() == 1 &&
         node.attributes.to.size() == 1;
}

class Dropper {
 public:
  Dropper(const Program& program, const Signature& signature)
      : nodes_(program.nodes), signature_(signature), classes_(nodes_), dropped_(nodes_.size(), false) {
    fix_names();
  }

  bool run() {
    std::vector<int> candidates;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (renames(nodes_[i])) candidates.push_back(static_cast<int>(i));
    }
    if (candidates.empty()) return false;
    const Labels names = labels(nodes_, signature_);  // so that the order of the text decides nothing
    std::stable_sort(candidates.begin(), candidates.end(), [&](int a, int b) {
      return names.values[static_cast<size_t>(a)] < names.values[static_cast<size_t>(b)];
    });
    bool any = false;
    for (int value : candidates) {
      if (dropped_[static_cast<size_t>(value)]) continue;
      const AxisClasses classes = classes_;
      const std::vector<bool> dropped = dropped_;
      drop(value);
      // A rename back to the old name goes with it.
      for (int other : candidates) {
        if (!dropped_[static_cast<size_t>(other)] && key_from(other) == key_to(other)) drop(other);
      }
      if (legal()) {
        any = true;
      } else {
        classes_ = classes;
        dropped_ = dropped;
        fix_names();
      }
    }
    return any;
  }

  Program result(const Program& program) const {
    Program kept;
    std::vector<int> place(nodes_.size(), 0);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (dropped_[i]) {
        place[i] = place[static_cast<size_t>(nodes_[i].inputs[0])];
        continue;
      }
      place[i] = static_cast<int>(kept.nodes.size());
      kept.origin.push_back(program.origin[i]);
      kept.nodes.push_back(renamed(static_cast<int>(i)));
      for (int& input : kept.nodes.back().inputs) input = place[static_cast<size_t>(input)];
    }
    return kept;
  }

 private:
  const Node& node(int value) const { return nodes_[static_cast<size_t>(value)]; }

  std::string key_from(int rename) const { return key(node(rename).inputs[0], node(rename).attributes.from[0]); }
  std::string key_to(int rename) const { return key(rename, node(rename).attributes.to[0].name); }

  void drop(int rename) {
    dropped_[static_cast<size_t>(rename)] = true;
    classes_.join(node(rename).inputs[0], node(rename).attributes.from[0], rename, node(rename).attributes.to[0].name);
    fix_names();
  }

  void fix_names() {
    fixed_.clear();
    const int last = static_cast<int>(nodes_.size()) - 1;
    for (const Axis& axis : signature_.from) fixed_[classes_.find(0, axis.name)] = axis.name;
    for (const Axis& axis : signature_.to) fixed_[classes_.find(last, axis.name)] = axis.name;
  }

  // The name that the axis gets: its class's.
  std::string key(int value, const std::string& name) const {
    const size_t axis_class = classes_.find(value, name);
    const auto fixed = fixed_.find(axis_class);
    return fixed != fixed_.end() ? fixed->second : "#" + std::to_string(axis_class);
  }

  bool legal() const {
    for (const Axis& axis : signature_.from) {
      if (key(0, axis.name) != axis.name) return false;
    }
    for (int value = 0; value < static_cast<int>(nodes_.size()); ++value) {
      std::set<std::string> seen;
      for (const Axis& axis : node(value).axes) {
        if (!seen.insert(key(value, axis.name)).second) return false;
      }
      if (!dropped_[static_cast<size_t>(value)] && renames(node(value)) && key_from(value) == key_to(value))
        return false;
      for (int left : node(value).inputs) {
        for (int right : node(value).inputs) {
          if (joins_anew(left, right)) return false;
        }
      }
    }
    return true;
  }

  // Whether axes of two operands that had different names now have one.
  bool joins_anew(int left, int right) const {
    for (const Axis& a : node(left).axes) {
      for (const Axis& b : node(right).axes) {
        if (a.name != b.name && key(left, a.name) == key(right, b.name)) return true;
      }
    }
    return false;
  }

  Node renamed(int value) const {
    Node made = node(value);
    const auto operand_key = [&](const std::string& name) {
      for (int input : node(value).inputs) {
        if (has_axis(node(input).axes, name)) return key(input, name);
      }
      return name;
    };
    Attributes& a = made.attributes;
    for (std::string& name : a.from) name = operand_key(name);
    for (std::string& name : a.per) name = operand_key(name);
    for (Axis& axis : a.to) axis.name = key(value, axis.name);
    for (AxisItem& item : a.items) {
      item.axis = operand_key(item.axis);
      if (!item.made.empty()) item.made = key(value, item.made);
    }
    for (Axis& axis : made.axes) axis.name = key(value, axis.name);
    return made;
  }

  const std::vector<Node>& nodes_;
  const Signature& signature_;
  AxisClasses classes_;
  std::vector<bool> dropped_;
  std::map<size_t, std::string> fixed_;
};

}  // namespace

bool drop_renames(Program& program, const Signature& signature) {
  if (std::none_of(program.nodes.begin(), program.nodes.end(), renames)) return false;
  Dropper dropper(program, signature);
  if (!dropper.run()) return false;
  program = dropper.result(program);
  return true;
}

Program own_names(const Program& program, const Signature& signature) {
  return Dropper(program, signature).result(program);
}

}  // namespace canvas
