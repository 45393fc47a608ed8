# The shader modules: name, source, defines. A weight format is the only reason to compile a source
# more than once; everything else is a specialisation constant.

set(TANDEM_WEIGHT_FORMATS q4_0 q8_0 q4_k q6_k f16 bf16 f32)

foreach(name begin advance chain_check fill read rms_norm geglu gather top_k attention_decode attention
             matmul_reduce prepare prepare_rows)
  tandem_shader(${name} SOURCE ${name}.comp)
endforeach()
foreach(format ${TANDEM_WEIGHT_FORMATS})
  string(TOUPPER WEIGHT_${format} define)
  tandem_shader(embed_${format} SOURCE embed.comp DEFINES ${define})
  tandem_shader(matvec_${format} SOURCE matvec.comp DEFINES ${define})
endforeach()

# Products in tiles; f32 weights take matvec.
foreach(format q4_0 q8_0 q4_k q6_k f16 bf16)
  string(TOUPPER WEIGHT_${format} define)
  tandem_shader(matmul_${format} SOURCE matmul.comp DEFINES ${define})
  tandem_shader(matmul_coop_${format} SOURCE matmul_coop.comp DEFINES ${define} PREBUILT)
endforeach()
foreach(format q4_0 q8_0 q4_k q6_k)
  string(TOUPPER WEIGHT_${format} define)
  tandem_shader(matmul_dot_${format} SOURCE matmul_dot.comp DEFINES ${define})
endforeach()
