// crossed() of mutation.h: the beginning of one kernel put in front of the end of another, with a contraction between them where only the
// channels differ.
#include <algorithm>
#include <map>
#include <set>

#include "canvas/ir/builder.h"
#include "canvas/prims/registry.h"
#include "canvas/sample/mutation.h"

namespace canvas {

namespace {

constexpr int kAttempts = 8;  // pairs of values that are tried

// The values that `value` is computed from, itself included, without what stands before `cut`.
std::vector<bool> needed_by(const Kernel& kernel, int value, int cut) {
  std::vector<bool> needed(kernel.nodes().size(), false);
  needed[static_cast<size_t>(value)] = true;
  for (int i = value; i > 0; --i) {
    if (!needed[static_cast<size_t>(i)] || i == cut) continue;
    for (int input : kernel.node(i).inputs) needed[static_cast<size_t>(input)] = true;
  }
  return needed;
}

class Crossing {
 public:
  Crossing(const Kernel& one, const Kernel& other)
      : one_(one), other_(other), variables_(one.variables()), signature_(one.signature()) {
    for (int v = kFirstDynamic; v < other.variables().count(); ++v) {
      const int known = variables_.find(other.variables().name(v));
      if (known < 0 && variables_.count() == kMaxVariables) return;
      moved_[v] = known >= 0 ? known : variables_.add(other.variables().name(v));
    }
    for (const Axes* axes : {&signature_.from, &signature_.to}) {
      for (const Axis& axis : *axes) fixed_.insert(axis.name);
    }
    for (int a = 1; a < one.output(); ++a) {
      for (int b = 1; b < other.output(); ++b) {
        const Axes &ours = one.node(a).axes, &theirs = other.node(b).axes;
        if (auto names = matched(ours, theirs)) {
          pairs_.push_back({a, b, std::move(*names), false});
        } else if (auto positions = matched(spatial(ours, true), spatial(theirs, true));
                   positions && !spatial(ours, false).empty() && !spatial(theirs, false).empty()) {
          pairs_.push_back({a, b, std::move(*positions), true});
        }
      }
    }
  }

  // The first that is promising; if there is none, the last.
  std::optional<Kernel> draw(const Growing& under, Random& random) const {
    std::optional<Kernel> found;
    for (int attempt = 0; attempt < kAttempts && !pairs_.empty(); ++attempt) {
      auto child = joined(random.pick(pairs_));
      if (!child || child->length() > under.limits.max_primitives ||
          child->variables().count() - kFirstDynamic > under.limits.max_variables)
        continue;
      found = std::move(child);
      if (promising(*found, under)) break;
    }
    return found;
  }

 private:
  struct Pair {
    int of_one, of_other;
    std::map<std::string, std::string> names;  // of the second value's axes: those of the first's
    bool mixed;                                // the other axes of the second are made from those of the first
  };

  // Those of the axes that are, or are not, positions.
  static Axes spatial(const Axes& axes, bool wanted) {
    Axes found;
    std::copy_if(axes.begin(), axes.end(), std::back_inserter(found),
                 [&](const Axis& axis) { return (axis.role == Role::kSpatial) == wanted; });
    return found;
  }

  // Another kernel's size in the common variables.
  Size moved(const Size& size) const {
    Size result = Size::constant(size.numerator(), size.denominator());
    for (int v = 0; v < kMaxVariables; ++v) {
      if (size.exponent(v) != 0) result = result * Size::variable(is_dynamic(v) ? moved_.at(v) : v, size.exponent(v));
    }
    return result;
  }

  // Axes of equal size and role, those of one name together where they can be.
  std::optional<std::map<std::string, std::string>> matched(const Axes& ours, const Axes& theirs) const {
    if (ours.size() != theirs.size()) return std::nullopt;
    std::map<std::string, std::string> names;
    std::set<std::string> taken;
    for (const bool by_name : {true, false}) {
      for (const Axis& their : theirs) {
        if (names.count(their.name)) continue;
        const auto found = std::find_if(ours.begin(), ours.end(), [&](const Axis& our) {
          return our.role == their.role && our.size == moved(their.size) && !taken.count(our.name) &&
                 (!by_name || our.name == their.name);
        });
        if (found == ours.end() && !by_name) return std::nullopt;
        if (found == ours.end()) continue;
        names[their.name] = found->name;
        taken.insert(found->name);
      }
    }
    return names;
  }

  std::optional<Kernel> joined(const Pair& pair) const {
    Builder builder(signature_, variables_);
    std::vector<int> places(one_.nodes().size(), 0);
    const auto copy = [&](const Node& node, const std::vector<int>& places_of, const Attributes& attributes) {
      Inputs inputs;
      for (int input : node.inputs) inputs.push_back(places_of[static_cast<size_t>(input)]);
      return builder.add(*node.primitive, inputs, attributes);
    };
    const std::vector<bool> before = needed_by(one_, pair.of_one, -1);
    for (int value = 1; value <= pair.of_one; ++value) {
      if (!before[static_cast<size_t>(value)]) continue;
      const auto added = copy(one_.node(value), places, one_.node(value).attributes);
      if (!added) return std::nullopt;
      places[static_cast<size_t>(value)] = *added;
    }
    std::vector<int> theirs(other_.nodes().size(), 0);
    int& meeting = theirs[static_cast<size_t>(pair.of_other)];
    meeting = places[static_cast<size_t>(pair.of_one)];
    if (pair.mixed) {
      Attributes mix;
      mix.to = spatial(other_.node(pair.of_other).axes, false);
      mix = renamed(std::move(mix), pair.names);
      for (const Axis& axis : spatial(one_.node(pair.of_one).axes, false)) mix.from.push_back(axis.name);
      const auto added = builder.add(fc_primitive(), {meeting}, mix);
      if (!added) return std::nullopt;
      meeting = *added;
    }
    const std::vector<bool> after = needed_by(other_, other_.output(), pair.of_other);
    for (int value = 1; value <= other_.output(); ++value) {
      if (!after[static_cast<size_t>(value)] || value == pair.of_other) continue;
      const auto added = copy(other_.node(value), theirs, renamed(other_.node(value).attributes, pair.names));
      if (!added) return std::nullopt;
      theirs[static_cast<size_t>(value)] = *added;
    }
    auto kernel = builder.finish(one_.name());
    return kernel ? std::optional(std::move(*kernel)) : std::nullopt;
  }

  // In the common names: the signature's stay, the second kernel's own get a mark that keeps them apart from the first's.
  Attributes renamed(Attributes attributes, const std::map<std::string, std::string>& names) const {
    const auto rename = [&](Name& name) {
      const auto found = names.find(name);
      if (found != names.end()) {
        name = found->second;
      } else if (!fixed_.count(name) && !name.empty()) {
        name = name + "_";
      }
    };
    for (Name& name : attributes.from) rename(name);
    for (Name& name : attributes.per) rename(name);
    for (Axis& axis : attributes.to) {
      rename(axis.name);
      axis.size = moved(axis.size);
    }
    for (AxisItem& item : attributes.items) {
      rename(item.axis);
      rename(item.made);
      item.amount = moved(item.amount);
    }
    return attributes;
  }

  const Kernel &one_, &other_;
  Variables variables_;
  const Signature& signature_;
  std::map<int, int> moved_;
  std::set<std::string> fixed_;
  std::vector<Pair> pairs_;
};

}  // namespace

std::optional<Kernel> crossed(const Kernel& one, const Kernel& other, const Growing& under, Random& random) {
  return Crossing(one, other).draw(under, random);
}

}  // namespace canvas
