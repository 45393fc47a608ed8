tandem_module(npu_core
  SOURCES geometry.cc
  DEPENDS tandem_tensor
  TESTS geometry_test.cc)
