#include "canvas/ir/normal_order.h"

#include <algorithm>
#include <map>
#include <span>
#include <string_view>
#include <tuple>

#include "canvas/base/random.h"
#include "canvas/ir/builder.h"
#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

bool meets(const std::vector<std::string>& left, const std::vector<std::string>& right) {
  return std::any_of(left.begin(), left.end(),
                     [&](const auto& name) { return std::find(right.begin(), right.end(), name) != right.end(); });
}

bool moves(const Node& node) { return node.primitive->is(kView) && !node.primitive->is(kPads); }
bool keeps_zero(const Node& node) { return linear(node) || node.primitive->is(kKeepsZero); }
bool drops(const Node& node) { return node.primitive->order == kDropsFirst; }

// What orders steps that commute; free of the names that a text may choose.
using Key = std::tuple<int, std::string_view, int, int, uint64_t, uint64_t>;

// A step of a chain, and what decides where it may stand.
struct Step {
  const Node* node;
  Key key;
  std::vector<std::string> touched;
  bool spatial;  // it works along a position of the signature
};

// Whether two steps in a row give the same in either order. A stride along one position stays behind work along another: costs are
// monomials, and H*W/s does not say which of the two it divides.
bool commute(const Step& first, const Step& second) {
  const Node &a = *first.node, &b = *second.node;
  if (meets(first.touched, second.touched)) return false;
  if ((drops(a) || drops(b)) && first.spatial && second.spatial) return false;
  if (moves(a) || moves(b) || (linear(a) && linear(b))) return true;
  return (a.primitive->is(kPads) && keeps_zero(b)) || (b.primitive->is(kPads) && keeps_zero(a));
}

class NormalOrder {
 public:
  NormalOrder(const Program& program, const Signature& signature)
      : nodes_(program.nodes), origin_(program.origin), signature_(signature) {
    result_ = static_cast<int>(nodes_.size()) - 1;
    for (const Axes* axes : {&signature.from, &signature.to}) {
      for (const Axis& axis : *axes) names_[axis.name] = hash_text(axis.name);
    }
    for (const Node& node : nodes_) {
      for (const AxisItem& item : node.attributes.items) {
        if (!item.made.empty()) names_[item.made] += combine(name_of(item.axis), 5);
      }
    }
  }

  // One round of rewriting; false where there is nothing left to do.
  bool run() {
    count_uses();
    bool changed = false;
    for (const std::vector<int>& chain : chains()) changed = sort(chain) || changed;
    return join_items() || join_views() || absorb_views() || changed || pull_out_of_operands() || push_into_operands();
  }

  // Through the builder, which infers the axes anew; nothing where a value on the way would have too many axes.
  Result<Program> rebuilt(const Variables& variables) {
    Program program{{}, {origin_[0]}};
    Builder builder(signature_, variables);
    std::vector<int> place(nodes_.size(), -1);
    place[0] = 0;
    std::vector<int> stack = {result_};
    while (!stack.empty()) {
      const int value = stack.back();
      const Node& node = nodes_[static_cast<size_t>(value)];
      const auto waiting = std::find_if(node.inputs.begin(), node.inputs.end(),
                                        [&](int input) { return place[static_cast<size_t>(input)] < 0; });
      if (place[static_cast<size_t>(value)] < 0 && waiting != node.inputs.end()) {
        stack.push_back(*waiting);
        continue;
      }
      stack.pop_back();
      if (place[static_cast<size_t>(value)] >= 0) continue;
      std::vector<int> inputs;
      for (int input : node.inputs) inputs.push_back(place[static_cast<size_t>(input)]);
      const auto added = builder.add(*node.primitive, inputs, node.attributes);
      if (!added) return added.fault();
      place[static_cast<size_t>(value)] = *added;
      program.origin.push_back(origin_[static_cast<size_t>(value)]);
    }
    program.nodes = std::move(builder).nodes();
    return program;
  }

 private:
  Node& node(int value) { return nodes_[static_cast<size_t>(value)]; }
  bool used_once(int value) const { return uses_[static_cast<size_t>(value)] == 1; }

  void count_uses() {
    uses_.assign(nodes_.size(), 0);
    std::vector<int> stack = {result_};
    uses_[static_cast<size_t>(result_)] = 1;
    std::vector<bool> seen(nodes_.size(), false);
    while (!stack.empty()) {
      const int value = stack.back();
      stack.pop_back();
      if (seen[static_cast<size_t>(value)]) continue;
      seen[static_cast<size_t>(value)] = true;
      for (int input : node(value).inputs) {
        ++uses_[static_cast<size_t>(input)];
        stack.push_back(input);
      }
    }
  }

  bool links(int value) { return node(value).primitive && node(value).inputs.size() == 1; }

  // Maximal runs of one-operand steps, each but the last used by the next alone; from input to result.
  std::vector<std::vector<int>> chains() {
    std::vector<bool> continued(nodes_.size(), false);
    for (int value = 1; value < static_cast<int>(nodes_.size()); ++value) {
      if (uses_[static_cast<size_t>(value)] == 0 || !links(value)) continue;
      const int input = node(value).inputs[0];
      if (links(input) && used_once(input)) continued[static_cast<size_t>(input)] = true;
    }
    std::vector<std::vector<int>> found;
    for (int value = 1; value < static_cast<int>(nodes_.size()); ++value) {
      if (uses_[static_cast<size_t>(value)] == 0 || !links(value) || continued[static_cast<size_t>(value)]) continue;
      std::vector<int> chain = {value};
      for (int input = node(value).inputs[0]; links(input) && used_once(input); input = node(input).inputs[0])
        chain.push_back(input);
      std::reverse(chain.begin(), chain.end());
      found.push_back(std::move(chain));
    }
    return found;
  }

  static uint64_t hash_text(const std::string& text) {
    uint64_t code = 17;
    for (char letter : text) code = combine(code, static_cast<uint64_t>(letter));
    return code;
  }

  // What is known of an axis whatever it is called: the signature's name, or the axis whose window it is.
  uint64_t name_of(const std::string& name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? 17 : found->second;
  }

  Key key(const Node& node) const {
    const Attributes& a = node.attributes;
    uint64_t axes = 0, sizes = 0;
    const auto size_of = [](const Size& size) {
      uint64_t code = combine(static_cast<uint64_t>(size.numerator()), static_cast<uint64_t>(size.denominator()));
      int free = 0;
      for (int v = 0; v < kMaxVariables; ++v) {
        if (is_dynamic(v)) free += size.exponent(v);
        if (!is_dynamic(v)) code = combine(code, static_cast<uint64_t>(size.exponent(v) + 64));
      }
      return combine(code, static_cast<uint64_t>(free + 64));
    };
    for (const std::string& name : a.from) axes += mix64(name_of(name) + 1);
    for (const std::string& name : a.per) axes += mix64(name_of(name) + 2);
    for (const AxisItem& item : a.items) {
      axes += mix64(combine(name_of(item.axis), 3));
      sizes += mix64(combine(size_of(item.amount), static_cast<uint64_t>(item.offset + 4096)));
    }
    for (const Axis& axis : a.to) sizes += mix64(size_of(axis.size));
    return {node.primitive->order, node.primitive->name, a.mode, a.dilation, axes, sizes};
  }

  Step step(int value) {
    Step step{&node(value), key(node(value)), touched(node(value)), false};
    step.spatial = std::any_of(signature_.from.begin(), signature_.from.end(), [&](const Axis& axis) {
      return axis.role == Role::kSpatial &&
             std::find(step.touched.begin(), step.touched.end(), axis.name) != step.touched.end();
    });
    return step;
  }

  // The lexicographically smallest order of a chain among those that commuting steps allow.
  bool sort(const std::vector<int>& chain) {
    if (chain.size() < 2) return false;
    std::vector<Step> steps;
    for (int value : chain) steps.push_back(step(value));
    std::vector<size_t> order;
    std::vector<bool> taken(steps.size(), false);
    while (order.size() < steps.size()) {
      size_t best = steps.size();
      for (size_t i = 0; i < steps.size(); ++i) {
        bool ready = !taken[i];
        for (size_t j = 0; j < i && ready; ++j) ready = taken[j] || commute(steps[j], steps[i]);
        if (ready && (best == steps.size() || steps[i].key < steps[best].key)) best = i;
      }
      taken[best] = true;
      order.push_back(best);
    }
    if (std::is_sorted(order.begin(), order.end())) return false;
    std::vector<Node> sorted;
    std::vector<int> origins;
    for (size_t i : order) {
      sorted.push_back(std::move(node(chain[i])));
      origins.push_back(origin_[static_cast<size_t>(chain[i])]);
    }
    std::vector<std::vector<int>> inputs(order.size());  // stay where they are
    for (size_t i = 0; i < order.size(); ++i) inputs[order[i]] = std::move(sorted[i].inputs);
    for (size_t i = 0; i < order.size(); ++i) {
      node(chain[i]) = std::move(sorted[i]);
      node(chain[i]).inputs = std::move(inputs[i]);
      origin_[static_cast<size_t>(chain[i])] = origins[i];
    }
    return true;
  }

  // unfold(unfold(x, H: 3), W: 3) = unfold(x, H: 3, W: 3), and likewise for all steps that are told by axis.
  bool join_items() {
    for (const std::vector<int>& chain : chains()) {
      for (size_t i = 1; i < chain.size(); ++i) {
        Node& second = node(chain[i]);
        Node& first = node(chain[i - 1]);
        if (first.primitive != second.primitive || second.attributes.items.empty()) continue;
        if (!first.attributes.per.empty() || !second.attributes.per.empty()) continue;
        if (first.attributes.dilation != second.attributes.dilation || meets(touched(first), touched(second))) continue;
        std::vector<AxisItem>& items = second.attributes.items;
        items.insert(items.begin(), first.attributes.items.begin(), first.attributes.items.end());
        second.inputs = first.inputs;
        count_uses();
        return true;
      }
    }
    return false;
  }

  // A split of what a split made is one split into more parts, and a merge of what a merge made one of more.
  bool join_views() {
    for (const std::vector<int>& chain : chains()) {
      for (size_t i = 1; i < chain.size(); ++i) {
        Node &first = node(chain[i - 1]), &second = node(chain[i]);
        if (first.primitive != second.primitive || !first.primitive->is(kBijective)) continue;
        Attributes &a = first.attributes, &b = second.attributes;
        if (a.from.size() == 1 && b.from.size() == 1 && a.to.size() > 1 && has_axis(a.to, b.from[0])) {
          const auto place = a.to.begin() + find_axis(a.to, b.from[0]);
          const auto rest = a.to.erase(place);
          a.to.insert(rest, b.to.begin(), b.to.end());
          b = a;
        } else if (a.to.size() == 1 && b.to.size() == 1 && a.from.size() > 1) {
          const auto place = std::find(b.from.begin(), b.from.end(), a.to[0].name);
          if (place == b.from.end()) continue;
          const auto rest = b.from.erase(place);
          b.from.insert(rest, a.from.begin(), a.from.end());
        } else {
          continue;
        }
        second.inputs = first.inputs;
        count_uses();
        return true;
      }
    }
    return false;
  }

  // A contraction takes an axis as one or in its parts: a view of what it sums over, or of what it makes, is but another shape of its
  // weights. Steps between that leave the view's axes alone are no hindrance.
  bool absorb_views() {
    for (const std::vector<int>& chain : chains()) {
      for (size_t i = 0; i < chain.size(); ++i) {
        for (size_t j = i + 1; j < chain.size(); ++j) {
          const bool before = node(chain[i]).primitive->is(kBijective);
          const int view = chain[before ? i : j], contraction = chain[before ? j : i];
          if (!node(view).primitive->is(kBijective) || node(contraction).primitive->initial != Initial::kNormal)
            continue;
          if (!reshape(node(contraction).attributes, node(view).attributes, before, {&chain[i] + 1, &chain[j]}))
            continue;
          for (Node& user : nodes_) std::replace(user.inputs.begin(), user.inputs.end(), view, node(view).inputs[0]);
          if (result_ == view) result_ = node(view).inputs[0];
          count_uses();
          return true;
        }
      }
    }
    return false;
  }

  // Gives a contraction the view's other axes; false where it does not have all of them, or a step between works along one.
  bool reshape(Attributes& contraction, const Attributes& view, bool before, std::span<const int> between) {
    std::vector<std::string> made;
    for (const Axis& axis : view.to) made.push_back(axis.name);
    const std::vector<std::string>& inner = before ? made : view.from;
    if (std::any_of(between.begin(), between.end(), [&](int step) { return touches(node(step), inner); })) return false;
    const auto shaped = [&](const std::string& name) { return std::count(inner.begin(), inner.end(), name) > 0; };
    if (before) {
      if (std::count_if(contraction.from.begin(), contraction.from.end(), shaped) != std::ssize(inner)) return false;
      std::erase_if(contraction.from, shaped);
      contraction.from.insert(contraction.from.end(), view.from.begin(), view.from.end());
    } else {
      const auto made_here = [&](const Axis& axis) { return shaped(axis.name); };
      if (std::count_if(contraction.to.begin(), contraction.to.end(), made_here) != std::ssize(inner)) return false;
      std::erase_if(contraction.to, made_here);
      contraction.to.insert(contraction.to.end(), view.to.begin(), view.to.end());
    }
    return true;
  }

  // f(view(a), view(b)) = view(f(a, b)) for one view of both, or where b has none of the axes that it is along. What drops elements
  // stays where it is, but where it hides such a view from the joint.
  bool pull_out_of_operands() {
    for (int value = 1; value < static_cast<int>(nodes_.size()); ++value) {
      const Node joint = node(value);
      if (uses_[static_cast<size_t>(value)] == 0 || !joint.primitive->is(kPointwise) || joint.inputs.size() != 2)
        continue;
      for (size_t slot : {size_t{0}, size_t{1}}) {
        const int left = joint.inputs[slot], right = joint.inputs[1 - slot];
        if (!joint_passes(joint, left, right)) continue;
        // The view keeps its place in the list, before whatever reads the joint, and the joint takes a new one.
        const int inner = static_cast<int>(nodes_.size());
        Node moved = joint;
        moved.name.clear();
        moved.inputs[slot] = node(left).inputs[0];
        if (same_view(left, right)) moved.inputs[1 - slot] = node(right).inputs[0];
        nodes_.push_back(std::move(moved));
        origin_.push_back(origin_[static_cast<size_t>(value)]);
        node(value) = node(left);
        node(value).inputs = {inner};
        origin_[static_cast<size_t>(value)] = origin_[static_cast<size_t>(left)];
        return true;
      }
    }
    return false;
  }

  bool is_view(int value) const {
    const Node& step = nodes_[static_cast<size_t>(value)];
    return step.primitive && step.primitive->is(kView) && used_once(value);
  }

  bool same_view(int left, int right) {
    const Node &a = node(left), &b = node(right);
    return left != right && is_view(left) && is_view(right) && a.primitive == b.primitive &&
           a.attributes == b.attributes;
  }

  bool joint_passes(const Node& joint, int left, int right) {
    if (!is_view(left)) return false;
    if (drops(node(left))) {
      const int a = node(left).inputs[0], b = node(right).primitive ? node(right).inputs[0] : 0;
      return same_view(left, right) && same_view(a, b) && !drops(node(a)) && joint_passes(joint, a, b);
    }
    const bool pads = node(left).primitive->is(kPads);
    if (same_view(left, right)) return !pads || keeps_zero(joint);
    const std::vector<std::string> along = touched(node(left));
    return !pads && std::none_of(along.begin(), along.end(),
                                 [&](const std::string& name) { return has_axis(node(right).axes, name); });
  }

  // drop(f(a, b)) = f(drop(a), drop(b)) for a step that works along none of the axes dropped.
  bool push_into_operands() {
    for (const std::vector<int>& chain : chains()) {
      const Node drop = node(chain[0]);
      const int joint = drop.inputs[0];
      if (!drops(drop) || !node(joint).primitive || node(joint).inputs.size() < 2 || !used_once(joint)) continue;
      if (meets(touched(drop), touched(node(joint)))) continue;
      const int origin = origin_[static_cast<size_t>(chain[0])];
      const std::vector<int> inputs = node(joint).inputs;
      const Node step = node(joint);
      node(chain[0]) = step;
      origin_[static_cast<size_t>(chain[0])] = origin_[static_cast<size_t>(joint)];
      for (int& input : node(chain[0]).inputs) {
        Node part = drop;
        part.name.clear();
        std::erase_if(part.attributes.items,
                      [&](const AxisItem& item) { return !has_axis(node(input).axes, item.axis); });
        if (part.attributes.items.empty()) continue;
        part.inputs = {input};
        part.axes.clear();
        input = static_cast<int>(nodes_.size());
        nodes_.push_back(std::move(part));
        origin_.push_back(origin);
      }
      return true;
    }
    return false;
  }

  std::vector<Node> nodes_;
  std::vector<int> origin_;
  const Signature& signature_;
  int result_ = 0;
  std::map<std::string, uint64_t> names_;
  std::vector<int> uses_;
};

}  // namespace

std::optional<Program> normal_order(const Program& program, const Signature& signature, const Variables& variables) {
  NormalOrder normal(program, signature);
  if (!normal.run()) return std::nullopt;
  auto rebuilt = normal.rebuilt(variables);
  return rebuilt ? std::optional(std::move(*rebuilt)) : std::nullopt;
}

}  // namespace canvas
