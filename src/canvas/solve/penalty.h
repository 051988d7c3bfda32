// The relaxation where time is limited as well. Time is a third cost, but the plane has room for two: each point pays for the time that it
// takes beyond its part of the limit, in parameters or in FLOPs. Choices within the limit only gain by that, so
// that the best of the plane bounds them for any price of time (Lagrange); the one with the least bound is looked for. fill.cpp asks.
#pragma once

#include <vector>

#include "canvas/solve/relaxation.h"

namespace canvas {

class Penalty {
 public:
  // `free`: what the groups make of the box without a limit on time.
  Penalty(const std::vector<Group>& groups, const Box& box, const Relaxation& free);

  bool feasible() const { return feasible_; }  // false: no choice is in the box and within the limit
  double bound() const { return bound_; }      // no such choice has a larger capacity
  // The groups' points, in the same order, after they have paid, and the relaxation of these.
  const std::vector<Group>& groups() const { return paid_; }
  const Relaxation& relaxed() const { return relaxed_; }
  // What is paid into has a limit, and more than that counts for nothing.
  bool capped() const { return (tariff_.by_params ? box_.params : box_.flops).high < HUGE_VAL; }
  // A choice within the limit that is worth more than `worth`, and of `flops` and `params` at least, takes at least so long.
  double least_seconds(double worth, double flops, double params) const;

 private:
  struct Bound {
    double capacity = -1;  // negative: nothing is feasible
    Relaxation relaxed;
  };
  struct Tariff {
    bool by_params = true;
    double unit = 1;  // price 1: so much for the whole limit
    double price = 0;
  };
  void pay(const Tariff& tariff);
  Bound bound_at(const Tariff& tariff);
  void lower(Tariff tariff, Bound& best);

  const std::vector<Group>& groups_;
  const Box box_;
  Tariff tariff_;
  int decisions_ = 0;
  std::vector<Point> points_, sorted_;
  std::vector<Group> paid_, ascending_;
  double bound_ = 0;
  bool feasible_ = true;
  Relaxation relaxed_;
};

}  // namespace canvas
