// A small design for the runtime's tests: 64 numbers go in, each comes out one larger.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "npu/artifact.h"

namespace tandem::npu {

inline constexpr uint32_t kAddOneCount = 64;

inline const std::string kAddOneText = R"(module {
  aie.device(npu1_1col) {
    %shim = aie.tile(0, 0)
    %worker = aie.tile(0, 2)
    aie.objectfifo @in(%shim, {%worker}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    aie.objectfifo @out(%worker, {%shim}, 2 : i32) : !aie.objectfifo<memref<16xi32>>
    %core = aie.core(%worker) {
      %first = arith.constant 0 : index
      %step = arith.constant 1 : index
      %count = arith.constant 16 : index
      %forever = arith.constant 4294967295 : index
      %one = arith.constant 1 : i32
      scf.for %round = %first to %forever step %step {
        %full = aie.objectfifo.acquire @in (Consume, 1) : !aie.objectfifosubview<memref<16xi32>>
        %x = aie.objectfifo.subview.access %full[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
        %empty = aie.objectfifo.acquire @out (Produce, 1) : !aie.objectfifosubview<memref<16xi32>>
        %y = aie.objectfifo.subview.access %empty[0] : !aie.objectfifosubview<memref<16xi32>> -> memref<16xi32>
        scf.for %i = %first to %count step %step {
          %old = memref.load %x[%i] : memref<16xi32>
          %new = arith.addi %old, %one : i32
          memref.store %new, %y[%i] : memref<16xi32>
        }
        aie.objectfifo.release @in (Consume, 1)
        aie.objectfifo.release @out (Produce, 1)
      }
      aie.end
    }
    aie.runtime_sequence @run(%a : memref<64xi32>, %b : memref<64xi32>) {
      aiex.npu.dma_memcpy_nd(%b[0, 0, 0, 0][1, 1, 1, 64][0, 0, 0, 1]) {metadata = @out, id = 1 : i64} : memref<64xi32>
      aiex.npu.dma_memcpy_nd(%a[0, 0, 0, 0][1, 1, 1, 64][0, 0, 0, 1]) {metadata = @in, id = 0 : i64} : memref<64xi32>
      aiex.npu.dma_wait {symbol = @out}
    }
  }
}
)";

inline DesignIdentity add_one_identity() {
  return {"add_one", "test", 1, kAddOneCount, kAddOneCount, "16", "int32", "npu1", 1};
}

}  // namespace tandem::npu
