#include "canvas/emit/layout.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"

namespace canvas {

namespace {

std::string between(size_t first, size_t last) {
  return "(" + std::to_string(first) + ", " + std::to_string(last) + ")";
}

// Whether `right` follows `left` within one dimension.
bool neighbours(const Layout& layout, const std::string& left, const std::string& right) {
  for (const Dim& dim : layout) {
    const auto found = std::find(dim.begin(), dim.end(), left);
    if (found != dim.end()) return found + 1 != dim.end() && found[1] == right;
  }
  return false;
}

Extent product(const Dim& dim, const ExtentOf& extent_of) {
  int64_t fixed = 1;
  std::vector<std::string> factors;
  for (const Name& axis : dim) {
    const Extent extent = axis == kBatch ? Extent{"-1", false} : extent_of(axis);
    if (extent.fixed) {
      fixed *= std::stoll(extent.code);
    } else {
      factors.push_back(extent.code.find(' ') == std::string::npos ? extent.code : "(" + extent.code + ")");
    }
  }
  if (factors.empty()) return {std::to_string(fixed), true};
  if (holds(dim, kBatch)) return {"-1", false};
  if (fixed != 1) factors.insert(factors.begin(), std::to_string(fixed));
  return {join(factors, " * "), false};
}

// ".unflatten(1, (4, 16))" for every dimension of `from` that atoms take apart, the last first.
std::string take_apart(const Layout& from, const Layout& atoms, const ExtentOf& extent_of) {
  std::string code;
  size_t next = atoms.size();
  for (size_t i = from.size(); i-- > 0;) {
    size_t covered = 0;
    Layout parts;
    while (covered < from[i].size()) {
      parts.insert(parts.begin(), atoms[--next]);
      covered += parts.front().size();
    }
    if (parts.size() < 2) continue;
    // One size may be left to torch: the batch's, or else the first that is known only at run time.
    const auto batch = std::find_if(parts.begin(), parts.end(), [](const Dim& part) { return holds(part, kBatch); });
    const auto runtime =
        std::find_if(parts.begin(), parts.end(), [&](const Dim& part) { return !product(part, extent_of).fixed; });
    const auto rest = batch != parts.end() ? batch : runtime;
    std::vector<std::string> sizes;
    for (auto part = parts.begin(); part != parts.end(); ++part) {
      sizes.push_back(part == rest ? "-1" : product(*part, extent_of).code);
    }
    code += ".unflatten(" + std::to_string(i) + ", " + tuple(sizes) + ")";
  }
  return code;
}

std::string permuted(const Layout& atoms, const Layout& wanted) {
  std::vector<int64_t> order;
  std::vector<size_t> moved;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto found = std::find(atoms.begin(), atoms.end(), wanted[i]);
    require(found != atoms.end(), "two layouts over different axes");
    order.push_back(found - atoms.begin());
    if (order.back() != static_cast<int64_t>(i)) moved.push_back(i);
  }
  if (moved.empty()) return "";
  if (moved.size() == 2) return ".transpose" + between(moved[0], moved[1]);
  return ".permute" + tuple(order);
}

}  // namespace

bool holds(const Dim& dim, const std::string& axis) { return std::find(dim.begin(), dim.end(), axis) != dim.end(); }

int find_dim(const Layout& layout, const std::string& axis) {
  for (size_t i = 0; i < layout.size(); ++i) {
    if (holds(layout[i], axis)) return static_cast<int>(i);
  }
  return -1;
}

Dim flat(const Layout& layout) {
  Dim all;
  for (const Dim& dim : layout) all.insert(all.end(), dim.begin(), dim.end());
  return all;
}

Layout without_ones(const Layout& layout) {
  Layout rest;
  std::copy_if(layout.begin(), layout.end(), std::back_inserter(rest), [](const Dim& dim) { return !dim.empty(); });
  return rest;
}

Layout cut(const Layout& layout, const std::function<bool(const std::string&, const std::string&)>& apart) {
  Layout parts;
  for (const Dim& dim : layout) {
    parts.emplace_back();
    for (const Name& axis : dim) {
      if (!parts.back().empty() && apart(parts.back().back(), axis)) parts.emplace_back();
      parts.back().push_back(axis);
    }
  }
  return parts;
}

std::string arrange(const std::string& code, const Layout& from, const Layout& to, const ExtentOf& extent_of) {
  if (from == to) return code;
  std::string text = code;
  for (size_t i = from.size(); i-- > 0;) {
    if (from[i].empty()) text += ".squeeze(" + std::to_string(i) + ")";
  }
  const Layout source = without_ones(from);
  const Layout target = without_ones(to);
  const Layout atoms =
      cut(source, [&](const auto& left, const auto& right) { return !neighbours(target, left, right); });
  text += take_apart(source, atoms, extent_of);
  const Layout wanted =
      cut(target, [&](const auto& left, const auto& right) { return !neighbours(source, left, right); });
  text += permuted(atoms, wanted);
  size_t end = wanted.size();
  for (size_t i = target.size(); i-- > 0;) {
    size_t covered = 0;
    const size_t last = end;
    while (covered < target[i].size()) covered += wanted[--end].size();
    if (last - end > 1) text += ".flatten" + between(end, last - 1);
  }
  if (target.size() == to.size()) return text;
  std::vector<std::string> index;
  for (const Dim& dim : to) index.push_back(dim.empty() ? "None" : ":");
  while (index.back() == ":") index.pop_back();
  return text + "[" + join(index) + "]";
}

}  // namespace canvas
