# Writes FILES, each below ROOT, into the C++ source OUT as the table of kernels/kernel_sources.h.
set(text "#include \"npu/kernels/kernel_sources.h\"\n\nnamespace tandem::npu {\nnamespace {\n")
string(APPEND text "constexpr KernelSourceFile kFiles[] = {\n")
foreach(file ${FILES})
  file(READ ${ROOT}/${file} content)
  string(APPEND text "    {\"${file}\", R\"KERNEL(${content})KERNEL\"},\n")
endforeach()
string(APPEND text "};\n}  // namespace\n\nstd::span<const KernelSourceFile> kernel_source_files() "
                   "{ return kFiles; }\n\n}  // namespace tandem::npu\n")
file(WRITE ${OUT} "${text}")
