// The extension module canvas._core: conversion only. Exceptions of the core become Python's here; both are ValueErrors, so that a
// caller may catch them as such.
#include "bindings.h"

#include "canvas/base/error.h"

namespace nb = nanobind;

NB_MODULE(_core, module) {
  module.doc() = "The native core of Canvas.";
  nb::set_leak_warnings(false);  // a Layer in a global outlives the module at exit: no fault of the user
  nb::exception<canvas::KernelError>(module, "KernelError", PyExc_ValueError);
  nb::exception<canvas::Infeasible>(module, "Infeasible", PyExc_ValueError);
  nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
    try {
      std::rethrow_exception(pointer);
    } catch (const canvas::ArgumentError& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
    }
  });
  canvas::python::bind_kernel(module);
  canvas::python::bind_native(module);
  canvas::python::bind_network(module);
  canvas::python::bind_search(module);
  canvas::python::bind_sizes(module);
}
