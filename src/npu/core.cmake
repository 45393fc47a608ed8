tandem_module(npu_core
  SOURCES geometry.cc int4_layout.cc projection_layout.cc
  DEPENDS tandem_tensor tandem_backend
  TESTS geometry_test.cc int4_layout_test.cc)
