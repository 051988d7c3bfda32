#include "canvas/native/transposes.h"

#include <algorithm>
#include <map>

namespace canvas::native {

namespace {

constexpr double kUses = 2;           // of each element, at least
constexpr double kUsesOfPacked = 16;  // the same where the other factor can lie as it is read
constexpr int64_t kNear = 8;          // neighbours that are enough

double product(const std::vector<std::pair<std::string, int64_t>>& loops) {
  double count = 1;
  for (const auto& [name, extent] : loops) count *= static_cast<double>(extent);
  return count;
}

// Loops of a nest that run together, the last the fastest.
struct Lanes {
  std::vector<std::string> names;
  int64_t elements = 1;
  bool fastest = false;  // the result's neighbours lie along the last of them
};

// The loops along which a factor should lie, or none: those that it has and no other factor, if no loop suits all as they are.
Lanes wanted(const Nest& nest, size_t factor, const Buffers& buffers) {
  Lanes lanes;
  for (const auto& [name, extent] : nest.loops) {
    bool alone = true, near = true;
    for (size_t i = 0; i < nest.factors.size(); ++i) {
      const int64_t step = buffers.stride(nest.factors[i], name);
      if (i != factor && step != 0) alone = false;
      const bool packed = buffers[nest.factors[i].buffer].place == Place::kConstant;  // it lies as it is read
      if (step != 0 && step != 1 && !packed) near = false;
    }
    if (near && extent >= kNear) return {};
    if (!alone || buffers.stride(nest.factors[factor], name) == 0) continue;
    lanes.names.push_back(name);
    lanes.elements *= extent;
  }
  const auto by_result = [&](const std::string& a, const std::string& b) {
    return buffers.stride(nest.to, a) > buffers.stride(nest.to, b);
  };
  std::stable_sort(lanes.names.begin(), lanes.names.end(), by_result);
  int64_t step = 1;
  bool already = true;
  for (size_t i = lanes.names.size(); i-- > 0;) {
    already = already && buffers.stride(nest.factors[factor], lanes.names[i]) == step;
    step *= nest.factors[factor].axes.at(lanes.names[i]).extent;
  }
  if (already || lanes.elements < 16) return {};
  lanes.fastest = buffers.stride(nest.to, lanes.names.back()) == 1;
  return lanes;
}

// What tells a copy from others: which elements of which buffer, and along which loops they lie.
std::string key_of(const Access& access, const std::vector<std::string>& lanes) {
  std::string key = std::to_string(access.buffer);
  for (int64_t offset : access.offset) key += " " + std::to_string(offset);
  for (const auto& [name, how] : access.axes)
    key += "; " + name + " " + std::to_string(how.extent) + " " + std::to_string(how.axis) + " " +
           std::to_string(how.times);
  for (const std::string& name : lanes) key += ", " + name;
  return key;
}

// Puts copies before the nests that read them.
class Copies {
 public:
  explicit Copies(Plan& plan) : plan_(plan) {}

  // Makes an access of nest `i` one to a copy in which these loops lie last; `i` is the nest's number afterwards.
  void make(size_t& i, Access& access, const std::vector<std::string>& lanes) {
    const std::string key = key_of(access, lanes);
    if (const auto known = made_.find(key); known != made_.end()) {
      access = known->second;
      return;
    }
    Nest copy;
    const bool once = plan_.buffers[access.buffer].place == Place::kConstant;
    Buffer buffer{once ? Place::kConstant : Place::kScratch, {}};
    for (const auto& [name, how] : access.axes) {
      copy.loops.emplace_back(name, how.extent);
      const bool lane = std::find(lanes.begin(), lanes.end(), name) != lanes.end();
      if (!lane) buffer.axes.push_back({name, how.extent});
    }
    for (const std::string& name : lanes) buffer.axes.push_back({name, access.axes.at(name).extent});
    copy.to = plan_.buffers.all(plan_.buffers.add(std::move(buffer)));
    copy.expression = {Expression::kLoad, access};
    copy.once = once;
    made_[key] = access = copy.to;
    plan_.nests.insert(plan_.nests.begin() + static_cast<std::ptrdiff_t>(i++), std::move(copy));
  }

 private:
  Plan& plan_;
  std::map<std::string, Access> made_;  // by what they are of
};

// Of a nest without sums: what lies apart along the result's neighbours and is read several times.
void add_loads(Plan& plan, size_t& i, Copies& copies) {
  const Nest nest = plan.nests[i];
  for (const auto& loop : nest.loops) {
    const std::string& lane = loop.first;
    if (plan.buffers.stride(nest.to, lane) != 1 || loop.second < kNear) continue;
    size_t number = 0;  // of the access
    for_each_access(nest, [&](const Access& access) {
      double elements = 1;
      for (const auto& [name, how] : access.axes) elements *= static_cast<double>(how.extent);
      const int64_t step = plan.buffers.stride(access, lane);
      const size_t own = number++;
      if (own == 0 || step == 0 || step == 1 || product(nest.loops) < kUses * elements) return;
      Access made = access;
      copies.make(i, made, {lane});
      size_t other = 0;
      for_each_access(plan.nests[i], [&](Access& place) {
        if (other++ == own) place = made;
      });
    });
    return;
  }
}

}  // namespace

void add_transposes(Plan& plan) {
  Copies copies(plan);
  for (size_t i = 0; i < plan.nests.size(); ++i) {
    if (plan.nests[i].once) continue;
    if (plan.nests[i].factors.empty()) add_loads(plan, i, copies);
    Nest& nest = plan.nests[i];
    if (nest.factors.size() < 2) continue;
    Access* factor = nullptr;
    Lanes lanes;
    for (size_t f = 0; f < nest.factors.size(); ++f) {
      Access& own = nest.factors[f];
      const Lanes own_lanes = wanted(nest, f, plan.buffers);
      double elements = 1;
      for (const auto& [axis, how] : own.axes) elements *= static_cast<double>(how.extent);
      const bool packs = std::any_of(nest.factors.begin(), nest.factors.end(), [&](const Access& factor) {
        return plan.buffers[factor.buffer].place == Place::kConstant;
      });
      const double uses = product(nest.loops) * product(nest.reduced) / elements;
      const bool pays = uses >= (packs ? kUsesOfPacked : kUses);
      if (own_lanes.names.empty() || !pays || plan.buffers[own.buffer].place == Place::kConstant) continue;
      const auto rank = [](const Lanes& of) { return std::pair{of.fastest, of.elements}; };
      if (factor && rank(own_lanes) <= rank(lanes)) continue;
      factor = &own;
      lanes = own_lanes;
    }
    if (factor) copies.make(i, *factor, lanes.names);
  }
}

}  // namespace canvas::native
