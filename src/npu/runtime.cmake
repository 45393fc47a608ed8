# The way to the device: detection, artefacts, the driver's calls and their fake, the backend.
if(TANDEM_PORTABLE)
  find_library(TANDEM_NETTLE libnettle.a REQUIRED)
else()
  find_library(TANDEM_NETTLE nettle REQUIRED)
endif()
tandem_module(npu_runtime
  SOURCES artifact.cc compiler.cc design_source.cc detect.cc device.cc driver_calls.cc fake_driver.cc
          fake_memory.cc loader.cc npu_accuracy.cc npu_backend.cc npu_report.cc process.cc projection_kernel.cc
          sha256.cc text_container.cc transaction.cc
  DEPENDS tandem_backend tandem_aie_text tandem_npu_core tandem_npu_designs tandem_emulator
          tandem_npu_kernels
  TESTS compiler_test.cc detect_test.cc device_test.cc fake_driver_test.cc loader_test.cc
        npu_accuracy_test.cc npu_backend_test.cc npu_report_test.cc transaction_test.cc)
target_link_libraries(tandem_npu_runtime PRIVATE ${TANDEM_NETTLE})
