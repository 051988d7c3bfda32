#include "canvas/size/system.h"

#include <algorithm>
#include <set>

namespace canvas {

namespace {

constexpr size_t kMostWhole = 256;  // conditions past which no further variable is eliminated

// What is left of a system when its variables from `first` on are done away with: chosen so that all is met, if the conditions are.
class Projection {
 public:
  Projection(const System& system, int first) : first_(first), equations_(first) {
    for (const auto& [left, right] : system.equations) put(equations_.add(Powers(left).times(Powers(right), -1)));
    for (int v : system.variables()) ask_whole(equations_.resolve(Powers::variable(v)));
    for (const Size& size : system.whole) ask_whole(equations_.resolve(Powers(size)));
    for (const System::Bound& bound : system.bounds) {
      const Powers of = equations_.resolve(Powers(bound.size));
      bounds_.push_back({Condition::kWithin, of, bound.low, bound.high});
      too_large_ = too_large_ || !of.valid();
    }
    if (too_large_) return;
    eliminate();
    settle();
  }

  bool too_large() const { return too_large_; }
  bool never() const {
    return std::any_of(conditions_.begin(), conditions_.end(), [](const Condition& c) { return c.never(); });
  }
  const std::vector<Condition>& conditions() const { return conditions_; }
  const Equations& equations() const { return equations_; }

 private:
  void put(const std::optional<Condition>& condition) {
    if (!condition) return;
    too_large_ = too_large_ || condition->too_large();
    if (std::find(conditions_.begin(), conditions_.end(), *condition) == conditions_.end())
      conditions_.push_back(*condition);
  }

  void ask_whole(const Powers& powers) {
    too_large_ = too_large_ || !powers.valid();
    if (powers.is_whole(first_)) return;
    const Powers own = powers.root() == 1 ? powers.reduced() : powers;
    if (std::find(whole_.begin(), whole_.end(), own) == whole_.end()) whole_.push_back(own);
  }

  // Fourier and Motzkin on the exponents of one prime: what multiplies v bounds its power from below, what divides by it from above, and
  // there is an integer in between for sure where one of the two bounds is an integer. False, and nothing done, where it may be none.
  bool eliminate(int v) {
    std::vector<Powers> below, above, rest;
    for (const Powers& powers : whole_) {
      const int64_t exponent = powers.exponent(v);
      (exponent > 0 ? below : exponent < 0 ? above : rest).push_back(powers);
    }
    const auto power = [&](const Powers& powers) { return std::abs(powers.exponent(v) / powers.root()); };
    for (const Powers& low : below) {
      for (const Powers& high : above) {
        if (power(low) > 1 && power(high) > 1) return false;
      }
    }
    if (rest.size() + below.size() * above.size() > kMostWhole) return false;
    whole_ = std::move(rest);
    for (const Powers& low : below) {
      for (const Powers& high : above) ask_whole(low.times(low, power(high) - 1).times(high, power(low)));
    }
    return true;
  }

  void eliminate() {
    for (bool more = true; more && !too_large_;) {
      more = false;
      for (int v = first_; v < kMaxVariables; ++v) {
        const auto has = [&](const Powers& powers) { return powers.exponent(v) != 0; };
        if (std::any_of(bounds_.begin(), bounds_.end(), [&](const Condition& bound) { return has(bound.of); }))
          continue;
        if (std::any_of(whole_.begin(), whole_.end(), has)) more = eliminate(v) || more;
      }
    }
  }

  // The conditions that are not met by the variables that are left being 1, and that do not follow from one another.
  void settle() {
    if (too_large_) return;
    const auto at_one = [&](Powers powers) {
      for (int v = first_; v < kMaxVariables; ++v) powers = powers.without(v);
      return powers;
    };
    const auto implied = [&](const Powers& powers) {
      return powers.is_whole(first_) || std::any_of(whole_.begin(), whole_.end(), [&](const Powers& other) {
               const Powers ratio = powers.times(other, -1);
               return !ratio.is_one() && ratio.is_whole(first_);
             });
    };
    const auto open = [&](const Powers& powers) { return powers.has_variable(first_); };
    const bool one_will_do =
        std::all_of(whole_.begin(), whole_.end(), [&](const Powers& w) { return !open(w) || given(at_one(w)); }) &&
        std::all_of(bounds_.begin(), bounds_.end(),
                    [&](const Condition& bound) { return !open(bound.of) || met(bound, at_one(bound.of)); });
    for (const Powers& powers : whole_) {
      if (!(open(powers) && (one_will_do || is_variable(powers))) && !implied(powers))
        put(Condition{Condition::kWhole, powers.reduced()});
    }
    for (const Condition& bound : bounds_) {
      if (!(open(bound.of) && one_will_do) && !met(bound, bound.of)) put(bound);
    }
  }

  // Whether it is whole whatever the known variables are, or where conditions on these hold.
  bool given(const Powers& powers) const {
    return powers.is_whole(first_) || std::any_of(whole_.begin(), whole_.end(), [&](const Powers& w) {
             return powers.times(w, -1).is_whole(first_);
           });
  }

  bool is_variable(const Powers& powers) const {
    for (int v = first_; v < kMaxVariables; ++v) {
      if (powers == Powers::variable(v)) return true;
    }
    return false;
  }

  // Whether the bound holds whatever whole numbers the known variables are.
  bool met(const Condition& bound, const Powers& powers) const {
    if (bound.high == 0 && bound.low <= 1) return powers.is_whole(first_);
    return powers.is_number() && !Condition{bound.kind, powers, bound.low, bound.high}.never();
  }

  int first_;
  Equations equations_;
  std::vector<Condition> conditions_;
  std::vector<Powers> whole_;
  std::vector<Condition> bounds_;
  bool too_large_ = false;
};

}  // namespace

std::vector<int> System::variables() const {
  std::set<int> found;
  const auto look = [&](const Size& size) {
    for (int v = 0; v < kMaxVariables; ++v) {
      if (size.exponent(v) != 0) found.insert(v);
    }
  };
  for (const auto& [left, right] : equations) look(left), look(right);
  for (const Size& size : whole) look(size);
  for (const Bound& bound : bounds) look(bound.size);
  return {found.begin(), found.end()};
}

Verdict verdict(const System& system) {
  Verdict result;
  const Projection projection(system, kFirstDynamic);
  const Projection existence(system, 0);  // on some layer: the static variables are to be chosen as well
  if (projection.too_large() || existence.too_large()) {
    result.kind = Verdict::kTooLarge;
    return result;
  }
  result.kind = existence.never() || projection.never() ? Verdict::kNever
                : projection.conditions().empty()       ? Verdict::kAlways
                                                        : Verdict::kWhere;
  if (result.kind == Verdict::kWhere) result.conditions = projection.conditions();
  for (int v : system.variables()) {
    if (!is_dynamic(v)) continue;
    const Powers value = projection.equations().resolve(Powers::variable(v));
    if (value.has_variable(kFirstDynamic)) {
      result.free.push_back(v);
    } else {
      result.forced.emplace_back(v, value);
    }
  }
  return result;
}

}  // namespace canvas
